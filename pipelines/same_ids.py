"""Check that a run reads its ids from the columns from which the last run into its destination has read them.

Which column is the id may depend on the first records, on a new column, or on a later version of Tranship; with ids of
another column, every customer of the destination would be created again.
"""

from __future__ import annotations

from collections.abc import Sequence

from tranship.connectors.addresses import redacted
from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import endpoints, field_rules
from tranship.pipelines.mapping import ColumnMap
from tranship.pipelines.matching import columns_of
from tranship.pipelines.run_directory import RunDirectory, newest_first
from tranship.pipelines.settings_model import Settings
from tranship.schemas.visible import visible

_FIELD = "external_id"


def check(settings: Settings, layouts: Sequence[Layout], columns: ColumnMap) -> None:
    """Raise ConfigError if the last run of a source with these columns into the same table or account took external_id
    from others of them, and the settings do not choose one. Tables of an engine are not checked.
    """
    if settings.engine or _FIELD in {*settings.fields, *settings.set} or not endpoints.undoes(settings):
        return
    known, now = set(columns_of(layouts)), columns.columns_of(_FIELD)
    if not known:
        return
    for run in newest_first(settings.state_dir):
        before = _ids_of(run)
        if before is None or run.manifest["settings"]["destination"] != redacted(settings.destination):
            continue
        mapped = set(run.manifest["columns"])
        if mapped and mapped <= known:
            if before and set(before) != set(now):
                raise ConfigError.combined(_question(layouts[0].name, run, before, now))
            return


def _ids_of(run: RunDirectory) -> list[str] | None:
    """Return the columns from which a run has taken the ids that it has written; null if it has written nothing."""
    found = run.manifest.get("columns")
    if not found or "settings" not in run.manifest or not run.has_begun_to_write:
        return None
    return [column for column, fields in found.items() if _FIELD in ([fields] if isinstance(fields, str) else fields)]


def _question(source: str, run: RunDirectory, before: Sequence[str], now: Sequence[str]) -> list[str]:
    """Return a line with what has changed, and the options to type."""
    became = f"{_listed(now)} now" if now else "no column now"
    rules = [" + ".join(map(field_rules.quoted, each)) for each in (before, now) if each]
    options = [f"  {visible(field_rules.option(_FIELD, rule))}" for rule in rules]
    changed = (
        f"{visible(source)}: {_FIELD} was {_listed(before)} in run {run.run_id}, the last one into this destination, "
        f"and would be {became}, so that its customers would be created again. Nothing was written. Choose one:"
    )
    return [changed, *options]


def _listed(columns: Sequence[str]) -> str:
    return visible(" + ".join(f'"{column}"' for column in columns))
