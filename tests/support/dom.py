"""HTML pages as trees, for tests that look at what a page says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

_EMPTY: Final = ("meta", "br", "link", "img", "input", "hr")


@dataclass
class Element:
    """An element: its name, attributes, and contents in order."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    contents: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, with single blanks."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for part in self.contents:
            if isinstance(part, str):
                yield part
            else:
                # Elements are apart on the page, except those that only keep a word whole.
                apart = "" if part.attributes.get("class") == "word" else " "
                yield from (apart, *part._texts(), apart)

    def all(self, name: str | None = None, **attributes: str) -> list[Element]:
        """Return the elements below it with this name, and with these words in their attributes (`class_` is class)."""
        return [
            element
            for element in self._below()
            if name in (None, element.name)
            and all(word in element.attributes.get(key.rstrip("_"), "").split() for key, word in attributes.items())
        ]

    def _below(self) -> Iterator[Element]:
        for part in self.contents:
            if isinstance(part, Element):
                yield part
                yield from part._below()

    def one(self, name: str | None = None, **attributes: str) -> Element:
        """Return the only such element."""
        [found] = self.all(name, **attributes)
        return found

    def rows(self) -> list[list[str]]:
        """Return the cells of all rows below it that have data."""
        return [[cell.text for cell in row.all("td")] for row in self.all("tr") if row.all("td")]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("page")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        assert len(element.attributes) == len(attrs), f"<{tag}> has an attribute twice"
        self.open[-1].contents.append(element)
        if tag not in _EMPTY:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].contents.append(Element(tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> ends <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].contents.append(data)


def parsed(page: str) -> Element:
    """Return the page as a tree. Fails if an element is not closed, or closed twice."""
    builder = _Builder()
    builder.feed(page)
    builder.close()
    [root] = builder.open
    return root
