"""The mapping of source columns to fields of the customer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import expressions, field_rules
from tranship.pipelines.field_rules import FieldRule
from tranship.pipelines.settings import Reading
from tranship.schemas import headers as names
from tranship.schemas import person_names, streets
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS
from tranship.schemas.headers import Fit, Flag

OURS = ("_source", "_line", "_codes", "_reasons", "_text")
"""Columns that a rejects file adds to those of the input; they are not data of the customer."""

KEYS = ("external_id", "email")


@dataclass(frozen=True)
class ColumnMap:
    """Canonical field → column of the source, the unmapped columns, and default values.

    One column may feed several fields. `built` are the fields that are made of several columns or by an expression;
    `words` is field → the user's words, folded, → their values. `flags` are unmapped columns that say that a record is
    deleted or disabled. `rivals` are field → columns that have the same name as the mapped one in another spelling,
    `others` are field → synonyms of another meaning; only their names decided between those and the mapped column.
    `notes` say so, for people.
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
    """Those of `words` that need not occur, as (field, folded word)."""
    keeps_unused: bool = True
    """Whether unmapped columns are kept in metadata, and so what a rule leaves unused in a record."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The canonical fields that this source has, in order."""
        filled = {*self.fields, *self.built, *self.defaults, *(["metadata"] if self.extra or self.fallbacks else [])}
        return tuple(name for name in COLUMNS if name in filled)

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """The columns that are used only in records in which an earlier alternative is blank. In the other records,
        their values are kept in metadata.
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
        """The map of the keys only: external id and e-mail."""
        fields, built, words = (
            {name: of_field for name, of_field in given.items() if name in KEYS}
            for given in (self.fields, self.built, self.words)
        )
        return ColumnMap(fields, (), {}, built, words, keeps_unused=False)  # type: ignore[arg-type]

    def within(self, columns: Collection[str]) -> ColumnMap:
        """Return the map for records that have only these columns."""
        fields = {field: column for field, column in self.fields.items() if column in columns}
        built = {field: rule for field, rule in self.built.items() if not set(columns).isdisjoint(rule.columns)}
        return dataclasses.replace(self, fields=fields, built=built)


@dataclass(frozen=True)
class Match:
    """The mapping that follows from the settings and the names of the columns.

    `fields` is field → column, `built` as in ColumnMap; `dropped` are the columns that the settings leave out;
    `conflicts` is field → the columns that would all fit it, between which a person must choose; `fits` has, by field,
    all that fit by name.
    """

    fields: Mapping[str, str]
    built: Mapping[str, FieldRule]
    dropped: frozenset[str]
    conflicts: Mapping[str, Sequence[str]]
    fits: Mapping[str, Fit]

    @property
    def used(self) -> frozenset[str]:
        """The columns that feed a field."""
        return frozenset((*self.fields.values(), *(c for rule in self.built.values() for c in rule.columns)))

    @property
    def rules(self) -> dict[str, str]:
        """Field → its rule as a person writes it, in the order of fields."""
        rules = {name: field_rules.quoted(column) for name, column in self.fields.items()}
        rules |= {name: str(rule) for name, rule in self.built.items()}
        return {name: rules[name] for name in COLUMNS if name in rules}

    def undecided(self, of: Sequence[str]) -> tuple[str, ...]:
        """Return those of the columns that are neither mapped nor dropped."""
        used = self.used
        return tuple(c for c in of if c not in self.dropped and c not in used)


def fields_by_column(fields: Mapping[str, str], built: Mapping[str, FieldRule]) -> dict[str, str | list[str]]:
    """Return column → its field, or its fields, from field → column and the fields that are built."""
    found: dict[str, list[str]] = {}
    for name, column in fields.items():
        found.setdefault(column, []).append(name)
    for name, rule in built.items():
        for column in rule.columns:
            found.setdefault(column, []).append(name)
    return {column: names[0] if len(names) == 1 else names for column, names in found.items()}


@dataclass(frozen=True)
class Pins:
    """What a profile decides: `fields` are those whose rules in the settings are its rules, and no choice of the user;
    `unfilled` are those that no column fills by its name.
    """

    fields: frozenset[str] = frozenset()
    unfilled: frozenset[str] = frozenset()


NO_PINS = Pins()


def match(layouts: Sequence[Layout], reading: Reading, pins: Pins = NO_PINS) -> Match:
    """Match the columns of all files of a run to fields, first by the settings, then by name.

    Raises ConfigError if a name in the settings does not exist, or the settings contradict themselves; all that is
    wrong is in one message.
    """
    columns = columns_of(layouts)
    given = _Given(layouts, columns)
    given.check_fields(reading)
    for name, text in reading.fields.items():
        given.add_rule(name, text)
    for name, text in reading.set.items():
        given.add_expression(name, text, allow_missing=reading.allow_missing)
    dropped = frozenset(filter(None, (given.column("--ignore", column) for column in reading.ignore)))
    given.check_dropped(dropped)
    if given.problems:
        raise ConfigError("\n".join(given.problems))
    by_name = _ByName(layouts, columns, dropped, given, pins.unfilled)
    by_name.add_fields()
    if "address_line1" not in pins.unfilled:
        by_name.add_house_number()
    if "name" not in pins.unfilled:
        by_name.add_names()
    in_order = {name: given.fields[name] for name in COLUMNS if name in given.fields}
    return Match(in_order, given.built, dropped, by_name.conflicts, by_name.fits)


class _ByName:
    """Adds to the rules of the settings those that follow from the names of columns. `conflicts` and `fits` are as in
    Match.
    """

    def __init__(
        self,
        layouts: Sequence[Layout],
        columns: Sequence[str],
        dropped: Collection[str],
        given: _Given,
        unfilled: Collection[str],
    ) -> None:
        self._kept = [column for column in columns if column not in dropped]
        self._unfilled = unfilled
        self._fields, self._built = given.fields, given.built
        self._by_hand = {*given.fields, *given.built}
        self._used = {*given.fields.values(), *(column for rule in given.built.values() for column in rule.columns)}
        self._repeats = {made: own for layout in layouts for made, own in layout.repeated.items()}
        self.fits = {name: fit for name, fit in names.match(columns, self._repeats).items() if name not in unfilled}
        self.conflicts: dict[str, Sequence[str]] = {}

    def add_fields(self) -> None:
        """Add all fields but the name."""
        for name, fit in self.fits.items():
            if name != "name" and not self._has(name) and (among := self._among(name, fit.columns)):
                self._decide(name, among)

    def add_house_number(self) -> None:
        """Add the house number to the street, where it has a column of its own."""
        if "address_line1" in self._fields and "address_line1" not in self._by_hand:
            street = self._fields["address_line1"]
            taken = self._used | {*self._fields.values()}
            parts = streets.line(self._kept, street, taken)
            if len(parts) > 1:
                del self._fields["address_line1"]
                self._add("address_line1", (parts,))

    def add_names(self) -> None:
        """Add the name, of a person from first and last name, and the name of the billing contact: a company beside a
        person is the customer.
        """
        people = person_names.find(self._kept)
        of_people = people.columns
        if people.unclear:
            people = person_names.find([column for column in self._kept if column not in self._used])
        fitting = self.fits["name"].columns if "name" in self.fits else ()
        own = self._among("name", [column for column in fitting if column not in of_people])
        whole = (*people.whole_names, *people.unclear)
        if own or whole:
            self.fits["name"] = Fit(
                own.column if own else None, own.rivals if own else (), (*(own.others if own else ()), *whole)
            )
        if not self._has("name"):
            # Which of two whole names is the customer's, only the field's own name decides.
            is_own = own is not None and own.column is not None and names.is_own_name(own.column, "name")
            companies = [column for column in (people.company, *people.unclear) if column]
            if own and (own.column is None or (companies and not is_own)):
                self.conflicts["name"] = (*([own.column] if own.column else []), *own.others, *companies)
                return
            if people.unclear and not is_own:
                self.conflicts["name"] = people.unclear
                return
            rule = person_names.name_rule(people, own.column if own else None)
            if people.full and len(rule) == 1 and names.fold(rule[0][0]) in names.CUSTOMERS:
                rule = (*rule, (people.full,))  # `Client` beside `Nom` may only say whether it is one
            self._add("name", rule)
        name = self._built.get("name") or FieldRule(((self._fields.get("name", ""),),))
        person_beside = people.person and not set(name.columns) <= set(people.person)
        if person_beside and "billing_contact_name" not in {*self._by_hand, *self.conflicts, *self._unfilled}:
            # A column of its own, such as `Billing Attention`, is often empty.
            own_column = self._fields.pop("billing_contact_name", None)
            own_rule = ((own_column,),) if own_column else ()
            rest = (rule for rule in person_names.contact_rule(people) if rule not in own_rule)
            self._add("billing_contact_name", (*own_rule, *rest))

    def _has(self, name: str) -> bool:
        return name in self._fields or name in self._built

    def _among(self, name: str, fitting: Sequence[str]) -> Fit | None:
        """Return which of the columns that fit a field is used; null if all are left out."""
        kept = [column for column in fitting if column in self._kept]
        # A column that the settings map to another field is used only if no other column fits.
        free = [column for column in kept if column not in self._used] or kept
        return names.match(self._kept, self._repeats, without={*self._kept} - {*free}).get(name)

    def _decide(self, name: str, fit: Fit) -> None:
        if fit.column is None:
            self.conflicts[name] = fit.others
        else:
            self._fields[name] = fit.column

    def _add(self, name: str, alternatives: tuple[tuple[str, ...], ...]) -> None:
        rule = FieldRule(alternatives)
        if rule.column is not None:
            self._fields[name] = rule.column
        elif alternatives:
            self._built[name] = rule


class _Given:
    """The rules of the settings, applied to the columns of the source. `problems` collects what is wrong with them."""

    def __init__(self, layouts: Sequence[Layout], columns: Sequence[str]) -> None:
        self._layouts, self._columns = layouts, columns
        self.fields: dict[str, str] = {}
        self.built: dict[str, FieldRule] = {}
        self.problems: list[str] = []

    def check_fields(self, reading: Reading) -> None:
        """Check the names of fields in all settings."""
        for option, fields in (
            ("--map", reading.fields),
            ("--set", reading.set),
            ("--value", reading.values),
            ("--default", reading.defaults),
        ):
            for name in fields:
                if name not in COLUMNS:
                    turned = self._turned(name, reading.fields[name]) if option == "--map" else ""
                    self.problems.append(turned or f"{option}: unknown field {name!r}{_nearest(name, COLUMNS)}")
        for name in reading.fields:
            if name in reading.set:
                self.problems.append(f"{name}: --map and --set both give a rule. Give one of the two.")

    def add_rule(self, name: str, text: str) -> None:
        """Add a rule of `--map`."""
        if name not in COLUMNS:
            return
        try:
            spelled = field_rules.parse(text)
        except ValueError as error:
            self.problems.append(f'--map {name}={text!r}: {error}. Write {name}="Column | First + Last".')
            return
        before = len(self.problems)
        alternatives = tuple(
            tuple(self.column(f"--map {name}", column, text) or "" for column in spelled_columns)
            for spelled_columns in spelled
        )
        if len(self.problems) > before:
            return
        rule = FieldRule(alternatives)
        if rule.column is not None:
            self.fields[name] = rule.column
        else:
            self.built[name] = rule

    def add_expression(self, name: str, text: str, *, allow_missing: bool) -> None:
        """Add a rule of `--set`."""
        if name not in COLUMNS:
            return
        try:
            parsed = expressions.parse(f"--set {name}", text, is_condition=False)
        except ConfigError as error:
            self.problems.append(str(error))
            return
        self.problems += expressions.problems(parsed, self._layouts, allow_missing=allow_missing)
        self.built[name] = FieldRule(expression=parsed)

    def check_dropped(self, dropped: Collection[str]) -> None:
        """Check that no column is both used and left out."""
        for column, fields in fields_by_column(self.fields, self.built).items():
            if column in dropped:
                name = fields if isinstance(fields, str) else fields[0]
                self.problems.append(
                    f'--ignore leaves "{column}" out, and the rule of {name} uses it. Give one of the two.'
                )

    def column(self, option: str, name: str, rule: str = "") -> str | None:
        """Return the source's spelling of a column named in the settings, exactly or up to case and punctuation; null,
        with a problem, if there is none or more than one.
        """
        if name in self._columns:
            return name
        alike = [column for column in self._columns if names.fold(column) == names.fold(name)]
        if len(alike) == 1:
            return alike[0]
        if alike:
            spelled = " and ".join(map(repr, alike))
            self.problems.append(f"{option}: {name!r} could be {spelled}. Write the name as in the header.")
            return None
        problem = f"{option}: {self._layouts[0].name} has no column {name!r}{_nearest(name, self._columns)}"
        if rule in self._columns:
            problem = f"{option}: the name of a column that contains | or + is written in double quotes: "
            problem += field_rules.option(option.removeprefix("--map "), field_rules.quoted(rule))
        elif rule in COLUMNS and (turned := self._turned(option.removeprefix("--map "), rule)):
            problem = turned
        if problem not in self.problems:
            self.problems.append(problem)
        return None

    def _turned(self, left: str, right: str) -> str:
        """Return what to type instead of COLUMN=FIELD, which earlier versions took; empty if it is not that."""
        column = next((column for column in self._columns if names.fold(column) == names.fold(left)), None)
        if column is None:
            return ""
        if not right:
            return f"--map: to leave a column out, type: {field_rules.ignore_option(column)}"
        if right in COLUMNS:
            return f"--map: the field comes first: {field_rules.option(right, field_rules.quoted(column))}"
        return ""


def columns_of(layouts: Sequence[Layout]) -> list[str]:
    """Return the columns of all files, each once, without those that a rejects file adds."""
    return list(dict.fromkeys(c for layout in layouts for c in layout.columns if c not in OURS))


def propose(layouts: Sequence[Layout], reading: Reading, pins: Pins = NO_PINS) -> ColumnMap:
    """Return the map of a run, by `match`.

    Raises ConfigError if a name in the settings does not exist, two columns fit one field, a file lacks a mapped
    column, or nothing can fill a mandatory field; all problems are in one message.
    """
    columns = columns_of(layouts)
    matched = match(layouts, reading, pins)
    mapped = matched.fields
    problems = [_choice(layouts[0], *conflict) for conflict in matched.conflicts.items()]
    if any(layout.columns for layout in layouts):
        problems += [f"{layouts[0].name}: {problem}" for problem in _unfilled(matched, columns, reading.defaults)]
    missing = list(_missing(layouts, matched))
    if missing and not reading.allow_missing:
        problems += missing
        problems.append(
            "Fix these files, run them by themselves, or use --allow-missing to read their records without the columns."
        )
    left = matched.undecided(columns)
    secret = tuple(column for column in left if names.is_secret(column))
    left = tuple(column for column in left if column not in secret)
    if left and reading.extra == "error":
        problems.append(f"{layouts[0].name}: unmapped columns: {', '.join(map(repr, left))} (--extra error).")
    if problems:
        raise ConfigError("\n".join([*problems, *(["Nothing was written."] if missing else [])]))
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
        flags=tuple(flag for flag in map(names.flag, left) if flag),
        rivals=_filled({name: matched.undecided(fit.rivals) for name, fit in (*open_.items(), *pinned.items())}),
        others=_filled({name: matched.undecided(fit.others) for name, fit in open_.items()}),
        notes=(
            *_notes(matched, by_hand, reading.extra, pins.fields),
            *missing,
            *_new(layouts, left, reading.extra),
            *_note_of_secrets(secret),
        ),
        keeps_unused=reading.extra == "keep",
    )


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
            found = _candidates(matched.undecided(columns) or kept, hints)
            listed = f" Candidates: {', '.join(f'{chr(34)}{column}{chr(34)}' for column in found)}." if found else ""
            example = field_rules.quoted(found[0]) if found else "COLUMN"
            field = "email" if "email" in fields and "mail" in names.fold(example) else fields[0]
            yield f"{' or '.join(fields)}: no column fits.{listed} Try {field_rules.option(field, example)}"


_CANDIDATES = 12
_MANDATORY = {
    ("name",): ("nam|nom|nimi|firm|compan|organi|custom|client|kund|titel|title",),
    ("external_id", "email"): ("mail", r"(?:\b|[a-z])I[Dd]\b|\bid\b|(?i:\b(?:no|ref|key)\b|nr\b|code|num|uid)"),
}
"""Fields of which every customer has at least one → patterns in the names of columns that may fill them, best first."""


def _candidates(columns: Sequence[str], patterns: Sequence[str]) -> Sequence[str]:
    """Return the columns whose names resemble a field, or else the first ones."""
    spaced = {column: column.replace("_", " ") for column in columns}
    alike = [
        column
        for pattern in patterns
        for column, name in spaced.items()
        if re.search(pattern, name) or re.search(pattern, names.fold(column))
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
    """Return a user's word in the form in which it is compared with values."""
    return word.strip().lower()


def _filled(columns: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {name: of_field for name, of_field in columns.items() if of_field}


def _notes(matched: Match, mapped_by_hand: Collection[str], extra: str, pinned: Collection[str]) -> Iterator[str]:
    """Yield a note on each column that fits a field by name and was not mapped to it, unless a profile decides it."""
    for name, fit in matched.fits.items():
        left = matched.undecided(fit.columns)
        if not left or name in pinned or not (name in matched.fields or name in matched.built):
            continue
        rule = f'"{matched.fields[name]}"' if name in matched.fields else str(matched.built[name])
        columns = " and ".join(f'"{other}"' for other in left)
        fate = ("stays" if len(left) == 1 else "stay") + " in metadata"
        if extra == "drop":
            fate = "is dropped" if len(left) == 1 else "are dropped"
        if name in mapped_by_hand:
            replaces = fit.column in left
            yield (
                f"--map makes {name} {rule} and replaces {columns}, which now {fate}"
                if replaces
                else f"{name} is {rule}; {columns} would fit, too, and {fate}"
            )
        else:
            choice = field_rules.option(name, field_rules.quoted(left[0]))
            yield f"{name} is {rule}; {columns} would fit, too, and {fate}. To choose: {choice}"


def _note_of_secrets(columns: Sequence[str]) -> Iterator[str]:
    if columns:
        quoted = ", ".join(f'"{column}"' for column in columns)
        what = "holds a secret and is" if len(columns) == 1 else "hold secrets and are"
        use = field_rules.option("FIELD", field_rules.quoted(columns[0]))
        yield f"{quoted} {what} left out. To use it, map it: {use}"


def _choice(layout: Layout, field: str, fitting: Sequence[str]) -> str:
    lines = "\n".join(f"  {field_rules.option(field, field_rules.quoted(column))}" for column in fitting)
    columns = counted(len(fitting), "column")
    return f"{layout.name}: {columns} fit {field}: {', '.join(map(repr, fitting))}. Choose one:\n{lines}"


def _nearest(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}."
