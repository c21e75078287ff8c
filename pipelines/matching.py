"""Match the columns of a source to fields: by the settings first, then by the names of the columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from tranship.connectors import suggestions
from tranship.connectors.contract import Layout
from tranship.connectors.errors import ConfigError
from tranship.pipelines import address_lists, expressions, field_rules, unlike_values
from tranship.pipelines.field_rules import FieldRule
from tranship.pipelines.first_records import FEW, FirstRecords
from tranship.pipelines.settings_model import Reading
from tranship.schemas import area_codes, person_names, streets
from tranship.schemas import headers as names
from tranship.schemas.column_names import fold
from tranship.schemas.counted import counted
from tranship.schemas.customer import ADDRESS, COLUMNS, OWN_COLUMNS
from tranship.schemas.header_words import BARE_TYPES
from tranship.schemas.headers import Fit

_TEXTS = ("name", "billing_contact_name", "address_line1", "city", "state", "country")
"""Fields that are not whole numbers: such a column has the keys of another table."""
_MOST_COLUMNS = 2_000
"""The number of columns, at the beginning of a wide table, whose values are looked at for that."""
_MOST_UNIDENTIFIED = 0.25
"""The share of records without id and e-mail above which a column that may be the id is asked about."""

OURS = ("_source", "_line", "_codes", "_reasons", "_text")
"""Columns that a rejects file adds to those of the input; they are not data of the customer."""


class Match(Struct, frozen=True):
    """The mapping that follows from the settings and the names of the columns.

    `fields` is field → column, `built` as in ColumnMap; `dropped` are the columns that the settings leave out;
    `tentative` is field → a column whose name alone is not conclusive; `conflicts` is field → the columns that all
    match it, between which a person must choose; `fits` is field → all columns that match by name.
    """

    fields: Mapping[str, str]
    built: Mapping[str, FieldRule]
    dropped: frozenset[str]
    conflicts: Mapping[str, Sequence[str]]
    fits: Mapping[str, Fit]
    tentative: Mapping[str, str] = field(default_factory=dict)
    half_name: str | None = None
    """The only column of a person's name that is recognised, a first name without a last name or the other way
    round."""
    contact_alone: str | None = None
    """The column of a contact that is the name of the customer for want of another one."""
    by_values: str = ""
    """What the first records say about the choice of the external id, empty if the names decided it."""
    of_others: Mapping[str, str] = field(default_factory=dict)
    """Column → the field that its name means, of columns of numbers that are the keys of something else."""
    problem: str = ""
    """Why the records could not be identified, and the option to type; empty if they can."""
    own: tuple[str, ...] = ()
    """The dropped columns in which Tranship keeps its own data, in a table (or dump of a table) that it wrote."""
    unlike: Mapping[str, str] = field(default_factory=dict)
    """Column → the field that its name means and its first values cannot be."""

    @property
    def used(self) -> frozenset[str]:
        """The columns that feed a field."""
        return frozenset((*self.fields.values(), *(c for rule in self.built.values() for c in rule.columns)))

    @property
    def rules(self) -> dict[str, str]:
        """Field → its rule as it is written in settings, in the order of fields."""
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


class Pins(Struct, frozen=True):
    """The decisions of a profile: `fields` are those whose rules are the profile's rather than the user's choice;
    `unfilled` are those that no column fills by its name.
    """

    fields: frozenset[str] = frozenset()
    unfilled: frozenset[str] = frozenset()


NO_PINS = Pins()


def match(layouts: Sequence[Layout], reading: Reading, pins: Pins = NO_PINS) -> Match:
    """Match the columns of all files of a run to fields, first by the settings, then by name.

    Raises ConfigError if a name in the settings does not exist, or the settings contradict themselves; all problems are
    in one message.
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
        raise ConfigError.combined(given.problems)
    used = fields_by_column(given.fields, given.built)
    own = tuple(column for column in _bookkeeping(columns) if column not in used and column not in dropped)
    dropped |= {*own}
    by_name = _ByName(layouts, columns, dropped, given, pins.unfilled)
    by_name.add_fields()
    by_name.add_tentative()
    by_name.check_ids()
    by_name.add_address_list()
    if "address_line1" not in pins.unfilled:
        by_name.add_house_number()
    if "phone" not in pins.unfilled:
        by_name.add_area_code()
    if "name" not in pins.unfilled:
        by_name.add_names()
    by_name.add_contact_list()
    given.keep_addresses_whole()
    in_order = {name: given.fields[name] for name in COLUMNS if name in given.fields}
    return Match(
        in_order,
        given.built,
        dropped,
        by_name.conflicts,
        by_name.fits,
        by_name.tentative,
        half_name=by_name.half_name,
        contact_alone=by_name.contact_alone,
        by_values=by_name.by_values,
        of_others=by_name.of_others,
        problem=by_name.problem,
        own=own,
        unlike={column: name for column, name in by_name.unlike.items() if column not in given.used},
    )


def _bookkeeping(columns: Sequence[str]) -> list[str]:
    """Return the columns in which Tranship keeps its own data; one alone may be another program's."""
    found = [column for column in columns if column in OWN_COLUMNS]
    return found if len(found) > 1 else []


_VALUE: Final = re.compile(r"(?i)[.](?:name|value|label)$")


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
        self._layouts = layouts
        self._kept = [column for column in columns if column not in dropped]
        self._unfilled = unfilled
        self._given = given
        self._fields, self._built = given.fields, given.built
        self._by_hand = {*given.fields, *given.built}
        self._used = {*given.fields.values(), *(column for rule in given.built.values() for column in rule.columns)}
        self._repeats = {made: own for layout in layouts for made, own in layout.repeated.items()}
        self._first = FirstRecords(layouts)
        self.of_others = dict(self._keys_of_others())
        self._kept = [column for column in self._kept if column not in self.of_others]
        self._values = unlike_values.Values(layouts, self._first)
        free = [column for column in self._kept if column not in self._used]
        self.unlike = self._values.unlike(free, names.fields_of(columns, self._repeats))
        self._kept = [column for column in self._kept if column not in self.unlike]
        found = names.match(columns, self._repeats, without={*self.of_others, *self.unlike})
        self.fits = {name: fit for name, fit in found.items() if name not in unfilled}
        self.conflicts: dict[str, Sequence[str]] = {}
        self.tentative: dict[str, str] = {}
        self.half_name: str | None = None
        self.contact_alone: str | None = None
        self.by_values = ""
        self.problem = ""

    def _keys_of_others(self) -> Iterator[tuple[str, str]]:
        """Yield each column of a name or a place that has numbers only, with its field: the key of a country, say."""
        contacts = {*person_names.find(self._kept).whole_names}
        for column in self._kept[:_MOST_COLUMNS]:
            named = names.field_of(column)
            if named not in _TEXTS and column in contacts:
                named = "billing_contact_name"
            is_text = named in _TEXTS and not (named == "name" and names.is_own_name(column, "name"))
            # A company may be called 1984, but not each of them by a number.
            fewest = 2 if named == "name" else 1
            # `Cliente` may have the numbers of the customers themselves.
            may_be_code = names.is_customer(column) and self._first.are_keys(column)
            if is_text and not may_be_code and column not in self._used and self._first.are_numbers(column, fewest):
                yield column, named or ""

    def add_fields(self) -> None:
        """Add all fields but the name."""
        for name, fit in self.fits.items():
            if name != "name" and not self._has(name) and (among := self._among(name, (*fit.columns, *fit.further))):
                self._decide(name, self._by_values(among) if name == "external_id" else among)

    def _by_values(self, fit: Fit) -> Fit:
        """Return which of the columns of ids is used: one that is filled in all records is preferred to one that has
        gaps, except to the field's own name.
        """
        first, used = self._first, fit.column
        if used is None or not fit.others or names.is_own_name(used, "external_id") or first.filled([used]) >= FEW:
            return fit
        keys = [
            column
            for column in fit.others
            if column in self._kept
            and column not in self._used
            and not names.is_bare_id(column)
            and first.are_keys(column)
        ]
        among = self._among("external_id", keys) if keys else None
        if among is None or among.column is None:
            return fit
        column = among.column
        others = tuple(other for other in fit.columns if other != column and other not in among.rivals)
        chosen = Fit(column, among.rivals, others)
        gaps = [other for other in chosen.others if first.filled([other]) < FEW]
        self.fits["external_id"] = chosen
        self.by_values = (
            f"is filled in each of the first {counted(first.count, 'record')}, and "
            + " and ".join(f'"{other}"' for other in gaps)
            + f" {'is' if len(gaps) == 1 else 'are'} not"
        )
        return chosen

    def check_ids(self) -> None:
        """Note the problem if many records would have neither an id nor an e-mail, and a column that is not used is
        filled with ids.
        """
        if "external_id" in self._unfilled or not self._by_hand.isdisjoint({"external_id"}):
            return
        rules = [rule for rule in map(self._given.rule_of, ("external_id", "email")) if rule is not None]
        if not rules or any(rule.expression is not None for rule in rules):
            return
        blank = self._first.blank(column for rule in rules for column in rule.columns)
        if blank <= _MOST_UNIDENTIFIED * self._first.count:
            return
        taken = {*self._used, *self._fields.values(), *(c for rule in self._built.values() for c in rule.columns)}
        # What is compared, or asked about, while reading.
        fit = self.fits.get("external_id")
        is_empty = fit is not None and self._first.filled([fit.column] if fit.column else []) == 0
        asked = {*fit.rivals, *(fit.others if is_empty else ())} if fit else {*()}
        found = [
            column
            for column in self._kept
            if column not in taken | asked and names.may_be_id(column) and self._first.are_keys(column)
        ]
        if found:
            option = field_rules.option("external_id", field_rules.quoted(found[0]))
            self.problem = (
                f"{blank:,} of the first {counted(self._first.count, 'record')} have neither an id nor an e-mail "
                f'in the columns known as such, but "{found[0]}" is filled in each and differs. If it is the id of the '
                f"customer: {option}. If not: {field_rules.ignore_option(found[0])}"
            )

    def add_tentative(self) -> None:
        """Add a column named only `Type`, which may mean something else, and the id in the first column, whatever its
        name is, or an id that only a program would name so."""
        free = [column for column in self._kept if column not in self._used]
        kinds = [column for column in free if fold(_VALUE.sub("", column)) in BARE_TYPES]
        if self._lacks("customer_type") and len(kinds) == 1:
            self.tentative["customer_type"] = kinds[0]
        first = self._kept[0] if self._kept else ""
        if self._lacks("external_id") and self._has("email"):
            found = first if first in free and names.is_id_of_record(first) else names.id_of_system(free)
            if found := found or self._link(free):
                self.tentative["external_id"] = found
        states = [column for column in free if names.is_state_or_status(column)]
        if len(states) == 1 and self._lacks("status"):
            self.tentative["status"] = states[0]
            if self._lacks("country") and names.is_state_of_world(states[0]):
                self.tentative["country"] = states[0]
        if "external_id" not in self.tentative and (code := self._customer_as_code(free)):
            self.tentative["external_id"] = code
        if self._lacks("external_id") and "external_id" not in self.tentative and self._first.count > 1:
            bare = [column for column in names.bare_ids(self._kept) if column in free]
            keys = [column for column in bare if self._first.are_keys(column) and not self._first.are_counted(column)]
            if len(keys) == 1:
                self.tentative["external_id"] = keys[0]
                self.by_values = f"which differs in each of the first {counted(self._first.count, 'record')}"
        self._fields.update(self.tentative)

    def _customer_as_code(self, free: Sequence[str]) -> str | None:
        """Return the column `Cliente` that may contain codes, since it is directly before one of names; null if there
        is none, or another column is the id."""
        found = [column for column in free if names.is_customer(column)]
        if len(found) != 1 or not self._lacks("external_id"):
            return None
        behind = self._kept[self._kept.index(found[0]) + 1 :][:1]
        return found[0] if behind and person_names.is_whole_name(behind[0]) else None

    def _link(self, columns: Sequence[str]) -> str | None:
        """Return the column with the links to the records themselves, null if there is none. Home pages are none."""
        links = names.links_to_records(columns)
        if self._first.count:
            links = [column for column in links if self._first.are_links(column)]
        return links[0] if links else None

    def add_address_list(self) -> None:
        """Add the address from a list of addresses, where no other column has a part of one."""
        found = address_lists.find(self._kept, self._layouts)
        lists = [column for column in found if column not in self._used]
        line = self._fields.get("address_line1")
        if line in lists:  # by its name it would be the first line
            del self._fields["address_line1"]
        lacking = [name for name in ADDRESS if self._lacks(name) or (name == "address_line1" and line in lists)]
        # A country alone is the customer's, whatever the list is.
        if lists and {*ADDRESS} - {"country"} <= {*lacking}:
            first = min(lists, key=lambda column: "billing" not in fold(column) and "invoice" not in fold(column))
            self._fields.update(dict.fromkeys(lacking, first))

    def add_contact_list(self) -> None:
        """Add the e-mail and telephone number from a list of contacts, and the contact's name, where no other column
        has them."""
        listed = address_lists.find_contacts(self._kept, self._layouts)
        free = [column for column in listed if column not in self._used]
        if len(free) == 1:
            lacking = [name for name in address_lists.OF_CONTACTS if self._lacks(name)]
            self._fields.update(dict.fromkeys(lacking, free[0]))

    def _lacks(self, name: str) -> bool:
        """Return whether no column matches a field, and no setting mentions it."""
        return not (self._has(name) or name in self.fits or name in self._unfilled)

    def add_house_number(self) -> None:
        """Add the house number to the street if it is in a separate column."""
        rule = self._given.rule_of("address_line1")
        if rule and "address_line1" not in self._by_hand:
            taken = self._used | {*self._fields.values()}
            lines = tuple(streets.line(self._kept, street, taken) for (street,) in rule.alternatives)
            if any(len(parts) > 1 for parts in lines):
                self._fields.pop("address_line1", None)
                self._given.add_alternatives("address_line1", lines)

    def add_area_code(self) -> None:
        """Add the area code to a phone number if it is in a separate column."""
        rule = self._given.rule_of("phone")
        is_certain = "phone" in self.fits and not self.fits["phone"].rivals
        if rule and is_certain and "phone" not in self._by_hand:
            taken = self._used | {*self._fields.values()}
            numbers = tuple(
                area_codes.number(self._kept, *alternative, taken) if len(alternative) == 1 else alternative
                for alternative in rule.alternatives
            )
            if any(len(parts) > 1 for parts in numbers):
                self._fields.pop("phone", None)
                self._given.add_alternatives("phone", numbers)

    def add_names(self) -> None:
        """Add the name, of a person from first and last name, and the name of the billing contact: a company beside a
        person is the customer.
        """
        people = person_names.find(self._kept)
        if flags := self._values.flags(column for column in people.columns if column not in self._used):
            self.unlike |= dict.fromkeys(flags, "name")
            self._kept = [column for column in self._kept if column not in self.unlike]
            people = person_names.find(self._kept)
        of_people = people.columns
        whole_person = people.full or people.contact or people.display
        self.half_name = people.first_last[0] if people.is_half and not whole_person else None
        if people.unclear:
            people = person_names.find([column for column in self._kept if column not in self._used])
        fitting = self.fits["name"].columns if "name" in self.fits else ()
        if people.is_half and people.company and (surname := self._surname(people.first_last[0], fitting)):
            people = replace(people, first_last=(*people.first_last, surname), is_half=False)
            of_people, self.half_name = people.columns, None
            fitting = tuple(column for column in fitting if column != surname)
        code = self.tentative.get("external_id")
        if code and names.is_customer(code) and not self._has("email"):  # else its values decide
            fitting = tuple(column for column in fitting if column != code)
        own = self._among("name", [column for column in fitting if column not in of_people])
        whole = (*people.whole_names, *people.unclear, *people.doubles)
        if own or whole:
            self.fits["name"] = Fit(
                own.column if own else None, own.rivals if own else (), (*(own.others if own else ()), *whole)
            )
        if not self._has("name"):
            if people.is_trading and person_names.is_plain_name(people) and not person_names.are_persons(self._kept):
                people = replace(people, company=None)  # beside `Nombre comercial`, `Nombre` is the customer's
            # Only the field's own name decides which of two full names is the customer's.
            is_own = own is not None and own.column is not None and names.is_own_name(own.column, "name")
            of_person = title = None
            if own and own.column and people.company and names.is_title(own.column) and not own.rivals:
                title, own = own.column, None  # `Intitulé` beside `Raison sociale` may be `M.` or `SARL`
            if own and own.column:
                if people.is_trading and not own.rivals:
                    people = replace(people, company=None, unclear=())
                if people.company and not people.person and not own.rivals and person_names.are_persons(self._kept):
                    people, own = replace(people, full=own.column), None
                elif people.company and fold(own.column) == "name" and person_names.is_of_person("name", people):
                    # `Name` beside `First Name` and `Company` is the person's.
                    of_person, own = own.column, None
            companies = [column for column in (people.company, *people.unclear) if column]
            if own and own.column == code and companies and not own.rivals and not own.others:
                title, own = code, None  # `Kunde` beside `Firma` may be a number
            if own and (own.column is None or (companies and not is_own)):
                self.conflicts["name"] = (*([own.column] if own.column else []), *own.others, *companies)
                return
            if people.unclear and not is_own:
                self.conflicts["name"] = people.unclear
                return
            rule = person_names.name_rule(people, own.column if own else None)
            if of_person:
                rule = (*rule[:-1], (of_person,), rule[-1])
            if title:
                rule = (*rule, (title,))
            if people.full and len(rule) == 1 and names.is_customer(rule[0][0]):
                rule = (*rule, (people.full,))  # beside `Nom`, `Client` may be a flag: yes or no
            if not rule and (legal := self._fields.get("legal_name")):
                rule = ((legal,),)  # there is no other name
            if not rule and (holder := names.holder(self._kept)) and holder not in self._used:
                rule = ((holder,),)
            self._given.add_alternatives("name", rule)
            self.contact_alone = people.contact if rule == ((people.contact,),) else None
            if people.first_last and (people.company,) in rule[1:]:
                self._built["name"] = replace(self._built["name"], before_company=rule.index((people.company,)))
        name = self._built.get("name") or FieldRule(((self._fields.get("name", ""),),))
        person_beside = people.person and not set(name.columns) <= set(people.person)
        if person_beside and "billing_contact_name" not in {*self._by_hand, *self.conflicts, *self._unfilled}:
            # A dedicated column, such as `Billing Attention`, is often empty.
            own_column = self._fields.pop("billing_contact_name", None)
            own_rule = ((own_column,),) if own_column else ()
            rest = (rule for rule in person_names.contact_rule(people) if rule not in own_rule)
            self._given.add_alternatives("billing_contact_name", (*own_rule, *rest))

    def _surname(self, first: str, fitting: Sequence[str]) -> str | None:
        """Return the column `Name` beside a first name and a company, if it has last names: it never contains the first
        name. Null if there is none."""
        found = [column for column in fitting if fold(column) == "name"]
        if len(found) != 1 or not self._first.are_surnames(found[0]):
            return None
        return found[0] if self._first.are_apart(found[0], [first]) else None

    def _has(self, name: str) -> bool:
        return name in self._fields or name in self._built

    def _among(self, name: str, fitting: Sequence[str]) -> Fit | None:
        """Return which of the columns that match a field is used; null if all are left out."""
        kept = [column for column in fitting if column in self._kept]
        # A column that the settings map to another field is used only if no other column matches.
        free = [column for column in kept if column not in self._used] or kept
        return names.match(self._kept, self._repeats, without={*self._kept} - {*free}).get(name)

    def _decide(self, name: str, fit: Fit) -> None:
        if fit.column is None:
            self.conflicts[name] = fit.others
        elif further := tuple(c for c in fit.further if c not in self._used) if fit.fills else ():
            # `Phone` may be blank where `Mobile` is not.
            self._given.add_alternatives(name, ((fit.column,), *((column,) for column in further)))
        else:
            self._fields[name] = fit.column


class _Given:
    """The rules of the settings, applied to the columns of the source. `problems` collects their errors."""

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
                    near = suggestions.advice(name, COLUMNS, "The fields are")
                    self.problems.append(turned or f"{option}: unknown field {name!r}. {near}")
        for name in reading.fields:
            if name in reading.set:
                self.problems.append(f"{name}: --map and --set both give a rule. Remove one of the two.")

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
        self.add_alternatives(name, alternatives)

    def add_alternatives(self, name: str, alternatives: tuple[tuple[str, ...], ...]) -> None:
        """Add a rule of alternatives, each the columns to join; a rule of a single column is that column."""
        rule = FieldRule(alternatives)
        if rule.column is not None:
            self.fields[name] = rule.column
        elif alternatives:
            self.built[name] = rule

    @property
    def used(self) -> set[str]:
        """The columns that feed a field."""
        return {*self.fields.values(), *(column for rule in self.built.values() for column in rule.columns)}

    def rule_of(self, name: str) -> FieldRule | None:
        """Return the rule of a field, null if it has none."""
        return field_rules.of_column(self.fields[name]) if name in self.fields else self.built.get(name)

    def keep_addresses_whole(self) -> None:
        """Mark the rules by which an address may be that of several groups of columns, as in `Billing City | Shipping
        City`: no record mixes two of them.
        """
        repeats = {made: own for layout in self._layouts for made, own in layout.repeated.items()}
        address_of = names.addresses(self._columns, repeats)
        found: dict[str, FieldRule] = {}
        for name in ADDRESS:
            rule = self.rule_of(name)
            of_rule = tuple(address_of.get(alternative[0]) for alternative in rule.alternatives) if rule else ()
            known = tuple(address for address in of_rule if address is not None)
            if rule and len(known) == len(of_rule) == len({*known}) > 0 and rule.expression is None:
                found[name] = replace(rule, addresses=known)
        several = {address for rule in found.values() if rule.of_several_addresses for address in rule.addresses}
        if several:
            kinds = names.kinds_of_addresses(self._columns)
            for name, rule in found.items():
                if several.issuperset(rule.addresses):
                    self.fields.pop(name, None)
                    of_rule = tuple(map(kinds.get, rule.addresses))
                    self.built[name] = replace(rule, kinds=of_rule if any(of_rule) else ())

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
                    f'--ignore leaves "{column}" out, but the rule of {name} uses it. Remove one of the two.'
                )

    def column(self, option: str, name: str, rule: str = "") -> str | None:
        """Return the source's spelling of a column named in the settings, ignoring case and punctuation if necessary;
        null, with a problem, if there is none or more than one.
        """
        if name in self._columns:
            return name
        alike = [column for column in self._columns if fold(column) == fold(name)]
        if len(alike) == 1:
            return alike[0]
        if alike:
            spelled = " and ".join(map(repr, alike))
            self.problems.append(f"{option}: {name!r} could be {spelled}. Write the name as in the header.")
            return None
        near = suggestions.advice(name, self._columns, "Its columns are", repr)
        problem = f"{option}: {self._layouts[0].name} has no column {name!r}. {near}"
        if rule in self._columns:
            problem = f"{option}: the name of a column that contains | or + is written in double quotes: "
            problem += field_rules.option(option.removeprefix("--map "), field_rules.quoted(rule))
        elif rule in COLUMNS and (turned := self._turned(option.removeprefix("--map "), rule)):
            problem = turned
        if problem not in self.problems:
            self.problems.append(problem)
        return None

    def _turned(self, left: str, right: str) -> str:
        """Return the option to type instead of COLUMN=FIELD, the form of earlier versions; empty for another form."""
        column = next((column for column in self._columns if fold(column) == fold(left)), None)
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
