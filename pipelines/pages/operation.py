"""The part of a page about the run itself: earlier runs, time and memory, settings, versions and digests."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from statistics import median
from typing import Any, Final

from tranship.pipelines import option_names
from tranship.pipelines.pages import charts
from tranship.pipelines.pages.charts import Point
from tranship.pipelines.pages.earlier_runs import EarlierRun
from tranship.pipelines.pages.markup import NOTHING, Html, cut, facts, folded, section, table, tag
from tranship.pipelines.report import Report
from tranship.pipelines.settings_model import Settings
from tranship.schemas.counted import counted

_LIBRARIES: Final = ("polars", "duckdb", "pyarrow")
_SERIES: Final[Mapping[str, Callable[[EarlierRun], float]]] = {
    "read": lambda run: run.read,
    "rejected": lambda run: run.rejected,
    "created": lambda run: run.created,
    "updated or deleted": lambda run: run.changed,
    "seconds": lambda run: run.seconds,
}


def trend(runs: Sequence[EarlierRun]) -> Html:
    """Return this run beside earlier ones; it is the last of `runs`."""
    if len(runs) < 2:
        return NOTHING
    cards = [_card(name, value, runs) for name, value in _SERIES.items()]
    rows = [
        (run.started, f"{run.exit_code}", *(_number(value(run)) for value in _SERIES.values()), run.run_id)
        for run in reversed(runs)
    ]
    return section(
        "Compared with earlier runs",
        tag("p", f"The last column is this run, the others are the {counted(len(runs) - 1, 'run')} before it."),
        tag("div", *cards, class_="cards"),
        folded("As a table", table(("started (UTC)", "exit code", *_SERIES, "run"), rows, (1, 2, 3, 4, 5, 6))),
        anchor="trend",
    )


def _card(name: str, value: Callable[[EarlierRun], float], runs: Sequence[EarlierRun]) -> Html:
    points = [
        Point(
            value(run),
            f"{run.started}: {_number(value(run))}{'' if run.exit_code == 0 else f', exit code {run.exit_code}'}",
            "bad" if run.status in ("failed", "stopped") else "" if run is runs[-1] else "calm",
        )
        for run in runs
    ]
    usual = median(point.value for point in points[:-1])
    label = f"{name}: {_number(points[-1].value)}, median of the earlier runs {_number(usual)}"
    return tag(
        "div",
        tag("small", name),
        tag("strong", _number(points[-1].value)),
        charts.columns(points, label),
        tag("small", f"median before: {_number(usual)}"),
        class_="card",
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def cost(report: Report) -> Html:
    """Return time and memory of each step."""
    total = report.seconds.get("total", 0)
    steps = {name: seconds for name, seconds in report.seconds.items() if name != "total"}
    rows = [
        (
            name,
            f"{seconds:,.2f} s",
            charts.bar(seconds / total if total else 0),
            f"{report.memory_bytes[name] / 2**20:,.0f} MB" if name in report.memory_bytes else "",
        )
        for name, seconds in steps.items()
    ]
    other = total - sum(steps.values())
    rows += [("other", f"{max(other, 0):,.2f} s", charts.bar(other / total), "")] if total else []
    rows += [("total", f"{total:,.2f} s", NOTHING, f"{report.peak_memory_bytes / 2**20:,.0f} MB")]
    return section(
        "Time and memory",
        table(("step", "time", "", "memory at most"), rows, (1, 3), (2,)),
        tag("p", tag("small", "Memory is that of the whole process, up to the end of the step.")),
        anchor="cost",
    )


def settings(manifest: Mapping[str, Any]) -> Html:
    """Return the settings that differ from their defaults, versions, and what identifies the input."""
    given = manifest["settings"]
    rows = [
        (option_names.option(name), cut(_setting(given[name]), 400))
        for name, field in Settings.model_fields.items()
        if name in given and given[name] not in (None, [], {}) and given[name] != _plain(field.default)
        if name not in ("source", "destination", "dry_run", "workers", "state_dir")
    ]
    inputs = [
        (cut(str(part.get("name") or part.get("provider") or "source"), 120), _input(part))
        for part in manifest.get("source", [])[:20]
    ]
    digests = [
        (f"digest of the {name}", tag("code", str(manifest[key]))) for key, name in _DIGESTS if manifest.get(key)
    ]
    return section(
        "Settings, versions, digests",
        tag("h3", "Settings that differ from their defaults"),
        facts(rows) or tag("p", "none"),
        tag("h3", "Input"),
        facts([*inputs, *digests]),
        tag("h3", "Versions"),
        facts(_versions(manifest)),
        anchor="settings",
    )


_DIGESTS: Final = (("work", "settings and input"), ("reading", "mapping and rules"))


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_setting(part)}" for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _input(part: Mapping[str, Any]) -> str:
    size = part.get("size")
    facts_of = [f"{size:,}" + (" bytes" if "name" in part else "")] if isinstance(size, int) else []
    changed = [f"changed {part['changed']}"] if part.get("changed") else []
    return ", ".join([*facts_of, *changed]) or "size unknown"


def _versions(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the versions of what has read the records and is loaded, without a search for packages."""
    try:
        own = metadata.version("tranship")
    except metadata.PackageNotFoundError:
        own = "not installed"
    loaded = [(name, getattr(sys.modules.get(name), "__version__", None)) for name in _LIBRARIES]
    return [
        ("Tranship", own),
        ("Python", platform.python_version()),
        ("system", f"{platform.system()} {platform.machine()}"),
        *((name, str(version)) for name, version in loaded if version is not None),
        ("format of the run directory", str(manifest.get("format", 1))),
    ]
