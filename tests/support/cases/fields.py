"""All cases for the rules of fields, and those of records with several faults; see `case.py`."""

from __future__ import annotations

from support.cases.case import FieldCase, bad, good
from support.cases.identifiers import EMAILS, EXTERNAL_IDS
from support.cases.texts import TEXTS, WORDS
from support.cases.values import INSTANTS, LISTS, METADATA, NET_TERMS, PHONES

SEVERAL_REASONS = [
    bad(
        "name", None,
        "email.syntax", "name.missing",
        email="x", country="Atlantis", created_at="01022024", net_terms="9999", phone="call me",
    ),
    bad("name", " ", "identity.missing", "name.missing", external_id=None),
    good("status", "vip", None, "email.blocked", "status.unknown", external_id="x", email="noreply@acme.com"),
]  # fmt: skip

FIELD_CASES: list[FieldCase] = [
    *EXTERNAL_IDS, *EMAILS, *TEXTS, *WORDS, *NET_TERMS, *INSTANTS, *PHONES, *LISTS, *METADATA,
    *SEVERAL_REASONS,
]  # fmt: skip
