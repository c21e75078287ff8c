"""A journal that records nothing, to show that a sweep of kills fails without one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from tranship.connectors.api.journal import Intent, Journal, Past, Result


class NoJournal(Journal):
    """A journal that records nothing."""

    async def intend(self, intents: Sequence[Intent], reach: int = 0) -> None:
        await asyncio.sleep(0)

    def settle(self, results: Sequence[Result]) -> None:
        pass

    def past(self, rows: Sequence[int]) -> Mapping[int, Past]:
        return {}
