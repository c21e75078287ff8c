"""HTML, built from escaped parts. All text of all pages is escaped here and nowhere else.

A plain string is text: control characters, and those that are invisible or change the direction of text, are spelled
out, and the rest is escaped. Only `tag` and `joined` make `Html`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from tranship.schemas.visible import visible_lines

_CUT: Final = 80
"""Characters of a value that are shown."""
_EMPTY: Final = ("br", "meta", "rect", "path", "circle")
_SPECIAL: Final = re.compile("[&<>\"']")
_OPTION: Final = re.compile(r"(--[a-z][a-z-]*)")
_CONTROLS: Final = re.compile(r"[\r\n\t]+")


class Html(str):
    """A piece of HTML, which is complete and escaped."""

    __slots__ = ()


NOTHING: Final = Html("")


def text(value: str) -> Html:
    """Return a text as HTML, unless it is that already. It can also be the value of an attribute."""
    if isinstance(value, Html):
        return value
    if value.isprintable() and not _SPECIAL.search(value):
        return Html(value)
    return Html(html.escape(visible_lines(value)))


def joined(parts: Iterable[str], separator: str = "") -> Html:
    """Return the parts, one after the other."""
    return Html(text(separator).join(map(text, parts)))


def tag(name: str, *children: str, **attributes: str | None) -> Html:
    """Return an element. `class_` is the attribute class, `_` in other names is `-`; null leaves an attribute out."""
    given = "".join(f' {_attribute(key)}="{text(value)}"' for key, value in attributes.items() if value is not None)
    if name in _EMPTY:
        return Html(f"<{name}{given}>" if name in ("br", "meta") else f"<{name}{given}/>")
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


@cache
def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def cut(value: str, most: int = _CUT) -> str:
    """Return a value on one line, of at most this number of characters."""
    line = _CONTROLS.sub(" ", value)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def link(file: str, label: str) -> Html:
    """Return a link to a file beside the page."""
    return tag("a", label, href=file)


def command(words: str) -> Html:
    """Return a command that one click selects as a whole."""
    return tag("code", joined((tag("span", word, class_="word") for word in words.split(" ")), " "), class_="command")


def sentences(prose: str) -> Html:
    """Return sentences in which options, such as --map, are not broken at their hyphens."""
    parts = _OPTION.split(prose)
    return joined(tag("span", part, class_="word") if number % 2 else part for number, part in enumerate(parts))


def section(title: str, *children: str, anchor: str) -> Html:
    """Return a section with its title; nothing without children."""
    content = joined(children)
    if not content:
        return NOTHING
    return tag("section", tag("h2", title), content, id_=anchor)


def facts(rows: Iterable[tuple[str, str]]) -> Html:
    """Return names with their values; nothing without rows."""
    entries = [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows]
    return tag("dl", *entries) if entries else NOTHING


def listed(items: Iterable[str], class_: str | None = None) -> Html:
    """Return a list; nothing without items."""
    entries = [tag("li", item) for item in items]
    return tag("ul", *entries, class_=class_) if entries else NOTHING


def folded(title: str, *children: str) -> Html:
    """Return a part that is shown on a click, and in print."""
    return tag("details", tag("summary", title), *children)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), bars: Sequence[int] = ()
) -> Html:
    """Return a table; nothing without rows. On a phone, each row is a block with the heads as labels. The columns in
    `numbers` are aligned to the right, those in `bars` have half of the width.
    """
    lines = [
        tag(
            "tr",
            *(
                tag("td", cell, class_=_class(at, numbers, bars), data_label=head[at] or None)
                for at, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    if not lines:
        return NOTHING
    heads = [tag("th", name, class_=_class(at, numbers, bars), scope="col") for at, name in enumerate(head)]
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines))


def _class(at: int, numbers: Sequence[int], bars: Sequence[int]) -> str | None:
    return "n" if at in numbers else "b" if at in bars else None
