"""Every exception of the project, named after what the reader does next.

TranshipError
├── ConfigError            fix the command, the settings or the file          exit 2
│   ├── MissingDriver      install what is named
│   ├── Undecided          say in the settings what the message asks; the same run would stop again
│   └── Damaged            begin the work anew, or make the plan again
├── ConnectorError         the other side                                      exit 3
│   ├── Unreachable        try later, or free what holds it
│   │   ├── Busy           wait for whoever holds a lock, or allow more time
│   │   └── Interfered     nothing: the same work is done anew, and told if it fails again
│   ├── Refused            ask for the right, or change what is asked
│   └── Malformed          the other side broke its own format
├── GateClosed             read completely, nothing written                    exit 5
├── Skipped                nothing: another run does the work                  exit 6
└── Interrupted            stopped by hand; the command that continues is said exit 130

Anything else that reaches the top is a bug of ours: exit 1.

A message says what happened, where (system, file, line), and what to try. It never holds a secret or a customer's data.
"""

from __future__ import annotations

from typing import Any


class TranshipError(Exception):
    """Root of all errors that are answered in words; `exit_code` is what the process ends with.

    `report` is the run's report (`pipelines.report.Report`) where there was a run to report on.
    """

    exit_code = 1
    report: Any = None


class ConfigError(TranshipError):
    """The command, the settings, or a file cannot be used as given."""

    exit_code = 2


class MissingDriver(ConfigError):
    """An optional package is needed and is not installed; the message says which."""


class Undecided(ConfigError):
    """What was read shows that the settings leave something open; going on with them would stop again."""


class Damaged(ConfigError):
    """A file of a run directory is not what was written there; the run cannot be continued with it."""


class ConnectorError(TranshipError):
    """The other side is at fault."""

    exit_code = 3


class Unreachable(ConnectorError):
    """The other side does not answer, or is held by somebody else; later may be better."""


class Busy(Unreachable):
    """Somebody else holds a lock for longer than this run may wait."""


class Interfered(Unreachable):
    """The other side undid what was not committed (a lost connection, a deadlock, a restart): safe to do anew.

    If the answer to a commit was lost, `Destination.applied` knows whether it took place.
    """


class Refused(ConnectorError):
    """The other side understood and said no."""


class Malformed(ConnectorError):
    """The other side's answer breaks its own format."""


class GateClosed(TranshipError):
    """A limit stopped the run before its first write."""

    exit_code = 5


class Skipped(TranshipError):
    """Another run holds the destination, and this one was to be skipped then (`--overlap skip`)."""

    exit_code = 6


class Interrupted(TranshipError):
    """The run was stopped by hand; state is saved."""

    exit_code = 130
