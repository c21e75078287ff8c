"""The export profile of a run: recognised by the headers of its files or named in the settings, which override it.

A profile is a part of a settings file about the meaning of a system's columns and words. The user's own settings
override it. A rule is applied to those of its columns that a file has: exports of one system differ in their columns. A
blank rule means that no column fills the field, whatever its name is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tranship.connectors import suggestions
from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import corrections, expressions, field_rules, mapping, pipelines_file, toml_file
from tranship.pipelines.mapping import ColumnMap, folded_word
from tranship.pipelines.matching import NO_PINS, Pins, columns_of
from tranship.pipelines.reading import check_values
from tranship.pipelines.settings import fragment, refuse_key_as_name
from tranship.pipelines.settings_model import Reading, Settings
from tranship.schemas import export_profiles
from tranship.schemas.column_names import fold

NONE: Final = "none"
"""The value of the setting `profile` that turns recognition off."""

SETTINGS: Final = (
    *("fields", "ignore", "values", "defaults", "set", "where"),
    *("timezone", "date_format", "blocked", "on_invalid"),
)
"""The settings that a profile may have. Other settings in a file that is used as a profile are ignored."""

_R = TypeVar("_R", bound=Reading)


class Applied(Struct, Generic[_R], frozen=True):
    """The settings of a run with those of a profile beneath them. `title` is the name of the profile for people, null
    if there is none; `words` are its words, as (field, folded word), which need not occur in a file.
    """

    reading: _R
    title: str | None = None
    pins: Pins = NO_PINS
    words: frozenset[tuple[str, str]] = frozenset()
    notes: tuple[str, ...] = ()

    def columns(self, layouts: Sequence[Layout]) -> ColumnMap:
        """Return the map of a run. Raises what `mapping.propose` raises."""
        made = mapping.propose(layouts, self.reading, self.pins)
        if self.reading.corrections is not None and (names := columns_of(layouts)):
            rules = corrections.by_column(self.reading.corrections, names, made.columns_of)
            made = replace(made, corrections=rules)
        return replace(made, profile=self.title, optional_words=self.words, notes=(*self.notes, *made.notes))


class _Profile(Struct, frozen=True):
    """A profile as it is written. `needed` are headers that must be there; `own_file` is whether it is the user's."""

    title: str
    settings: Mapping[str, Any]
    needed: tuple[str, ...] = ()
    own_file: str | None = None


def apply(layouts: Sequence[Layout], reading: _R) -> Applied[_R]:
    """Return the settings with the profile that they name, or by which all files are recognised.

    Raises ConfigError if the profile that is named does not exist, is not valid, or does not match these files.
    """
    columns = columns_of(layouts)
    if reading.profile == NONE or not columns:
        return Applied(reading)
    if reading.profile is not None:
        profile = _named(reading.profile)
        return _beneath(reading, profile, layouts, f"{profile.title} (--profile)")
    found = [export_profiles.recognise(_headers(layout)) for layout in layouts if layout.columns]
    names = {name for of_file in found for name in of_file}
    if not names:
        return Applied(reading)
    if len(names) > 1 or not all(found):
        return Applied(reading, notes=(_ambiguous(names),))
    profile = _built_in(names.pop())
    return _beneath(reading, profile, layouts, profile.title)


def _headers(layout: Layout) -> list[str]:
    """Return the columns as spelled in the header."""
    return [layout.repeated.get(column, column) for column in layout.columns]


def _ambiguous(names: Collection[str]) -> str:
    titles = " and ".join(sorted(export_profiles.index()[name].title for name in names))
    what = "the headers match several export profiles" if len(names) > 1 else "only some of the files are recognised"
    return f"{what}: {titles}. None is used. To choose one: --profile {min(names)}"


def _built_in(name: str) -> _Profile:
    content = export_profiles.load(name)
    about = content.pop("recognise")
    return _Profile(about["name"], content)


def _named(given: str, above: tuple[str, ...] = ()) -> _Profile:
    """Return the profile of this name, or the one in this file, which may name a profile below it."""
    if given in above:
        raise ConfigError(f"--profile {above[0]}: names itself as the profile below it. Remove that line.")
    if not given.lower().endswith(".toml"):
        if name := export_profiles.find(given):
            return _built_in(name)
        known = list(export_profiles.index())
        wanted = given.strip().casefold().replace(" ", "-")
        near = [name for name in known if wanted and wanted in name] or suggestions.similar(wanted, known, at_most=3)
        advice = suggestions.did_you_mean(near) or f"The profiles are: {', '.join(known)}."
        raise ConfigError(f"--profile {given}: there is no such profile. {advice} Or name a file that ends with .toml.")
    content = _of_file(given)
    about = content.pop("recognise", {})
    headers = about.get("headers", ())
    base = content.pop("profile", NONE)
    if not isinstance(base, str):
        raise ConfigError(f"--profile {given}: the profile that it names is not text.")
    beneath = _named(base, (*above, given)) if base != NONE else None
    own = {
        name: pipelines_file.filled(value, f"{name} ({given})", os.environ)
        for name, value in content.items()
        if name in SETTINGS
    }
    checked = fragment({**own, "source": given}, given)
    check_values(checked)
    settings = checked.model_dump(include=set(own))
    if beneath:
        settings = {**beneath.settings, **settings, **_tables(beneath.settings, settings)}
    return _Profile(about.get("name") or Path(given).stem, settings, tuple(headers), given)


def _tables(beneath: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables that both have, as one."""
    merged: dict[str, Any] = {}
    for name in beneath.keys() & above.keys():
        if isinstance(above[name], dict):
            merged[name] = {**beneath[name], **above[name]}
            if name == "values":
                merged[name] |= {
                    field: {**beneath[name][field], **words}
                    for field, words in above[name].items()
                    if field in beneath[name]
                }
    return merged


def _of_file(given: str) -> dict[str, Any]:
    content = toml_file.read(Path(given), f"--profile {given}")
    about = content.get("recognise", {})
    headers = about.get("headers", []) if isinstance(about, dict) else None
    if not isinstance(headers, list) or not all(isinstance(header, str) for header in headers):
        raise ConfigError(f'--profile {given}: [recognise] has a name and headers = ["COLUMN", …].')
    for name in content:
        refuse_key_as_name(name, f"--profile {given}")
        if name not in (*Settings.model_fields, "recognise"):
            advice = suggestions.advice(name, (*SETTINGS, "recognise"), "The settings of a profile are")
            raise ConfigError(f"--profile {given}: unknown setting {name}. {advice}")
    return content


def _beneath(reading: _R, profile: _Profile, layouts: Sequence[Layout], title: str) -> Applied[_R]:
    """Return the settings with those of a profile beneath them."""
    columns = _Columns(layouts, reading)
    for layout in layouts:
        lacking = [header for header in profile.needed if layout.columns and not columns.find(header)]
        if lacking:
            listed = ", ".join(f'"{header}"' for header in lacking)
            raise ConfigError(f"--profile {profile.own_file}: {layout.name} lacks {listed}, which [recognise] names.")
    given = profile.settings
    by_hand = {*reading.fields, *reading.set}
    rules = {
        field: columns.rule(text) if text else None
        for field, text in given.get("fields", {}).items()
        if field not in by_hand
    }
    fields = {field: rule for field, rule in rules.items() if rule}
    # An id that the profile does not name is that of something else: a contact's account, a user's organisation.
    unfilled = {field for field, text in given.get("fields", {}).items() if field in rules and not text}
    unfilled |= {"external_id"} & rules.keys() - fields.keys()
    computed = {
        field: text
        for field, text in given.get("set", {}).items()
        if columns.has_all(field, text) and field not in by_hand
    }
    ignored = [column for name in given.get("ignore", ()) if (column := columns.find(name)) and columns.is_free(column)]
    words = given.get("values", {})
    values = {
        field: {**words.get(field, {}), **reading.values.get(field, {})}
        for field in dict.fromkeys((*words, *reading.values))
    }
    optional = {(field, folded_word(word)) for field, of_field in words.items() for word in of_field} - {
        (field, folded_word(word)) for field, of_field in reading.values.items() for word in of_field
    }
    update = {
        "fields": {**fields, **reading.fields},
        "set": {**computed, **reading.set},
        "ignore": (*reading.ignore, *ignored),
        "values": values,
        "defaults": {**given.get("defaults", {}), **reading.defaults},
        "on_invalid": {**given.get("on_invalid", {}), **reading.on_invalid},
        "where": reading.where or given.get("where"),
        "date_format": reading.date_format or tuple(given.get("date_format", ())),
        "blocked": (*reading.blocked, *given.get("blocked", ())),
    }
    if "timezone" in given and "timezone" not in reading.model_fields_set:
        update["timezone"] = given["timezone"]
    if profile.own_file is None and reading.profile is not None and columns.missing and not columns.found:
        raise ConfigError(
            f"--profile {reading.profile}: {layouts[0].name} has none of the columns of this profile. Choose "
            "another one, or leave the option out."
        )
    return Applied(
        reading.model_copy(update=update),
        title,
        Pins(frozenset((*fields, *computed)), frozenset(unfilled - computed.keys())),
        frozenset(optional),
        tuple(_missing(profile, columns)),
    )


def _missing(profile: _Profile, columns: _Columns) -> Iterator[str]:
    """Yield a note on the columns of the user's own profile that are not there."""
    if profile.own_file and columns.missing:
        listed = ", ".join(f'"{column}"' for column in dict.fromkeys(columns.missing))
        what = "is not a column" if len(set(columns.missing)) == 1 else "are not columns"
        yield f"--profile {profile.own_file}: {listed} {what} of this source; rules are applied without"


class _Columns:
    """The columns of the source, as far as the settings leave them to a profile. `missing` collects the columns that
    the source lacks; `found` is whether it has any of them.
    """

    def __init__(self, layouts: Sequence[Layout], reading: Reading) -> None:
        self._layouts = layouts
        self._by_name = {column: column for column in columns_of(layouts)}
        folded: dict[str, list[str]] = {}
        for column in self._by_name:
            folded.setdefault(fold(column), []).append(column)
        self._by_fold = {name: alike[0] for name, alike in folded.items() if len(alike) == 1}
        self._ignored = {self.find(column) for column in reading.ignore}
        rules = (*reading.fields.values(), *reading.set.values(), reading.where or "")
        self._words = frozenset(word for rule in rules for word in re.findall(r"\w+", rule))
        self.missing: list[str] = []
        self.found = False

    def find(self, name: str) -> str | None:
        """Return the source's spelling of a column, null if it is not there."""
        return self._by_name.get(name) or self._by_fold.get(fold(name))

    def is_free(self, column: str) -> bool:
        """Return whether no rule of the settings can name a column."""
        return not self._words.issuperset(re.findall(r"\w+", column))

    def rule(self, text: str) -> str | None:
        """Return the rule for the columns that are there, null if none is."""
        alternatives = []
        for alternative in field_rules.parse(text):
            found = [(name, self.find(name)) for name in alternative]
            self.missing += [name for name, column in found if column is None]
            self.found = self.found or any(column is not None for _, column in found)
            present = tuple(column for _, column in found if column is not None and column not in self._ignored)
            if present:
                alternatives.append(present)
        # Two spellings of a name, of which a file has one, are one alternative.
        return str(field_rules.FieldRule(tuple(dict.fromkeys(alternatives)))) if alternatives else None

    def has_all(self, field: str, text: str) -> bool:
        """Return whether all columns of an expression are there."""
        parsed = expressions.parse(f"--set {field}", text, is_condition=False)
        lacking = [name for name in parsed.columns if name not in self._by_name]
        self.missing += lacking
        return not lacking
