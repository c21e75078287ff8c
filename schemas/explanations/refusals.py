"""Why a destination refuses a valid record: the reasons, what they mean, and what to do.

A reason is one word, often followed by what it concerns: `taken: email`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tranship.schemas.explanations.explanation import Explanation


class _Refusal(NamedTuple):
    shown: str
    """The reason as it is written, in several forms if there are."""
    sentence: str
    advice: str
    example: str = ""


_REFUSALS: Final[dict[str, _Refusal]] = {
    "already_there": _Refusal(
        "`already_there`",
        "the customer exists and the mode is `insert`",
        "Use --mode upsert, which updates existing customers.",
        "--mode upsert",
    ),
    "not_there": _Refusal(
        "`not_there`",
        "the customer does not exist and the mode is `update`",
        "Use --mode upsert, which creates missing customers.",
        "--mode upsert",
    ),
    "does_not_fit": _Refusal(
        "`does_not_fit: COLUMN TYPE`, `does_not_fit: COLUMN ENCODING`",
        "the value does not fit the column's type, length or domain, or a column of numbers would change an id or "
        "text: 007 is not 7, 01067 is not 1067; or the value has a character that the database's encoding cannot "
        "represent: `Ł` in LATIN1 (Postgres)",
        "Widen the column, or store the field in another one. Values are never cut or changed to fit.",
        "--column zip_code=postal_code",
    ),
    "must_have_a_value": _Refusal(
        "`must_have_a_value: COLUMN`",
        "the column is NOT NULL and the record has no value for it; a default is used only when a row is created",
        "Fill in the value at the source, or set one for all records that have none.",
        "--default currency=EUR",
    ),
    "taken": _Refusal(
        "`taken: COLUMN, …`",
        "the value already exists in a unique index, primary key or exclusion constraint, in the table or in an "
        "earlier record of the run; also an id that the column's collation or type treats as equal to another: "
        "`abc-1` and `ABC-1`",
        "Decide which of the two customers keeps the value, and correct the other. Where several customers may share "
        "it, remove the unique index.",
    ),
    "violates": _Refusal(
        "`violates: CONSTRAINT`",
        "a check or domain forbids the row, or it cannot be computed for it; DuckDB's checks have no names, the "
        "expression is shown",
        "Correct the record, or leave such records out with --where.",
    ),
    "refers_to_nothing": _Refusal(
        "`refers_to_nothing: COLUMN, …`",
        "a foreign key finds no row with the value",
        "Load the other table first, or correct the value.",
    ),
    "no_partition": _Refusal(
        "`no_partition: COLUMN`",
        "the table has no partition for the value (Postgres)",
        "Create the partition, or a default partition.",
    ),
    "referred_to": _Refusal(
        "`referred_to: TABLE`",
        "another table's foreign key refers to the value that would change and does not follow it (`ON UPDATE`); in "
        "DuckDB also: to the row, and an indexed or list column of it would change",
        "Give the foreign key ON UPDATE CASCADE, or change the value by hand in both tables.",
    ),
    "identifies_nobody": _Refusal(
        "`identifies_nobody: COLUMN`",
        "the table has only this column to identify customers, and the record has no value for it",
        "Fill in the value, or give the table a column for the other key.",
        "--column email=contact_email",
    ),
    "older": _Refusal(
        "`older`",
        "its `updated_at` is earlier than that of the destination, and `--older refuse` was given",
        "Nothing: older data never wins. --older skip (the default) counts such records as stale instead.",
        "--older skip",
    ),
    "matches_several": _Refusal(
        "`matches_several`",
        "several rows of the table have its id, or several rows without an id have its e-mail",
        "Merge these rows at the destination, or give each an id of its own.",
    ),
    "immutable": _Refusal(
        "`immutable: FIELD`",
        "the provider does not allow changes to this field of an existing customer",
        "Leave the field as it is at the provider, or change it there by hand.",
    ),
    "unreadable": _Refusal(
        '`unreadable: FIELD`, `unreadable: FIELD "VALUE"`',
        "the customer has a value that Tranship cannot read and would erase, or the value is invalid, and the "
        "provider would use a default of its own in its place",
        "Give the word a meaning, or correct the value where it is.",
        "--value status:Draft=inactive",
    ),
    "changed_since": _Refusal(
        "`changed_since: FIELD, …`",
        "an undo leaves the customer, or only these fields, alone, because they have changed since the run or their "
        "columns are gone",
        "Look at left.csv in the directory of the undo, and correct these customers by hand.",
    ),
    "has_dependents": _Refusal(
        "`has_dependents`",
        "an undo or mirror would remove the customer, and something depends on it: rows of other tables, licences, "
        "subscriptions",
        "Remove what depends on it first, or keep the customer.",
    ),
    "dependents_unknown": _Refusal(
        "`dependents_unknown`",
        "an undo would remove the customer, and what depends on it cannot be listed (BlackWalnut)",
        "Look at the customer's licences, and remove it by hand.",
    ),
    "locked": _Refusal(
        "`locked: FIELD`",
        "an archived customer has it and cannot release it (Metronome)",
        "Use another value; at Metronome, an archived customer keeps its aliases.",
    ),
    "refused": _Refusal(
        "`refused`",
        "the provider has refused the request; its own error message is in `again/failed.csv`",
        "Correct what the message names, then send the records again.",
        "tranship retry last",
    ),
    "unresolved": _Refusal(
        "`unresolved`",
        "the request was sent, and its outcome could not be determined",
        "Send the records again: each is looked up first, so that nothing is written twice.",
        "tranship retry last",
    ),
}

_STALE: Final[dict[str, _Refusal]] = {
    "changed": _Refusal(
        "`changed: FIELD, …`",
        "these fields of the customer have changed at the provider since the plan was made",
        "Make a new plan to include the change.",
        "tranship plan customers.csv metronome:// --out plan2",
    ),
    "gone": _Refusal(
        "`gone`",
        "the customer is no longer at the provider",
        "Make a new plan, which creates it again, or leave it away.",
        "tranship plan customers.csv metronome:// --out plan2",
    ),
    "created": _Refusal(
        "`created`",
        "somebody has created the customer at the provider since the plan was made",
        "Make a new plan, which compares the two.",
        "tranship plan customers.csv metronome:// --out plan2",
    ),
}

REFUSALS: Final = tuple(_REFUSALS)
"""The reasons why a record is refused, without what they concern."""
STALE: Final = tuple(_STALE)
"""The reasons why a customer at a provider is stale, in addition to `older`."""

_MEANING: Final = (
    "The record is valid, and the destination does not accept it. The others are written, and the run ends with exit "
    "code 4. plan.parquet lists the reasons record by record."
)


_MEANING_OF_STALE: Final = (
    "The customer at the provider is not as it was when the plan was made. It was not written, so that nobody's "
    "change is lost. outcomes.parquet lists the reasons record by record."
)


def shown(reason: str) -> str:
    """Return the forms in which a reason is written, in back quotes."""
    return (_REFUSALS | _STALE)[reason].shown


def of_refusal(reason: str) -> Explanation:
    """Return the text about a reason, which may be followed by what it concerns; raises KeyError."""
    name = reason.partition(":")[0]
    found = (_REFUSALS | _STALE)[name]
    meaning = _MEANING if name in _REFUSALS else _MEANING_OF_STALE
    return Explanation(found.sentence, meaning, found.advice, found.example)
