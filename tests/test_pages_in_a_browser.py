"""Pages in a real browser: nothing sticks out of a phone, and every picture and link is there.

Without Chromium these tests are skipped; those in tests/pipelines/pages/, which read the HTML, always run.
`make pages` writes screenshots of the same pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import browser
from support.browser import PHONE, Browser
from support.example_pages import example_pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.installed() is None, reason="no browser is installed (Debian: apt install chromium)"),
]

STICKING_OUT = """
[...document.querySelectorAll('body, body *')].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 1 && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(element => `${element.tagName} ${element.className.baseVal ?? element.className}: ${element.textContent}`)
"""
"""The elements that are partly outside of the page, at either side."""

CUT_OFF = """
[...document.querySelectorAll('body *')].filter(element =>
    element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX != 'visible'
    && element.clientWidth > 1
).map(element => `${element.tagName} ${element.className}: ${element.textContent}`)
"""

FAINT = """
(() => {
    const parsed = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(part => {
        const share = part / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    const light = colour => { const [r, g, b] = parsed(colour); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const seen = new Set();
    for (const element of document.querySelectorAll('body :not(title)')) {
        if (![...element.childNodes].some(node => node.nodeType == 3 && node.textContent.trim())) continue;
        const style = getComputedStyle(element);
        const [a, b] = [light(element.closest('svg') ? style.fill : style.color), light(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) seen.add(`${element.tagName} ${element.className}: ${contrast.toFixed(1)}`);
    }
    return [...seen];
})()
"""
"""Kinds of text with less contrast than WCAG AA asks for."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return example_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser.started() as found:
        yield found


def test_nothing_sticks_out_of_a_phone_or_is_cut_off(opened: Browser, pages: dict[str, Path]) -> None:
    for name, page in pages.items():
        for width in (320, PHONE, 700, 1100):
            opened.open(page, width)
            assert opened.evaluate("document.documentElement.scrollWidth") <= width, f"{name} at {width}"
            assert opened.evaluate(STICKING_OUT) == [], f"{name} at {width}"
            assert opened.evaluate(CUT_OFF) == [], f"{name} at {width}"


def test_a_cell_is_one_block_on_a_phone(opened: Browser, pages: dict[str, Path]) -> None:
    """There, the label and each part of a cell are rows of their own."""
    parts = "[...cell.childNodes].filter(part => part.nodeType == 1 || part.textContent.trim())"
    for name, page in pages.items():
        opened.open(page, PHONE)
        several = f"[...document.querySelectorAll('td[data-label]')].filter(cell => {parts}.length > 1)"
        assert opened.evaluate(f"{several}.map(cell => cell.innerText)") == [], name


def test_text_can_be_read_in_light_and_dark(opened: Browser, pages: dict[str, Path]) -> None:
    for name, page in pages.items():
        for dark in (False, True):
            opened.open(page, dark=dark)
            ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark
            assert opened.evaluate(FAINT) == [], f"{name}, {'dark' if dark else 'light'}"


def test_the_style_applies_and_one_picture_is_shown(opened: Browser, pages: dict[str, Path]) -> None:
    """The policy of the page allows its own style; the flow is drawn for a screen and for a phone."""
    for page in pages.values():
        for width, shown in ((1100, "wide"), (PHONE, "narrow")):
            opened.open(page, width)
            visible = (
                "[...document.querySelectorAll('.flow svg')].filter(picture => picture.getBoundingClientRect().height)"
                ".map(picture => picture.className.baseVal)"
            )
            assert set(opened.evaluate(visible)) <= {shown}
            assert opened.evaluate("getComputedStyle(document.querySelector('.verdict')).borderLeftWidth") != "0px"


def test_the_numbers_on_the_screen_add_up(opened: Browser, pages: dict[str, Path]) -> None:
    for name, page in pages.items():
        opened.open(page, PHONE)
        shown = opened.evaluate("[...document.querySelectorAll('.balance')].map(line => line.innerText)")
        assert shown, name
        for line in shown:
            read, total = line.replace(",", "").split(" = ")
            assert int(read.split()[0]) == sum(int(part.split()[0]) for part in total.split(" + ")), line


def test_what_is_folded_is_on_paper(opened: Browser, pages: dict[str, Path]) -> None:
    for page in pages.values():
        opened.open(page, 794, media="print")
        hidden = (
            "[...document.querySelectorAll('details > :not(summary)')]"
            ".filter(part => !part.getBoundingClientRect().height).length"
        )
        assert opened.evaluate(hidden) == 0
        assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert opened.evaluate(STICKING_OUT) == []
