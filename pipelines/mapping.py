"""The mapping of source columns to fields of the customer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import address_lists, field_rules, mapping_notes, masks
from tranship.pipelines.corrections import NO_CORRECTIONS, Corrections
from tranship.pipelines.field_rules import FieldRule
from tranship.pipelines.matching import NO_PINS, Match, Pins, columns_of, fields_by_column, match
from tranship.pipelines.settings_model import Reading
from tranship.schemas import headers
from tranship.schemas.column_names import Affixes, fold, shared_affixes
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS
from tranship.schemas.flags import Flag
from tranship.schemas.flags import flag as flag_of
from tranship.schemas.secret_columns import secrets
from tranship.schemas.visible import visible

KEYS = ("external_id", "email")
ZERO_IS_KEY = "net_terms=0"
"""In `ColumnMap.may_differ`: a zero among the payment terms is the key of a condition."""


class ColumnMap(Struct, frozen=True):
    """Canonical field → column of the source, the unmapped columns, and default values.

    One column may feed several fields. `built` are the fields that are made of several columns or by an expression;
    `words` is field → the user's words, folded, → their values. `flags` are unmapped columns that mark a record as
    deleted or disabled. `rivals` are field → columns whose values must not differ from those of the mapped one,
    `others` are field → synonyms of another meaning; only names decided between these and the mapped column. `notes`
    explains this, for people.
    """

    fields: Mapping[str, str]
    extra: tuple[str, ...]
    defaults: Mapping[str, str]
    built: Mapping[str, FieldRule] = field(default_factory=dict)
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    rivals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    profile: str | None = None
    """The export profile that the map follows, for people."""
    optional_words: frozenset[tuple[str, str]] = frozenset()
    """The words that need not occur, as (field, folded word)."""
    may_differ: frozenset[str] = frozenset()
    """The fields whose column may contain something else: its values are used only where they are unambiguous."""
    corrections: Corrections = NO_CORRECTIONS
    """The corrections of values, by the column on which they act."""
    unlike: Mapping[str, str] = field(default_factory=dict)
    """Unmapped column → the field that its name means and its first values cannot be."""
    keeps_unused: bool = True
    """Whether unmapped columns, and values that a rule leaves unused, are kept in metadata."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The canonical fields that this source has, in order."""
        filled = {*self.fields, *self.built, *self.defaults, *(["metadata"] if self.extra or self.fallbacks else [])}
        return tuple(name for name in COLUMNS if name in filled)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The columns used only in records in which an earlier alternative is blank. In the other records, their values
        are kept in metadata.
        """
        rules = self.built.values() if self.keeps_unused else ()
        first = {column for rule in rules for column in (rule.alternatives or (rule.columns,))[0]}
        used = {*first, *self.fields.values(), *(c for rule in rules if rule.expression for c in rule.columns)}
        return tuple(dict.fromkeys(column for rule in rules for column in rule.columns if column not in used))

    @property
    def by_column(self) -> dict[str, str | list[str]]:
        """Column → its field, or its fields."""
        return fields_by_column(self.fields, self.built)

    def columns_of(self, field: str) -> tuple[str, ...]:
        """Return the columns that a field is made of; none if it has only a default."""
        if field in self.built:
            return self.built[field].columns
        return (self.fields[field],) if field in self.fields else ()

    @property
    def of_keys(self) -> ColumnMap:
        """Return the map of the keys only: external id and e-mail."""
        fields, built, words = (
            {name: of_field for name, of_field in given.items() if name in KEYS}
            for given in (self.fields, self.built, self.words)
        )
        may_differ = self.may_differ.intersection(KEYS)
        return ColumnMap(fields, (), {}, built, words, may_differ=may_differ, keeps_unused=False)  # type: ignore[arg-type]

    def within(self, columns: Collection[str]) -> ColumnMap:
        """Return the map for records that have only these columns."""
        fields = {field: column for field, column in self.fields.items() if column in columns}
        built = {field: rule for field, rule in self.built.items() if not set(columns).isdisjoint(rule.columns)}
        return replace(self, fields=fields, built=built)


def propose(layouts: Sequence[Layout], reading: Reading, pins: Pins = NO_PINS) -> ColumnMap:
    """Return the map of a run, by `match`.

    Raises ConfigError if a name in the settings does not exist, two columns match one field, a file lacks a mapped
    column, or nothing can fill a mandatory field; all problems are in one message.
    """
    columns = columns_of(layouts)
    matched = match(layouts, reading, pins)
    mapped = matched.fields
    problems = [*masks.problems(layouts)]
    problems += [_choice(layouts[0], *conflict) for conflict in matched.conflicts.items()]
    if any(layout.columns for layout in layouts):
        problems += [f"{layouts[0].name}: {problem}" for problem in _unfilled(matched, columns, reading.defaults)]
        if matched.problem:
            problems.append(f"{visible(layouts[0].name)}: {visible(matched.problem)}")
    missing = list(_missing(layouts, matched))
    if missing and not reading.allow_missing:
        problems += missing
        problems.append(
            "Fix these files, run them separately, or use --allow-missing to read their records without the columns."
        )
    left = matched.undecided(columns)
    of_secrets = secrets(columns)
    secret = tuple(column for column in left if column in of_secrets)
    left = tuple(column for column in left if column not in secret)
    if left and reading.extra == "error":
        problems.append(f"{layouts[0].name}: unmapped columns: {', '.join(map(repr, left))} (--extra error).")
    if problems:
        raise ConfigError.combined([*problems, *(["Nothing was written."] if missing else [])])
    lists = dict.fromkeys((*address_lists.fields_of(mapped).values(), *address_lists.contacts_of(mapped).values()))
    left = (*left, *lists)  # they contain more than the one address that is used
    by_hand = {*reading.fields, *reading.set}
    open_ = {name: fit for name, fit in matched.fits.items() if name in mapped and name not in by_hand}
    # A profile chooses among names, and not between two columns of one name.
    pinned = {
        name: fit for name, fit in matched.fits.items() if name in pins.fields and fit.column == mapped.get(name, "")
    }
    return ColumnMap(
        mapped,
        left if reading.extra == "keep" else (),
        dict(reading.defaults),
        matched.built,
        {name: {folded_word(word): value for word, value in given.items()} for name, given in reading.values.items()},
        flags=_flags((*left, *matched.own), shared_affixes(columns)),
        rivals=_filled(
            {name: matched.undecided(fit.rivals) for name, fit in (*open_.items(), *pinned.items())}
            | {
                name: fit.rivals
                for name, fit in matched.fits.items()
                if fit.rivals and fit.rivals == fit.further and name in matched.built and name not in by_hand
            }
        ),
        others=_filled({name: matched.undecided(fit.others) for name, fit in open_.items()}),
        notes=(
            *mapping_notes.of_fits(matched, by_hand, reading.extra, pins.fields),
            *missing,
            *_new(layouts, left, reading.extra),
            *mapping_notes.of_addresses(matched),
            *mapping_notes.of_first(matched, columns),
            *mapping_notes.of_states(matched),
            *mapping_notes.of_payment_days(matched, columns),
            *mapping_notes.of_others(matched),
            *mapping_notes.of_lists(matched, sorted({column for layout in layouts for column in layout.lists})),
            *mapping_notes.of_half_name(matched, columns),
            *mapping_notes.of_contact_alone(matched, columns),
            *mapping_notes.of_secrets(secret),
            *mapping_notes.of_own(matched.own),
            *mapping_notes.of_unlike(matched, reading.extra),
        ),
        may_differ=_may_differ(matched, mapped, {*by_hand, *pins.fields}),
        unlike={column: name for column, name in matched.unlike.items() if column not in matched.dropped},
        keeps_unused=reading.extra == "keep",
    )


def _flags(columns: Sequence[str], affixes: Affixes) -> tuple[Flag, ...]:
    """Return the columns that mark deleted records, by their whole names or without what all names share."""
    found = ((flag_of(column) or flag_of(affixes.within(column)), column) for column in columns)
    return tuple(replace(flag, column=column) for flag, column in found if flag)


def _may_differ(matched: Match, mapped: Mapping[str, str], decided: Collection[str]) -> frozenset[str]:
    """Return the fields mapped only by the name of a column that may contain something else."""
    found = {"customer_type", "country", "status"}.intersection(matched.tentative)
    if id_ := matched.tentative.get("external_id"):
        of_name = (*(matched.built["name"].columns if "name" in matched.built else ()), mapped.get("name", ""))
        if headers.links_to_records([id_]) or (headers.is_customer(id_) and id_ in of_name):
            found |= {"external_id"}
    if "tax_id" not in decided and "tax_id" in mapped and not headers.is_own_name(mapped["tax_id"], "tax_id"):
        found |= {"tax_id"}
    doubts = {"name": headers.is_customer, "net_terms": headers.may_be_key}
    found |= {name for name, doubt in doubts.items() if name not in decided and name in mapped and doubt(mapped[name])}
    if "net_terms" in found and headers.is_condition(mapped["net_terms"]):
        found.add(ZERO_IS_KEY)
    return frozenset(found)


def _unfilled(matched: Match, columns: Sequence[str], defaults: Collection[str]) -> Iterator[str]:
    """Yield a sentence, with the option to type, for each mandatory field that nothing can fill."""
    fillable = {*matched.fields, *matched.built, *matched.conflicts, *defaults}
    if columns and not fillable:
        first = field_rules.option("external_id", field_rules.quoted(columns[0]))
        yield f"no known column name ({', '.join(map(repr, columns[:_CANDIDATES]))}). Map them: {first}"
        return
    kept = [column for column in columns if column not in matched.dropped]
    for fields, hints in _MANDATORY.items():
        if fillable.isdisjoint(fields):
            others = matched.undecided(columns) or kept
            if fields == ("name",) and (of_contact := matched.rules.get("billing_contact_name")):
                others = [*(column for column in kept if field_rules.quoted(column) == of_contact), *others]
            found = _candidates(others, hints)
            listed = f" Candidates: {', '.join(f'{chr(34)}{column}{chr(34)}' for column in found)}." if found else ""
            example = field_rules.quoted(found[0]) if found else "COLUMN"
            field = "email" if "email" in fields and "mail" in fold(example) else fields[0]
            yield f"{' or '.join(fields)}: no matching column.{listed} Try {field_rules.option(field, example)}"


_CANDIDATES = 12
_MANDATORY = {
    ("name",): ("nam|nom|nimi|firm|compan|organi|custom|client|kund|titel|title",),
    ("external_id", "email"): (
        "mail",
        r"(?:\b|[a-z])I[Dd]\b|\bid\b|(?i:\b(?:no|ref|key)\b|nr\b|code|num|uid)",
        "debit|relat",
    ),
}
"""Fields of which every customer has at least one → patterns in the names of columns that may fill them, best first."""


def _candidates(columns: Sequence[str], patterns: Sequence[str]) -> Sequence[str]:
    """Return the columns whose names resemble a field, or else the first ones."""
    spaced = {column: column.replace("_", " ") for column in columns}
    alike = [
        column
        for pattern in patterns
        for column, name in spaced.items()
        if re.search(pattern, name) or re.search(pattern, fold(column))
    ]
    return (list(dict.fromkeys(alike)) or columns)[:5]


def _missing(layouts: Sequence[Layout], matched: Match) -> Iterator[str]:
    """Yield a sentence for each column that feeds a field and that a file lacks."""
    by_column = fields_by_column(matched.fields, matched.built)
    for layout in layouts:
        of_layout = set(layout.columns)
        for column, fields in by_column.items():
            if of_layout and column not in of_layout:
                feeds = fields if isinstance(fields, str) else ", ".join(fields)
                yield f"{layout.name}: has no column {column!r} ({feeds}), which other files of this run have."


def _new(layouts: Sequence[Layout], unmapped: Collection[str], extra: str) -> Iterator[str]:
    """Yield a note on each unmapped column that only some of the files have."""
    having_of: dict[str, list[str]] = {}
    known = [layout for layout in layouts if layout.columns]
    for layout in known:
        for column in layout.columns:
            having_of.setdefault(column, []).append(layout.name)
    fate = "it is kept in metadata" if extra == "keep" else "it is dropped"
    for column in unmapped:
        having = having_of.get(column, [])
        if len(having) < len(known):
            more = f" and {counted(len(having) - 1, 'more file')}" if len(having) > 1 else ""
            yield f"{having[0]}{more}: column {column!r} is not in the other files; {fate}"


def folded_word(word: str) -> str:
    """Return a user's word in the form used for comparing it with values."""
    return word.strip().lower()


def _filled(columns: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: of_field for name, of_field in columns.items() if of_field}


def _choice(layout: Layout, field: str, fitting: Sequence[str]) -> str:
    lines = "\n".join(f"  {visible(field_rules.option(field, field_rules.quoted(column)))}" for column in fitting)
    columns = counted(len(fitting), "column")
    return f"{visible(layout.name)}: {columns} match {field}: {', '.join(map(repr, fitting))}. Choose one:\n{lines}"
