"""Notes on a mapping by the names of columns: what was decided, and the option that decides otherwise."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from tranship.pipelines import field_rules
from tranship.pipelines.matching import Match
from tranship.schemas import headers
from tranship.schemas.column_names import EVERYWHERE, fold, unwrapped


def of_fits(matched: Match, mapped_by_hand: Collection[str], extra: str, pinned: Collection[str]) -> Iterator[str]:
    """Yield a note on each column that matches a field by name and was not mapped to it, unless a profile decides
    it."""
    for name, fit in matched.fits.items():
        left = matched.undecided(fit.columns)
        if not left or name in pinned or not (name in matched.fields or name in matched.built):
            continue
        rule = f'"{matched.fields[name]}"' if name in matched.fields else str(matched.built[name])
        if name == "external_id" and matched.by_values and name not in mapped_by_hand:
            choice = field_rules.option(name, field_rules.quoted(left[0]))
            yield f"external_id is {rule}: it {matched.by_values}. To choose: {choice}"
            continue
        columns = " and ".join(f'"{other}"' for other in left)
        fate = ("stays" if len(left) == 1 else "stay") + " in metadata"
        if extra == "drop":
            fate = "is dropped" if len(left) == 1 else "are dropped"
        if name in mapped_by_hand:
            replaces = fit.column in left
            yield (
                f"--map sets {name} to {rule} instead of {columns}, which now {fate}"
                if replaces
                else f"{name} is {rule}; {columns} would also match, and {fate}"
            )
        else:
            choice = field_rules.option(name, field_rules.quoted(left[0]))
            yield f"{name} is {rule}; {columns} would also match, and {fate}. To choose: {choice}"


def of_first(matched: Match, columns: Sequence[str]) -> Iterator[str]:
    """Yield a note if the id of the customer is only known by its place in the first column, or as that of a program or
    an API."""
    if column := matched.tentative.get("external_id"):
        other = field_rules.ignore_option(column)
        what = "the first column" if column == columns[0] else "which nothing else confirms"
        if headers.links_to_records([column]):
            what = "where its values are links to records"
        elif matched.by_values:
            what = matched.by_values
        yield f'external_id is "{column}", {what}. If it is not the id of the customer: {other}'


def of_states(matched: Match) -> Iterator[str]:
    """Yield a note if a column is the country or the status, whichever its values are."""
    if column := matched.tentative.get("status"):
        if matched.tentative.get("country") == column:
            yield f'"{column}" is the country or the status, by its values; other values stay in metadata'
        else:
            yield f'status is "{column}" where its values are words for one; other values stay in metadata'


def of_lists(matched: Match, lists: Collection[str]) -> Iterator[str]:
    """Yield a note on lists of persons or numbers, of which no part is used."""
    for column in matched.undecided([column for column in lists if _PEOPLE.fullmatch(fold(unwrapped(column)))]):
        yield f'"{column}" is a list, of which nothing is used; it stays in metadata'


_PEOPLE: Final = re.compile(
    "(?:customer|client|company|account|billing)?(?:contacts?|contact(?:person|detail)s|persons|people|phones|"
    "phonenumbers|telephones|emails|emailaddresses|ansprechpartner|kontakte|contactos|contatti|contatos|telefone)"
)


def of_others(matched: Match) -> Iterator[str]:
    """Yield a note on the columns of a name or a place that have numbers only."""
    for column, name in matched.of_others.items():
        if name in matched.fields or name in matched.built:
            continue
        choice = field_rules.option(name, field_rules.quoted(column))
        yield f'"{column}" has only numbers, like keys of something else: it is not used as {name}. To use it: {choice}'


def of_payment_days(matched: Match, columns: Sequence[str]) -> Iterator[str]:
    """Yield a note if a column may contain the term of payment, or the days of the month on which a customer pays."""
    found = [column for column in matched.undecided(columns) if _PAYMENT_DAYS.fullmatch(fold(column))]
    if found and "net_terms" not in matched.fits:
        option = field_rules.option("net_terms", field_rules.quoted(found[0]))
        yield f'"{found[0]}" may contain days of the month. If it is the term of payment in days: {option}'


_PAYMENT_DAYS: Final = re.compile("dias?(?:de)?(?:pago|pagamento|pgto|cobro)")


def of_half_name(matched: Match, columns: Sequence[str]) -> Iterator[str]:
    """Yield a note if the name of a person is only a first or a last name, and the rest may be in another column."""
    half = matched.half_name
    fed = next((name for name in ("name", "billing_contact_name") if _ends_with(matched, name, half)), None)
    may_be = [column for column in matched.undecided(columns) if _may_be_of_name(fold(column))]
    if half is not None and fed is not None and may_be:
        nearest = min(may_be, key=lambda column: abs(columns.index(column) - columns.index(half)))
        rule = field_rules.option(fed, f"{matched.rules[fed]} + {field_rules.quoted(nearest)}")
        yield f'of a person\'s name, only "{half}" is recognised. If "{nearest}" is the rest of it: {rule}'


def of_contact_alone(matched: Match, columns: Sequence[str]) -> Iterator[str]:
    """Yield a note if customers have the name of their contact, and another column may have their own."""
    contact = matched.contact_alone
    may_be = [c for c in matched.undecided(columns) if _NAMES.search(fold(c)) and not _OF_OTHERS.search(fold(c))]
    if contact is not None and may_be:
        option = field_rules.option("name", f"{field_rules.quoted(may_be[0])} | {field_rules.quoted(contact)}")
        yield f'name is "{contact}", a contact. If "{may_be[0]}" is the name of the customer: {option}'


_NAMES: Final = re.compile("na+m(?!es)|nom(?!i)|nimi|navn|nazw|nazev|denomina|titular|intestatar")


def _ends_with(matched: Match, name: str, column: str | None) -> bool:
    """Return whether the last alternative of a field is this column alone."""
    if name in matched.built:
        return matched.built[name].alternatives[-1:] == ((column,),)
    return column is not None and matched.fields.get(name) == column


def _may_be_of_name(folded: str) -> bool:
    return _NAMELIKE.search(folded) is not None and not _OF_OTHERS.search(folded)


_NAMELIKE: Final = re.compile("na+m|nom(?!bre)|nimi|navn|last|first|apell|cogn|nazw|prefix")
_OF_OTHERS: Final = re.compile(
    "maiden|birth|phonetic|nick|user|login|file|domain|host|plan|product|list|group|event|campaign|store|shop|bank|currency|monnaie|team|page|form"
)
"""Names of something else than persons."""


def of_addresses(matched: Match) -> Iterator[str]:
    """Yield a note if a record may have its address from several groups of columns."""
    rules = [rule for rule in matched.built.values() if rule.of_several_addresses]
    if rules:
        longest = max(rules, key=lambda rule: len({*rule.addresses} - {EVERYWHERE}))
        first, *further = (
            alternative[0]
            for alternative, address in zip(longest.alternatives, longest.addresses, strict=True)
            if address != EVERYWHERE
        )
        others = " or else ".join(f'"{column}"' for column in further)
        yield f'where the address of "{first}" is blank, that of {others} is used as a whole'


def of_unlike(matched: Match, extra: str) -> Iterator[str]:
    """Yield a note on each column that has the name of a field, and values that cannot be of it."""
    fate = "is dropped" if extra == "drop" else "stays in metadata"
    for column, name in matched.unlike.items():
        option = field_rules.option(name, field_rules.quoted(column))
        yield f'"{column}" has the name of {name}, but not its values, and {fate}. If it is {name}: {option}'


def of_secrets(columns: Sequence[str]) -> Iterator[str]:
    """Yield a note on the columns of secrets."""
    if columns:
        quoted = ", ".join(f'"{column}"' for column in columns)
        what = "contains a secret and is" if len(columns) == 1 else "contain secrets and are"
        use = field_rules.option("FIELD", field_rules.quoted(columns[0]))
        yield f"{quoted} {what} left out. To use it, map it: {use}"


def of_own(columns: Sequence[str]) -> Iterator[str]:
    """Yield a note on the columns in which Tranship keeps its own data."""
    if columns:
        quoted = ", ".join(f'"{column}"' for column in columns)
        use = field_rules.option("FIELD", field_rules.quoted(columns[0]))
        yield f"{quoted} are columns in which Tranship keeps its own data, and are left out. To use one, map it: {use}"
