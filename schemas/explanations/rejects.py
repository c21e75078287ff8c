"""What reject codes mean, and what to do. Their sentences are in `schemas/faults.py`."""

from __future__ import annotations

from typing import Final

from tranship.schemas.codes import CUSTOMER_TYPE_WORDS, STATUS_WORDS
from tranship.schemas.explanations.explanation import Explanation, Texts, filled
from tranship.schemas.faults import RULES, sentence


def _words(known: dict[str, str]) -> str:
    by_value: dict[str, list[str]] = {}
    for word, value in known.items():
        by_value.setdefault(value, []).append(word)
    return "\n".join(f"{value}: {', '.join(words)}" for value, words in by_value.items())


_TOO_LONG = (
    "The value is longer than the field may be. Values are never cut silently.",
    "Shorten the value at its source. If the wrong column was mapped, such as one of notes, map another one.",
    '--map {field}="Another column"',
)
_SPREADSHEET = (
    (
        "A spreadsheet has shown a long number with an exponent, and the file was saved like this. The last digits "
        "are lost; 1.23457E+12 could be any of a million ids."
    ),
    "Export the file again without opening it in a spreadsheet, or format the column as text before the export.",
    "1234567890123      instead of      1.23457E+12",
)
_NOT_TEXT = (
    "The JSON value is true, false, a list or an object where one text or number is needed.",
    "Map a column inside of it. `tranship inspect` shows how nested values become columns.",
    '--map {field}="customer.{field}"',
)
_ADDRESS = (
    "The value is not an e-mail address: no @ or several, two dots in a row, a blank, or a domain without a dot.",
    "Correct it at the source, or load such records without the address: --on-invalid {field}=warn",
    "jane@acme.com      instead of      jane@@acme.com",
)
_ADDRESS_TOO_LONG = (
    (
        "An e-mail address has at most 254 characters (RFC 5321). Usually the column contains something else, or "
        "several addresses without a separator."
    ),
    "Map the column of the address.",
    '--map {field}="Another column"',
)
_LIST = (
    "The field is a list, and the value is neither a JSON array of strings nor text with separators.",
    "Write the items with semicolons between them, or as a JSON array.",
    '["a", "b"]      or      a;b',
)

_REJECTS: Final[dict[str, Texts]] = {
    **{
        code: _TOO_LONG
        for code in RULES
        if code.endswith(".too_long") and code not in ("email.too_long", "billing_contact_email.too_long")
    },
    "email.too_long": _ADDRESS_TOO_LONG,
    "billing_contact_email.too_long": _ADDRESS_TOO_LONG,
    "external_id.control": (
        (
            "The id contains a character that is not visible, such as a tab or a line break. Two ids that look the "
            "same would be two customers."
        ),
        (
            "Remove the character at the source. Blanks at the ends, and invisible characters that mean nothing, are"
            " removed anyway."
        ),
        "",
    ),
    "external_id.spreadsheet": _SPREADSHEET,
    "aliases.spreadsheet": _SPREADSHEET,
    "external_id.not_text": _NOT_TEXT,
    "name.not_text": _NOT_TEXT,
    "email.syntax": _ADDRESS,
    "billing_contact_email.syntax": _ADDRESS,
    "name.missing": (
        "The record has no name, or a word that stands for none: N/A, -, TBD, NULL.",
        "Fill in the name, or let another column provide it: the first alternative that is filled is used.",
        '--map name="Company | First Name + Last Name | Email"',
    ),
    "name.flag": (
        (
            "The column that was taken for the name contains words such as yes and no, or numbers. A column called "
            "customer is often a flag."
        ),
        "Map the column of names.",
        '--map name="Account Name"',
    ),
    "customer_type.unknown": (
        "The word is not one for a business or an individual. Channels such as Retail and Wholesale are no types, and "
        "nothing is guessed.\nKnown words:\n" + _words(CUSTOMER_TYPE_WORDS),
        "Give the word a meaning. Case is ignored.",
        "--value customer_type:reseller=BUSINESS",
    ),
    "country.unknown": (
        "The value is neither an ISO 3166-1 code nor the name of a country in a language that is known here.",
        "Correct it, or give it a meaning.",
        '--value country:"North Sea"=GB',
    ),
    "currency.unknown": (
        (
            "The value is neither an ISO 4217 code nor a name or sign that can mean one currency only. $, £ and kr "
            "can mean several."
        ),
        "Give it a meaning; a currency for records without one is set with --default currency=EUR.",
        "--value currency:$=USD",
    ),
    "timezone.unknown": (
        "The value is not the name of a time zone: an IANA name, that of Windows or Rails, or a city.",
        "Correct it, or give it a meaning.",
        "--value timezone:Berliner=Europe/Berlin",
    ),
    "language.syntax": (
        "The value is neither a language tag (BCP 47) nor the name of a language.",
        "Correct it, or give it a meaning.",
        '--value language:"Swiss French (spoken)"=fr-CH',
    ),
    "status.unknown": (
        "The word is not known as the status of a customer. A wrong status would bill a customer wrongly, so nothing"
        " is guessed: pending, on hold and draft are ambiguous, and subscribed and verified belong to newsletters "
        "and "
        "log-ins. A billing provider never receives such a record.\nKnown words:\n" + _words(STATUS_WORDS),
        "Give the word a meaning. Case is ignored.",
        '--value status:"on hold"=suspended',
    ),
    "net_terms.unreadable": (
        "The value is not a number of days, nor a payment term such as Net 30 or Due on receipt.",
        "Use a whole number of days, or give the word a meaning.",
        '--value net_terms:"end of month"=30',
    ),
    "net_terms.key": (
        "The column seems to contain keys of payment terms, not days: 1, 2, 3 would mean one, two and three days.",
        "If these are days, map the column on purpose. Otherwise give each key its number of days.",
        '--map net_terms="Terms"      or      --value net_terms:1=14',
    ),
    "net_terms.range": (
        "The number of days is negative, or more than ten years.",
        "Correct it, or map the column of the payment term.",
        '--map net_terms="Another column"',
    ),
    "*.unreadable": (
        (
            "The text has no form that is known for a date: ISO 8601, epoch seconds or milliseconds, or a written "
            "form that can be read in one way only. A time zone that several countries use (CST, IST) is not guessed"
            " either."
        ),
        "Give the format of the dates. It can be given several times.",
        "--date-format %m/%d/%Y",
    ),
    "*.ambiguous": (
        "The date can be read in two ways: 03/04/2024 is in March or in April. Nothing is guessed.",
        "Give the format of the dates; one that all dates of the file fit.",
        "--date-format %d/%m/%Y",
    ),
    "*.range": (
        "The year is before 1900 or after 2199. Usually a wrong format was used, or the number is not a time.",
        "Check the format with `tranship inspect`, or map another column.",
        '--map {field}="Another column"',
    ),
    "invoice_cc_emails.unreadable": _LIST,
    "aliases.unreadable": _LIST,
    "invoice_cc_emails.syntax": (
        "One of the addresses in the list is not an e-mail address.",
        "Correct it at the source, or separate the addresses with semicolons.",
        "ann@acme.com; bob@acme.com",
    ),
    "metadata.syntax": (
        "The column was mapped to metadata and is not a JSON object. A single value has no name there.",
        "Leave the column unmapped: it is then kept in metadata under its own name.",
        '{"plan": "gold"}',
    ),
    "identity.missing": (
        (
            "Nothing says which customer this is: the record has no external id, and no e-mail that identifies one. "
            "Placeholders (0, test, noreply@…) identify nobody. It may also be a line of totals."
        ),
        "Fill in the id or the e-mail, or map the column that has it.",
        '--map external_id="Account No"',
    ),
    "identity.ambiguous_email": (
        (
            "The record has no external id, and several customers, each with its own id, have its e-mail. Any of "
            "them could be meant, so it is not merged with one at random."
        ),
        (
            "Write the external id of the right customer into the record with tranship fix, whose commands the summary "
            "prints. An address that many share, such as that of an office, can be excluded from matching."
        ),
        "--blocked office@acme.com",
    ),
    "record.shape": (
        (
            "A customer that the provider returned breaks the provider's own documentation: a field is missing, or "
            "of another type."
        ),
        "Look at the customer at the provider; its id is in the reason. The others are loaded.",
        "",
    ),
    "line.too_few_columns": (
        (
            "The line has fewer values than the header has names: it was cut, or a value contains a line break without "
            "quotes."
        ),
        "Correct the line in the source.",
        "",
    ),
    "line.too_many_columns": (
        "The line has more values than the header has names. Usually a value contains the delimiter and is not quoted.",
        "Quote the value, or export the file with another delimiter.",
        '"Oak, Inc."      instead of      Oak, Inc.',
    ),
    "line.header": (
        "The line repeats the header, as in files that were joined (cat a.csv b.csv). It is not a customer.",
        "Nothing. To avoid the reject, load the files separately: a run can read several.",
        'tranship run a.csv b.csv "duckdb:///warehouse.duckdb?table=customers"',
    ),
    "line.quote": (
        (
            "A value begins with a quote that is not closed before the next delimiter. The line is rejected alone, "
            "so that it cannot swallow the lines after it."
        ),
        "Close the quote, or double a quote that belongs to the value.",
        '"5"" pipe"      instead of      "5" pipe"',
    ),
    "line.json": (
        "The line, or the record of an array, is not a JSON object: it was cut, or contains a syntax error.",
        "Correct the line in the source. The others are loaded.",
        "",
    ),
    "line.key": (
        (
            "An object has the same key twice. JSON does not say which of the values counts, and one of them would be "
            "lost."
        ),
        "Remove one of the two, or rename it.",
        '{"id": 1, "id": 2}',
    ),
    "line.encoding": (
        "The line contains bytes that the encoding of the file does not have.",
        "Set the encoding. If only a few lines are affected, the file was joined from several.",
        "--encoding cp1252",
    ),
}


def of_reject(code: str) -> Explanation:
    """Return the text about a reject code; raises KeyError."""
    if code not in RULES:
        raise KeyError(code)
    return filled(code, sentence(code), _REJECTS.get(code) or _REJECTS[f"*.{code.split('.', 1)[1]}"])
