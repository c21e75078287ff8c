"""Charts as inline SVG. Their colours are classes of `style.py`; every chart has its numbers as text beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from tranship.pipelines.pages.markup import NOTHING, Html, tag

_SLOT: Final = 26
"""Height of a label of the flow."""
_FLOW_HEIGHT: Final = 220
_TREND_HEIGHT: Final = 40
_GAP: Final = 6


def flow(read: int, fates: Mapping[str, int]) -> Html:
    """Return the way of the records from reading to each fate; the widths of the bands are in proportion. `fates` add
    up to `read`. It is drawn twice, for a screen and for a phone, of which one is shown.
    """
    present = {name: count for name, count in fates.items() if count}
    if not read or not present:
        return NOTHING
    return tag("div", _drawn(read, present, 640, "wide"), _drawn(read, present, 320, "narrow"), class_="flow")


def _drawn(read: int, fates: Mapping[str, int], width: int, class_: str) -> Html:
    percent = _percents(fates, read)
    heights = {name: max(2.0, count / read * _FLOW_HEIGHT) for name, count in fates.items()}
    whole = sum(heights.values())
    slots = {name: max(_SLOT, height) for name, height in heights.items()}
    height = max(sum(slots.values()) + _GAP * (len(slots) - 1), whole, _SLOT)
    left, right = (90, width - 190) if class_ == "wide" else (14, width - 150)
    top = (height - whole) / 2
    parts = [tag("rect", x=str(left - 8), y=_n(top), width="8", height=_n(whole), class_="source")]
    start, end = top, 0.0
    middle = (left + right) / 2
    for name, thick in heights.items():
        y = end + (slots[name] - thick) / 2
        parts.append(
            tag(
                "path",
                d=f"M{left} {_n(start)}C{_n(middle)} {_n(start)} {_n(middle)} {_n(y)} {right} {_n(y)}"
                f"V{_n(y + thick)}C{_n(middle)} {_n(y + thick)} {_n(middle)} {_n(start + thick)} {left} "
                f"{_n(start + thick)}Z",
                class_=f"band {name}",
            )
        )
        parts.append(tag("rect", x=str(right), y=_n(y), width="8", height=_n(thick), class_=f"fate {name}"))
        label = f"{name} {fates[name]:,}" + (f" ({percent[name]})" if class_ == "wide" else "")
        parts.append(tag("text", label, x=str(right + 14), y=_n(y + thick / 2 + 5)))
        start += thick
        end += slots[name] + _GAP
    if class_ == "wide":
        parts.append(tag("text", f"read {read:,}", x=str(left - 14), y=_n(height / 2 + 5), text_anchor="end"))
    said = ", ".join(f"{name} {count:,}" for name, count in fates.items())
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {width} {_n(height)}",
        class_=class_,
        role="img",
        aria_label=f"read {read:,}: {said}",
    )


def bar(share: float, class_: str = "") -> Html:
    """Return a bar of this share (0 to 1) of its width."""
    return tag(
        "svg",
        tag("rect", width="100", height="8", class_="ground"),
        tag("rect", width=_n(max(0.0, min(share, 1.0)) * 100), height="8", class_=f"value {class_}".rstrip()),
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        class_="bar",
        aria_hidden="true",
    )


class Point(Struct, frozen=True):
    """One value of a series, with what is shown when the pointer is on it."""

    value: float
    title: str
    class_: str = ""


def columns(points: Sequence[Point], label: str) -> Html:
    """Return a series as columns, side by side; `label` says the same in words."""
    if not points:
        return NOTHING
    most = max(point.value for point in points) or 1
    step = 200 / len(points)
    drawn = []
    for at, point in enumerate(points):
        height = point.value / most * _TREND_HEIGHT if point.value else 0
        height = max(height, 1.0)
        place = {"x": _n(at * step + step * 0.1), "width": _n(step * 0.8)}
        # The space above a column belongs to it: a low one can be pointed at.
        drawn.append(
            tag(
                "g",
                tag("title", point.title),
                tag("rect", y="0", height=str(_TREND_HEIGHT), class_="space", **place),
                tag(
                    "rect",
                    y=_n(_TREND_HEIGHT - height),
                    height=_n(height),
                    class_=f"value {point.class_}".rstrip(),
                    **place,
                ),
            )
        )
    return tag(
        "svg",
        *drawn,
        viewBox=f"0 0 200 {_TREND_HEIGHT}",
        preserveAspectRatio="none",
        class_="columns",
        role="img",
        aria_label=label,
    )


def _percents(counts: Mapping[str, int], whole: int) -> dict[str, str]:
    """Return the share of each count as text; together they are 100 % if the counts are the whole."""
    exact = {name: count / whole * 100 for name, count in counts.items()}
    shown = {name: int(share) for name, share in exact.items()}
    left = round(sum(exact.values())) - sum(shown.values())
    for name in sorted(exact, key=lambda name: shown[name] - exact[name])[:left]:
        shown[name] += 1
    return {name: f"{share} %" if share or not counts[name] else "< 1 %" for name, share in shown.items()}


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
