"""Results as HTML for notebooks: small self-contained tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from tranship.schemas.visible import visible_lines


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()) -> str:
    """A heading, a table and lines below it. Everything is escaped; numbers are right-aligned."""
    heads = "".join(f"<th>{_escaped(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = "".join(f"<p>{_escaped(text)}</p>" for text in notes)
    return (
        f"<div><p><strong>{_escaped(title)}</strong></p><table>"
        f"{f'<thead><tr>{heads}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>{below}</div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align:right">{value:,}</td>'
    return f'<td style="text-align:left">{_escaped(str(value))}</td>'


def _escaped(text: str) -> str:
    return html.escape(visible_lines(text))
