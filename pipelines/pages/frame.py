"""The frame of a page: its head, style and links. One file without scripts, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from tranship.pipelines.pages.markup import NOTHING, Html, joined, link, sentences, tag, text
from tranship.pipelines.pages.style import STYLE


def page(title: str, *parts: str, contents: dict[str, str]) -> str:
    """Return a whole page. `contents` are its sections: anchor → title; those that are not on the page are left out."""
    body = joined(parts)
    present = [link(f"#{anchor}", name) for anchor, name in contents.items() if f'id="{anchor}"' in body]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        f'<meta name="referrer" content="no-referrer">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"{_with_contents(body, present)}</body></html>\n"
    )


def verdict(kind: str, sentence: str, *more: str) -> Html:
    """Return the conclusion of a page; `kind` is good, warn or bad."""
    return tag(
        "div",
        tag("p", tag("strong", sentences(sentence))),
        *(tag("p", sentences(line)) for line in more),
        class_=f"verdict {kind}",
    )


def _with_contents(body: Html, present: list[Html]) -> Html:
    """Insert the table of contents before the first section."""
    head, mark, rest = body.partition("<section")
    contents = tag("nav", joined(present, " "), aria_label="Contents") if len(present) > 1 else NOTHING
    return Html(f"{head}{contents}{mark}{rest}")


@cache
def _policy() -> str:
    """Nothing may be loaded or run, whatever the page contains; only this style applies."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
