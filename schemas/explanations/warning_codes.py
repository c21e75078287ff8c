"""What warnings mean, and what to do. Their sentences are in `schemas/faults.py`."""

from __future__ import annotations

from typing import Final

from tranship.schemas.explanations.explanation import Explanation, Texts, filled
from tranship.schemas.faults import WARNINGS

_SEVERAL = (
    "The value contains several addresses. One customer has one e-mail address, which identifies it.",
    "Nothing, if the first one is the customer's. Otherwise map another column.",
    '--map {field}="Another column"',
)

_WARNINGS: Final[dict[str, Texts]] = {
    "phone.unreadable": (
        (
            "The value could not be read as a phone number, with the country of the record where it has one. It was "
            "kept unchanged, because a number that a person can dial is better than none."
        ),
        "Nothing, or correct it at the source: a number with + and the code of the country is always read.",
        "+1 415 555 0301",
    ),
    "record.deleted_flag": (
        "A column of the source says that the record is deleted, archived or disabled. It was loaded like the others.",
        "Leave such records out with a condition on that column.",
        "--where 'IsDeleted is not true'",
    ),
    "state.status": (
        (
            "The column was taken for the state of an address, and contains words such as active or closed. They "
            "were left out."
        ),
        "If it is the status of the customer, map it.",
        '--map status="State"',
    ),
    "phone.shortened": (
        "The value contains an extension or a second number. E.164 has no place for them.",
        "Nothing; the original is in the source. A column of its own for the extension is kept in metadata.",
        "",
    ),
    "email.several": _SEVERAL,
    "billing_contact_email.several": _SEVERAL,
    "email.blocked": (
        (
            "The address identifies nobody: noreply@…, test@example.com, or one that --blocked names. It was kept, "
            "but two records with it are not taken for one customer."
        ),
        "Nothing. A record with neither an id nor another address is rejected.",
        "",
    ),
    "external_id.blocked": (
        (
            "The id is a placeholder: 0, test, TBD, a row of zeros. All records with it would be one customer, so it"
            " was removed; the e-mail identifies the record."
        ),
        "Correct the id at the source.",
        "",
    ),
    "external_id.lookalike": (
        (
            "Another customer's id differs only in case, width or similar details: abc-1 and ABC-1. They are "
            "different ids, so both customers were loaded."
        ),
        "If they are one customer, use one spelling at the source.",
        "",
    ),
    "external_id.conflict": (
        (
            "Two records with this id differ in both e-mail and name, and no updated_at shows which is newer. They "
            "look like different people, such as contacts listed with the id of their account. More of them than "
            "--max-conflicts stop the run."
        ),
        (
            "Map the column that identifies each record. If they are the same customer, map updated_at, or allow more "
            "conflicts."
        ),
        '--map external_id="Contact ID"',
    ),
    "email.shared": (
        (
            "Customers with different external ids have the same e-mail. The id decides, so they are different "
            "customers. A record without id that has this e-mail is rejected, because it could be any of them."
        ),
        "Nothing, if they are different. If they are duplicates, merge them at the source.",
        "",
    ),
}


def of_warning(code: str) -> Explanation:
    """Return the text about a warning; raises KeyError."""
    return filled(code, WARNINGS[code], _WARNINGS[code])
