"""Every exception of the project, named after what the reader does next.

TranshipError
├── ConfigError            fix the command, the settings or the file          exit 2
│   ├── MissingDriver      install what is named
│   ├── LocalFailure       free space, memory or rights on this machine, then continue
│   ├── Undecided          set what the message asks for; the same run would stop again
│   └── Damaged            start over, or make the plan again
├── ConnectorError         remote error                                        exit 3
│   ├── Unreachable        try later, or release the lock
│   │   ├── Busy           wait for the process that has the lock, or allow more time
│   │   └── Interfered     nothing: it is retried, and reported if it fails again
│   ├── Refused            get the permission, or change the request
│   └── Malformed          the response is invalid
├── GateClosed             read completely, nothing written                    exit 5
├── Skipped                nothing: another run does the work                  exit 6
└── Interrupted            stopped by the user; the message has the command that continues   exit 130

Anything else that reaches the top is a bug of ours: exit 1.

A message says what happened, where (system, file, line), and what to try. It never contains a secret or a customer's
data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Self

from tranship.connectors import mirrored
from tranship.schemas.visible import shown

if TYPE_CHECKING:
    from tranship.pipelines.report import Report


class TranshipError(Exception):
    """Root of all errors with a message for the user; `exit_code` is the exit code of the process.

    `report` is the run's report where there was a run to report on.
    """

    exit_code = 1
    report: Report | None = None

    def __init__(self, *lines: str) -> None:
        """Create the error from the lines of its message, usually one. No value in it can break a line or control a
        terminal, a password of an address in it is hidden, and a working copy has the address of its place."""
        super().__init__("\n".join(shown(mirrored.outward(line)) for line in lines))

    @classmethod
    def combined(cls, messages: Iterable[str]) -> Self:
        """Return one error with all these messages, each of one or several lines."""
        return cls(*(line for message in messages for line in message.split("\n")))


class ConfigError(TranshipError):
    """The command, the settings or a file cannot be used as given."""

    exit_code = 2


class MissingDriver(ConfigError):
    """An optional package is needed and is not installed; the message says which."""


class LocalFailure(ConfigError):
    """This machine has no space, memory or permission left for the work. Once that is solved, it can be continued."""


class Undecided(ConfigError):
    """The input needs a decision that the settings do not make; the same run would stop again."""


class Damaged(ConfigError):
    """A file of a run directory was changed or is missing; the run cannot be continued with it."""


class ConnectorError(TranshipError):
    """Remote error: the source or destination, not the command, is at fault."""

    exit_code = 3


class Unreachable(ConnectorError):
    """The source or destination is unreachable or locked. Trying again later may succeed."""


class Busy(Unreachable):
    """Another process holds a lock for longer than this run may wait."""


class Interfered(Unreachable):
    """The server rolled back what was not committed (a lost connection, a deadlock, a restart): safe to retry.

    If the answer to a commit was lost, `Destination.applied` knows whether it took place.
    """


class Refused(ConnectorError):
    """The server understood the request and denied it."""


class Malformed(ConnectorError):
    """The response is invalid."""


class GateClosed(TranshipError):
    """A limit stopped the run before its first write."""

    exit_code = 5


class Skipped(TranshipError):
    """Another run holds the destination, and `--overlap skip` skips this one."""

    exit_code = 6


class Interrupted(TranshipError):
    """The user stopped the run; its state is saved."""

    exit_code = 130
