"""What the stream that a command prints on can show: its columns, colours, and links."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from pathlib import Path
from typing import Final, Literal, TextIO
from urllib.parse import quote

import click
from msgspec import Struct

from tranship.pipelines.cli.layout import wrapped_text
from tranship.schemas.visible import visible

When = Literal["auto", "always", "never"]
COLOUR_WHEN: Final = ("auto", "always", "never")

_chosen: When = "auto"


class Look(Struct, frozen=True):
    """How text is shown: `width` is the number of columns, null for no limit."""

    width: int | None = None
    colours: bool = False
    links: bool = False

    def title(self, text: str) -> str:
        """Return text as a title."""
        return self._styled(text, bold=True)

    def good(self, text: str) -> str:
        """Return text that says that all is well."""
        return self._styled(text, fg="green", bold=True)

    def doubtful(self, text: str) -> str:
        """Return text about which somebody should do something."""
        return self._styled(text, fg="yellow", bold=True)

    def bad(self, text: str) -> str:
        """Return text about a failure."""
        return self._styled(text, fg="red", bold=True)

    def path(self, path: str) -> str:
        """Return the path of a file of this machine, as a link if the terminal has links."""
        text = visible(path)
        if not self.links or "://" in path:
            return text
        address = f"file://{quote(socket.gethostname())}{quote(os.fsencode(Path(path).absolute()))}"
        return f"\x1b]8;;{address}\x1b\\{text}\x1b]8;;\x1b\\"

    def _styled(self, text: str, **style: object) -> str:
        return click.style(text, **style) if self.colours else text  # type: ignore[arg-type]


PLAIN: Final = Look()
"""The look of text for anything but a terminal."""


def choose_colour(when: When) -> None:
    """Set what `--color` says, for this process."""
    global _chosen
    _chosen = when


def look(out: TextIO | None) -> Look:
    """Return how to show text on a stream, also on a closed one."""
    return Look(width(out), has_colours(out), has_links(out))


def width(out: TextIO | None) -> int | None:
    """Return the number of columns of a terminal, null for anything else."""
    return shutil.get_terminal_size().columns if _is_terminal(out) else None


def has_colours(out: TextIO | None) -> bool:
    """Return whether to use colours: `--color` decides, then NO_COLOR, FORCE_COLOR, CLICOLOR_FORCE and CLICOLOR;
    without them, a terminal has colours unless TERM is `dumb`.
    """
    if _chosen != "auto":
        return _chosen == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return _is_terminal(out) and os.environ.get("TERM") != "dumb" and os.environ.get("CLICOLOR") != "0"


def has_links(out: TextIO | None) -> bool:
    """Return whether a stream is a terminal that is known to have links (OSC 8): others would print the address.

    No terminal can be asked. The names and versions are those of the package `supports-hyperlinks` of npm. Terminals
    without colours get no other control sequences either.
    """
    if not _is_terminal(out) or not has_colours(out):
        return False
    known = os.environ.get
    if (forced := known("FORCE_HYPERLINK")) is not None:
        return forced != "0"
    if any(known(name) for name in ("CI", "TEAMCITY_VERSION", "TMUX", "STY")):
        return False  # multiplexers drop links unless they are told otherwise
    if known("WT_SESSION") or known("DOMTERM") or known("TERM") in _HAVE_LINKS:
        return True
    if vte := known("VTE_VERSION"):
        return vte.isdecimal() and int(vte) > 5000  # 0.50.0 crashes on links
    least = _SINCE.get(known("TERM_PROGRAM", ""))
    return least is not None and _numbers(known("TERM_PROGRAM_VERSION", "")) >= least


_HAVE_LINKS: Final = ("alacritty", "foot", "xterm-ghostty", "xterm-kitty")
"""Values of TERM."""
_SINCE: Final[dict[str, tuple[int, ...]]] = {
    "iTerm.app": (3, 1),
    "WezTerm": (20200620,),
    "vscode": (1, 72),
    "ghostty": (),
    "zed": (),
}
"""The value of TERM_PROGRAM → the first version with links."""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def _is_terminal(out: TextIO | None) -> bool:
    return out is not None and out.isatty()


def say(text: str, *, err: bool = False) -> None:
    """Print text that was made for the look of its stream."""
    out = sys.stderr if err else sys.stdout
    if out is not None:  # a closed one
        # Not by click.echo, which writes UTF-8 where the encoding is ASCII.
        print(text, file=out, flush=True)


def tell(sentences: str) -> None:
    """Print sentences on standard error, wrapped where that is a terminal. What they quote is made visible before."""
    say(wrapped_text(sentences, width(sys.stderr)), err=True)
