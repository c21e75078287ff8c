"""The layout of help texts: two columns where they fit, blocks on narrow terminals."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

import click

from tranship.pipelines.cli.layout import wrapped

_TWO_COLUMNS = 60
_LEAST = 20


class HelpLayout(click.HelpFormatter):
    """Writes help as wide as the terminal, up to `max_width`; click's own takes at least 50 columns."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = shutil.get_terminal_size().columns - 2
        super().__init__(indent_increment, width or max(_LEAST, min(columns, (max_width or 80) - 2)))

    def write_heading(self, heading: str) -> None:
        """Write the title of a section."""
        self.write_lines(f"{heading}:")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and their texts; on narrow terminals, each text below its name."""
        if self.width >= _TWO_COLUMNS:
            super().write_dl(rows, col_max, col_spacing)
            return
        for name, text in rows:
            self.write_lines(name)
            self.indent()
            self.write_lines(text, 0)
            self.dedent()

    def write_lines(self, text: str, hanging: int = 2) -> None:
        """Write each line of a text, wrapped; what does not fit on it is indented by `hanging` columns more."""
        start = " " * self.current_indent
        for line in text.split("\n"):
            for part in wrapped(line, self.width + 2, start + " " * hanging, start):
                self.write(f"{part}\n")


class HelpContext(click.Context):
    """The context of commands, whose help has this layout."""

    formatter_class = HelpLayout
