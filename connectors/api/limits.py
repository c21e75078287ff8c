"""The limits of a provider's answers, as options of its connector (`--option NAME=VALUE`)."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

from tranship.connectors.api.retry import RetryPolicy

_DEFAULT: Final = RetryPolicy()


@dataclass(frozen=True)
class ProviderLimits:
    """The limits that users can set, by default those of RetryPolicy; MB are 2^20 bytes."""

    answer_mb: int = _DEFAULT.answer_bytes >> 20
    """Size of one answer, decompressed."""
    answer_seconds: int = int(_DEFAULT.answer)
    """Time of one answer, however slowly it arrives."""
    list_mb: int = _DEFAULT.list_bytes >> 20
    """Size of a list that comes in one answer."""
    list_seconds: int = int(_DEFAULT.list)
    """Time of a list with all its pages."""
    list_pages: int = _DEFAULT.pages
    """Pages of a list."""
    patience_seconds: int = int(_DEFAULT.total)
    """Time for which a request is repeated while the provider fails or turns it away."""
    wait_seconds: int = int(_DEFAULT.longest_wait)
    """The longest `Retry-After` that is honoured."""

    def __post_init__(self) -> None:
        """Raise ValueError for a limit below 1."""
        if min(astuple(self)) < 1:
            raise ValueError("a limit must be at least 1")

    def retry_policy(self) -> RetryPolicy:
        """Return the policy of a client with these limits."""
        return RetryPolicy(
            total=self.patience_seconds,
            longest_wait=self.wait_seconds,
            answer=self.answer_seconds,
            answer_bytes=self.answer_mb << 20,
            list=self.list_seconds,
            list_bytes=self.list_mb << 20,
            pages=self.list_pages,
        )
