"""The part of a page about columns and fields: the mapping, with a profile of what was read and of the result."""

from __future__ import annotations

from typing import Final

from tranship.pipelines.pages import charts
from tranship.pipelines.pages.charts import Point
from tranship.pipelines.pages.markup import NOTHING, Html, cut, facts, joined, section, table, tag
from tranship.pipelines.pages.profile import Profile, Profiles
from tranship.pipelines.report import Report
from tranship.schemas.counted import counted

_MOST: Final = 60
"""Columns that are shown."""
_HEADS: Final = ("filled", "distinct", "length")


def mapped(report: Report, found: Profiles | None, *, values: bool) -> Html:
    """Return the use of each column, with its profile if it was sampled: its fields, or metadata, or left out."""
    if not report.columns:
        return NOTHING
    uses: dict[str, str] = {
        column: fields if isinstance(fields, str) else ", ".join(fields) for column, fields in report.columns.items()
    }
    uses |= dict.fromkeys(report.kept, "metadata") | dict.fromkeys(report.left_out, "left out")
    said = f"{len(report.columns):,} of {counted(len(uses), 'column')} mapped to fields"
    known = f"; recognised as {report.recognised}" if report.recognised else ""
    profiles = {profile.name: profile for profile in (found.fields if found else ())}
    rows = [
        (
            cut(column),
            tag("code", use),
            *(_cells(profiles.get(column), found.records, values=values) if found else ()),
        )
        for column, use in [*uses.items()][:_MOST]
    ]
    extent = tag("p", tag("small", f"Contents: {_extent(found, 'record')}, as in the source.")) if found else NOTHING
    more = len(uses) - _MOST
    return section(
        "Columns of the source, and their fields",
        tag("p", f"{said}{known}."),
        table(("column", "becomes", *(_heads(values=values) if found else ())), rows, (3,)),
        *([tag("p", f"and {counted(more, 'more column')}")] if more > 0 else []),
        extent,
        *([tag("h3", "Built from columns"), facts(report.built.items())] if report.built else []),
        anchor="columns",
    )


def customers(found: Profiles | None, *, values: bool) -> Html:
    """Return what the fields of the customers contain; values only with `values`."""
    if found is None or not found.records:
        return NOTHING
    rows = [(tag("code", profile.name), *_cells(profile, found.records, values=values)) for profile in found.fields]
    where = _countries(found) if values else NOTHING
    return section(
        "Customers, as loaded",
        tag("p", f"{_extent(found, 'customer')}.".capitalize()),
        table(("field", *_heads(values=values)), rows, (2,)),
        *([tag("h3", "Countries"), where] if where else []),
        anchor="data",
    )


def _extent(found: Profiles, noun: str) -> str:
    if found.records == found.total:
        return f"all {found.records:,} {noun}s" if found.records > 1 else f"the only {noun}"
    return f"a sample of {counted(found.records, noun)} of {found.total:,}"


def _heads(*, values: bool) -> tuple[str, ...]:
    return (*_HEADS, "most frequent") if values else _HEADS


def _cells(profile: Profile | None, records: int, *, values: bool) -> tuple[str, ...]:
    if profile is None:
        return ("",) * len(_heads(values=values))
    return (
        tag("span", f"{_share(profile.filled, records)} ", charts.bar(profile.filled / records)),
        f"{profile.distinct:,}",
        _lengths(profile),
        *([_contents(profile, records)] if values else []),
    )


def _lengths(profile: Profile) -> str:
    if profile.shortest is None or profile.longest is None:
        return ""
    same = profile.shortest == profile.longest
    return f"{profile.shortest:,}" if same else f"{profile.shortest:,}–{profile.longest:,}"


def _contents(profile: Profile, records: int) -> Html:
    if profile.times:
        return _times(profile)
    if not profile.top:
        return tag("small", "all different") if profile.filled > 1 else NOTHING
    shown = [
        tag(
            "span",
            tag("span", cut(value, 30), class_="value"),
            tag("small", f" {_share(count, records)}"),
            class_="pair",
        )
        for value, count in profile.top
    ]
    return tag("span", joined(shown, " "))


def _times(profile: Profile) -> Html:
    points = [Point(count, f"{period}: {count:,}") for period, count in profile.times.items()]
    ends = [*profile.times]
    span = ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
    return tag("span", charts.columns(points, f"{profile.name}, {span}"), tag("small", span))


def _share(count: int, whole: int) -> str:
    shown = f"{count / whole:.0%}".removesuffix("%")
    # A few that are missing are not none.
    if shown == "100" and count < whole:
        shown = "> 99"
    if shown == "0" and count:
        shown = "< 1"
    return f"{shown} %"


def _countries(found: Profiles) -> Html:
    """Return the most frequent countries of the customers, if there are several."""
    field = next((profile for profile in found.fields if profile.name == "country"), None)
    if field is None or len(field.top) < 2:
        return NOTHING
    rows = [(name, charts.bar(count / found.records), _share(count, found.records)) for name, count in field.top]
    return table(("country", "", "customers"), rows, (2,), (1,))
