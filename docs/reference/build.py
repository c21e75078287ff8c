"""Write the reference that is derived from the code: whole pages, parts of pages between two comments, and llms.txt.

Run it with the project's Python after the code has changed: .venv/bin/python docs/reference/build.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

from builder import codes, commands, connectors, exports, llms, python, settings  # noqa: E402
from tranship.schemas.explanations import refusals  # noqa: E402
from tranship.schemas.faults import RULES, WARNINGS  # noqa: E402

PARTS: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "../how-to/known-exports.md": {"profiles": exports.listing},
    "codes.md": {
        "rejects": lambda: codes.codes(RULES),
        "refusals": lambda: codes.codes(refusals.REFUSALS),
        "stale": lambda: codes.codes(refusals.STALE),
        "warnings": lambda: codes.codes(WARNINGS),
    },
    "exit-codes.md": {"exit codes": codes.exit_codes},
    "errors.md": {"errors": codes.errors_of_python},
    "settings.md": {"settings": settings.settings},
    "fields.md": {"types and codes": settings.fields},
}
"""Page → name of the part → what writes it."""

WHOLE: Final[dict[str, Callable[[], str]]] = {
    "commands.md": commands.page,
    "connectors.md": connectors.page,
    "python.md": python.python_page,
    "report.md": python.report_page,
}
"""Page → what writes it."""


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each page and its text, with the parts that are derived from the code; llms.txt is the last one."""
    for name, write in WHOLE.items():
        yield HERE / name, write()
    for name, parts in PARTS.items():
        path = (HERE / name).resolve()
        text = path.read_text(encoding="utf-8")
        for part, write in parts.items():
            begin, end = f"<!-- {part}: written by docs/reference/build.py -->", f"<!-- end of {part} -->"
            before, found, rest = text.partition(begin)
            _, closed, after = rest.partition(end)
            if not found or not closed:
                sys.exit(f"{path}: there is no {begin} … {end}")
            text = f"{before}{begin}\n\n{write()}\n\n{end}{after}"
        yield path, text
    yield ROOT / "docs" / "llms.txt", llms.text(ROOT)


def pages_of_exports() -> Iterator[tuple[Path, str]]:
    """Yield the page of each export profile and its text; this reads all samples."""
    yield from exports.pages(ROOT)


if __name__ == "__main__":
    for make in (pages_of_exports, pages):
        for page, text in make():
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, encoding="utf-8")
