"""Text that controls a terminal, and the check that none of it reaches one."""

from __future__ import annotations

from typing import Final

from tranship.schemas.visible import visible

EVIL: Final = "\x1b]0;x\x07\u202e\u2066\u200b\x9b31m\x7fEVIL"


def assert_plain(text: str) -> None:
    """Fail if a line of a text contains such a character."""
    raw = [line for line in text.split("\n") if visible(line) != line]
    assert not raw, [ascii(line) for line in raw]
