"""Hand-worked cases for the rules of identity: records, and the customers that they become, both in the oracle and in
the product. The expectations were worked out from the rules by hand, never copied from a run.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class IdentityCase(NamedTuple):
    name: str
    rows: list[dict[str, str | None]]  # row i is on line i + 2; a missing name is "Acme"
    customers: dict[str, dict[str, Any]]  # key -> the fields to look at
    merges: tuple[tuple[int, int, str], ...] = ()  # (line of the loser, line of the survivor, rule), sorted
    rejects: tuple[tuple[int, list[str]], ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()

    def wire_rows(self) -> list[dict[str, str | None]]:
        columns = list(dict.fromkeys(column for row in self.rows for column in ("name", *row)))
        return [{column: {"name": "Acme", **row}.get(column) for column in columns} for row in self.rows]

    def lines(self) -> list[int]:
        return [number + 2 for number in range(len(self.rows))]


JAN, FEB, MAR = "2024-01-01", "2024-02-01", "2024-03-01"

IDENTITY_CASES: list[IdentityCase] = [
    IdentityCase(
        "nobody",
        [],
        {},
    ),
    IdentityCase(
        "two external ids are two customers",
        [{"external_id": "1"}, {"external_id": "2"}],
        {"1": {"external_id": "1"}, "2": {"external_id": "2"}},
    ),
    IdentityCase(
        "external ids differ by case",
        [{"external_id": "a"}, {"external_id": "A"}],
        {"a": {}, "A": {}},
        warnings=((2, "external_id.lookalike"), (3, "external_id.lookalike")),
    ),
    IdentityCase(
        "ids that look alike are warned of on each survivor",
        [
            {"external_id": "ABC-1", "updated_at": JAN},
            {"external_id": "abc-1", "updated_at": FEB},
            {"external_id": "abc-1", "updated_at": MAR},
            {"external_id": "\uff21\uff22\uff23-\uff11"},
            {"external_id": "ABC-2"},
            {"external_id": "Stra\u00dfe 1"},
            {"external_id": "STRASSE\u00a01"},
        ],
        {
            "ABC-1": {},
            "abc-1": {},
            "\uff21\uff22\uff23-\uff11": {},
            "ABC-2": {},
            "Stra\u00dfe 1": {},
            "STRASSE\u00a01": {},
        },
        merges=((3, 4, "external_id"),),
        warnings=(
            (2, "external_id.lookalike"),
            *((4, "external_id.lookalike"), (5, "external_id.lookalike"), (7, "external_id.lookalike")),
            (8, "external_id.lookalike"),
        ),
    ),
    IdentityCase(
        "ids that differ in what nobody sees are the same",
        [{"external_id": "A1", "name": "A"}, {"external_id": "\u200bA\u00ad1\ufeff", "name": "B"}],
        {"A1": {"name": "B"}},
        merges=((2, 3, "external_id"),),
    ),
    IdentityCase(
        "the latest updated_at survives",
        [
            {"external_id": "1", "name": "New", "updated_at": FEB},
            {"external_id": "1", "name": "Old", "updated_at": JAN},
        ],
        {"1": {"name": "New"}},
        merges=((3, 2, "external_id"),),
    ),
    IdentityCase(
        "updated_at is compared as an instant",
        [
            {"external_id": "1", "name": "New", "updated_at": "2024-01-01T00:00-05:00"},
            {"external_id": "1", "name": "Old", "updated_at": "2024-01-01T04:00Z"},
        ],
        {"1": {"name": "New"}},
        merges=((3, 2, "external_id"),),
    ),
    IdentityCase(
        "a null updated_at is the oldest",
        [
            {"external_id": "1", "name": "Dated", "updated_at": "1900-01-01"},
            {"external_id": "1", "name": "Undated"},
        ],
        {"1": {"name": "Dated"}},
        merges=((3, 2, "external_id"),),
    ),
    IdentityCase(
        "a tie goes to the record read last",
        [
            {"external_id": "1", "name": "A", "updated_at": JAN},
            {"external_id": "1", "name": "B", "updated_at": "2024-01-01T01:00+01:00"},
        ],
        {"1": {"name": "B"}},
        merges=((2, 3, "external_id"),),
    ),
    IdentityCase(
        "without any updated_at the record read last survives",
        [
            {"external_id": "1", "name": "A"},
            {"external_id": "1", "name": "B"},
            {"external_id": "1", "name": "C"},
        ],
        {"1": {"name": "C"}},
        merges=((2, 4, "external_id"), (3, 4, "external_id")),
    ),
    IdentityCase(
        "the survivor's nulls are not filled",
        [
            {"external_id": "1", "city": "Rome", "updated_at": JAN},
            {"external_id": "1", "city": None, "updated_at": FEB},
        ],
        {"1": {"city": None}},
        merges=((2, 3, "external_id"),),
    ),
    IdentityCase(
        "a record without external id joins the one customer with its e-mail",
        [
            {"external_id": "1", "email": "a@b.co", "name": "New", "updated_at": FEB},
            {"external_id": None, "email": "A@B.co ", "name": "Old", "updated_at": JAN},
        ],
        {"1": {"name": "New", "email": "a@b.co"}},
        merges=((3, 2, "email"),),
    ),
    IdentityCase(
        "a survivor without external id takes the customer's",
        [
            {"external_id": "1", "email": "a@b.co", "name": "Old", "city": "Rome", "updated_at": JAN},
            {"external_id": None, "email": "a@b.co", "name": "New", "city": None, "updated_at": FEB},
        ],
        {"1": {"external_id": "1", "name": "New", "city": None}},
        merges=((2, 3, "email"),),
    ),
    IdentityCase(
        "rules of the merges when the survivor has no external id",
        [
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "1", "email": "a@b.co", "updated_at": FEB},
            {"external_id": None, "email": "a@b.co", "updated_at": MAR},
            {"external_id": None, "email": "a@b.co", "updated_at": JAN},
        ],
        {"1": {"external_id": "1"}},
        merges=((2, 4, "email"), (3, 4, "email"), (5, 4, "email")),
    ),
    IdentityCase(
        "rules of the merges when the survivor has an external id",
        [
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "1", "email": "a@b.co", "updated_at": MAR},
            {"external_id": None, "email": "a@b.co", "updated_at": FEB},
        ],
        {"1": {}},
        merges=((2, 3, "external_id"), (4, 3, "email")),
    ),
    IdentityCase(
        "records that share only an e-mail are one customer",
        [
            {"external_id": None, "email": "a@b.co", "name": "A", "updated_at": FEB},
            {"external_id": None, "email": "a@b.co", "name": "B", "updated_at": JAN},
            {"external_id": None, "email": "c@b.co", "name": "C", "updated_at": None},
        ],
        {"email:a@b.co": {"external_id": None, "name": "A"}, "email:c@b.co": {"name": "C"}},
        merges=((3, 2, "email"),),
    ),
    IdentityCase(
        "an IDN domain matches its ASCII form",
        [
            {"external_id": "1", "email": "a@xn--mnchen-3ya.de"},
            {"external_id": None, "email": "a@MÜNCHEN.de"},
        ],
        {"1": {"external_id": "1", "email": "a@xn--mnchen-3ya.de"}},
        merges=((2, 3, "email"),),
    ),
    IdentityCase(
        "the e-mail of a customer is that of its newest record",
        [
            {"external_id": "1", "email": "old@b.co", "updated_at": JAN},
            {"external_id": "1", "email": "new@b.co", "updated_at": FEB},
            {"external_id": None, "email": "old@b.co", "updated_at": MAR},
        ],
        {"1": {"email": "new@b.co"}, "email:old@b.co": {"external_id": None}},
        merges=((2, 3, "external_id"),),
    ),
    IdentityCase(
        "a newest record without e-mail leaves the customer without one",
        [
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "1", "email": None, "updated_at": FEB},
            {"external_id": None, "email": "a@b.co", "updated_at": JAN},
        ],
        {"1": {"email": None}, "email:a@b.co": {}},
        merges=((2, 3, "external_id"),),
    ),
    IdentityCase(
        "an e-mail of two customers is ambiguous, and shared",
        [
            {"external_id": "1", "email": "a@b.co"},
            {"external_id": "2", "email": "a@b.co"},
            {"external_id": None, "email": "a@b.co"},
            {"external_id": None, "email": "a@b.co"},
        ],
        {"1": {"email": "a@b.co"}, "2": {"email": "a@b.co"}},
        rejects=((4, ["identity.ambiguous_email"]), (5, ["identity.ambiguous_email"])),
        warnings=((2, "email.shared"), (3, "email.shared")),
    ),
    IdentityCase(
        "ambiguous whatever the order",
        [
            {"external_id": None, "email": "a@b.co", "updated_at": MAR},
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "2", "email": "a@b.co", "updated_at": FEB},
        ],
        {"1": {}, "2": {}},
        rejects=((2, ["identity.ambiguous_email"]),),
        warnings=((3, "email.shared"), (4, "email.shared")),
    ),
    IdentityCase(
        "a moved customer makes no ambiguity",
        [
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "2", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "2", "email": "z@b.co", "updated_at": FEB},
            {"external_id": None, "email": "a@b.co", "updated_at": MAR},
        ],
        {"1": {"external_id": "1", "email": "a@b.co"}, "2": {"email": "z@b.co"}},
        merges=((2, 5, "email"), (3, 4, "external_id")),
    ),
    IdentityCase(
        "a shared e-mail is warned of on each survivor",
        [
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "1", "email": "a@b.co", "updated_at": FEB},
            {"external_id": "2", "email": "A@b.co", "updated_at": JAN},
            {"external_id": "3", "email": "c@b.co", "updated_at": JAN},
        ],
        {"1": {}, "2": {}, "3": {}},
        merges=((2, 3, "external_id"),),
        warnings=((3, "email.shared"), (4, "email.shared")),
    ),
    IdentityCase(
        "a blocked external id matches nothing",
        [
            {"external_id": "N/A", "email": "a@b.co"},
            {"external_id": "n/a", "email": "c@b.co"},
        ],
        {"email:a@b.co": {"external_id": None}, "email:c@b.co": {"external_id": None}},
        warnings=((2, "external_id.blocked"), (3, "external_id.blocked")),
    ),
    IdentityCase(
        "a blocked external id leaves the e-mail to decide",
        [
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "test", "email": "a@b.co", "updated_at": FEB},
        ],
        {"1": {"external_id": "1"}},
        merges=((2, 3, "email"),),
        warnings=((3, "external_id.blocked"),),
    ),
    IdentityCase(
        "a blocked e-mail is kept, is not shared and matches nothing",
        [
            {"external_id": "1", "email": "noreply@b.co"},
            {"external_id": "2", "email": "noreply@b.co"},
            {"external_id": None, "email": "noreply@b.co"},
        ],
        {"1": {"email": "noreply@b.co"}, "2": {"email": "noreply@b.co"}},
        rejects=((4, ["identity.missing"]),),
        warnings=((2, "email.blocked"), (3, "email.blocked")),
    ),
    IdentityCase(
        "a blocked e-mail on the newest record leaves the customer without one to match",
        [
            {"external_id": "1", "email": "a@b.co", "updated_at": JAN},
            {"external_id": "1", "email": "noreply@b.co", "updated_at": FEB},
            {"external_id": None, "email": "a@b.co", "updated_at": MAR},
        ],
        {"1": {"email": "noreply@b.co"}, "email:a@b.co": {}},
        merges=((2, 3, "external_id"),),
        warnings=((3, "email.blocked"),),
    ),
    IdentityCase(
        "a rejected record takes no part in identity",
        [
            {"external_id": "1", "email": "a@b.co", "name": "Good", "updated_at": JAN},
            {"external_id": "1", "email": "a@b.co", "name": None, "updated_at": FEB},
            {"external_id": "2", "email": "a@b.co", "name": None, "updated_at": FEB},
            {"external_id": None, "email": "a@b.co", "name": "Late", "updated_at": MAR},
        ],
        {"1": {"external_id": "1", "name": "Late"}},
        merges=((2, 5, "email"),),
        rejects=((3, ["name.missing"]), (4, ["name.missing"])),
    ),
    IdentityCase(
        "warnings of rejected records are not given, those of merged records are",
        [
            {"external_id": "1", "phone": "call me", "updated_at": JAN},
            {"external_id": "1", "phone": None, "updated_at": FEB},
            {"external_id": "2", "phone": "call me", "name": None},
        ],
        {"1": {"phone": None}},
        merges=((2, 3, "external_id"),),
        rejects=((4, ["name.missing"]),),
        warnings=((2, "phone.unreadable"),),
    ),
    IdentityCase(
        "an ambiguous record gives no warning",
        [
            {"external_id": "1", "email": "a@b.co"},
            {"external_id": "2", "email": "a@b.co"},
            {"external_id": "n/a", "email": "a@b.co"},
        ],
        {"1": {}, "2": {}},
        rejects=((4, ["identity.ambiguous_email"]),),
        warnings=((2, "email.shared"), (3, "email.shared")),
    ),
    IdentityCase(
        "several people with the id of their account are in conflict, and become one customer if that is allowed",
        [
            {"external_id": "1", "email": "ann@b.co", "name": "Ann"},
            {"external_id": "1", "email": "bob@b.co", "name": "Bob"},
            {"external_id": "1", "email": "cyd@b.co", "name": "Cyd"},
            {"external_id": "2", "email": "dan@b.co", "name": "Dan"},
        ],
        {"1": {"name": "Cyd", "email": "cyd@b.co"}, "2": {"name": "Dan"}},
        merges=((2, 4, "external_id"), (3, 4, "external_id")),
        warnings=((2, "external_id.conflict"), (3, "external_id.conflict"), (4, "external_id.conflict")),
    ),
    IdentityCase(
        "a customer that has changed name and e-mail at a known time is no conflict",
        [
            {"external_id": "1", "email": "old@b.co", "name": "Old", "updated_at": JAN},
            {"external_id": "1", "email": "new@b.co", "name": "New", "updated_at": FEB},
        ],
        {"1": {"name": "New", "email": "new@b.co"}},
        merges=((2, 3, "external_id"),),
    ),
    IdentityCase(
        "a blocked e-mail and a name in other letters tell nobody apart",
        [
            {"external_id": "1", "email": "ann@b.co", "name": "Ann  Lee"},
            {"external_id": "1", "email": "noreply@b.co", "name": "Bob"},
            {"external_id": "1", "email": "lee@b.co", "name": "ann lee"},
        ],
        {"1": {"name": "ann lee", "email": "lee@b.co"}},
        merges=((2, 4, "external_id"), (3, 4, "external_id")),
        warnings=((3, "email.blocked"),),
    ),
    IdentityCase(
        "other ids of a customer do not match",
        [{"external_id": "1", "aliases": "2"}, {"external_id": "2", "aliases": None}],
        {"1": {"aliases": ["2"]}, "2": {"aliases": None}},
    ),
]
