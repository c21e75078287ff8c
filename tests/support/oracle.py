"""A second implementation of the results for a fresh table: row by row, in plain Python. It is written from the rules
alone, so that an error in the product's expressions is not repeated here. It is slow and keeps everything in memory.
Status words and blocked values are repeated literally on purpose; the code tables in schemas/data/ are shared.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import idna

DATA = Path(__file__).resolve().parent.parent.parent / "schemas" / "data"

PLAIN_TEXT = (
    "name", "legal_name", "address_line1", "address_line2", "city", "state", "zip_code",
    "billing_contact_name",
)  # fmt: skip
INSTANTS = ("created_at", "updated_at", "trial_started", "paid_started", "cancel_date")
FIELDS = (
    "external_id", "email", "name", "legal_name", "customer_type", "phone", "address_line1", "address_line2",
    "city", "state", "zip_code", "country", "currency", "timezone", "language", "status", "net_terms",
    "created_at", "updated_at", "trial_started", "paid_started", "cancel_date", "tax_id",
    "billing_contact_name", "billing_contact_email", "invoice_cc_emails", "aliases", "metadata",
    "provider", "provider_id",
)  # fmt: skip

# The words of the five providers, those of billing systems, and a few of each language.
STATUSES = {
    "active": "active enabled paying live non_renewing pending_cancel aktiv actif activo",
    "trial": "trial trialing trialling in_trial on_trial free_trial testphase en_essai",
    "inactive": "inactive lead trial_ended trial_expired archived disabled incomplete incomplete_expired inaktiv",
    "suspended": "suspended paused past_due pastdue unpaid overdue delinquent soft_failure pausiert",
    "cancelled": "cancelled canceled churned expired closed terminated gekundigt gekuendigt resilie cancelado",
}
NO_PLACES = (
    "subscribed unsubscribed cleaned bounced complained pending confirmed unconfirmed invited verified draft open"
)
BUSINESSES = "business company organisation organization b2b firma societe empresa pessoa_juridica foretag"
INDIVIDUALS = "individual person b2c consumer privatperson particulier pessoa_fisica"
MONTHS = {
    1: "january jan januar janvier enero", 2: "february feb februar fevrier", 3: "march mar marz mars marzo",
    4: "april apr avril", 5: "may mai mayo", 6: "june jun juni juin", 7: "july jul juli juillet",
    8: "august aug aout agosto", 9: "september sep sept septembre", 10: "october oct oktober octobre",
    11: "november nov novembre", 12: "december dec dezember decembre",
}  # fmt: skip
BLOCKED_LOCAL_PARTS = {"noreply", "no-reply", "no_reply", "donotreply", "do-not-reply"}
BLOCKED_EMAILS = {"test@test.com", "test@example.com", "none@none.com", "na@na.com", "n/a@n/a.com"}
# Words that spreadsheets, databases, programs and people use for a missing value.
NOTHING = """
    - -- --- . ? ?? ??? n/a n.a. na none null <nil> unknown nan -nan undefined <na> <null> <none> (null) (none) [null] \\n
    (blank) (empty) *none
    #n/a #n/a! #na #ref! #value! #name? #div/0! #null! #num! #spill! #calc! #field! #blocked! #unknown! #connect! #busy!
    #getting_data #error! #nv #bezug! #wert! #zahl!
"""
ABSENT_EMAIL_WORDS = {*NOTHING.split(), "[object object]"}
NIL, MAX = ("0" * 8, "0" * 4, "0" * 4, "0" * 4, "0" * 12), ("f" * 8, "f" * 4, "f" * 4, "f" * 4, "f" * 12)
BLOCKED_IDS = {
    *ABSENT_EMAIL_WORDS, "test", "tbd", "0",
    "-".join(NIL), "{" + "-".join(NIL) + "}", "".join(NIL), "-".join(MAX), "".join(MAX),
}  # fmt: skip
TOTALS = {
    "total", "totals", "grand total", "sub total", "subtotal", "sub-total", "sum", "sums", "total sum", "gesamt",
    "gesamtsumme", "insgesamt", "summe", "zwischensumme", "total général", "total general", "sous-total", "somme",
    "totaux", "totale", "totali", "totale generale", "subtotale", "somma", "totales", "suma", "suma total", "totais",
    "total geral", "soma", "totaal", "eindtotaal", "subtotaal", "som", "totalt", "count", "record count",
    "row count", "total count", "total records", "total rows", "total customers", "number of records",
    "number of rows", "average", "anzahl", "summa", "delsumma", "sum total",
    "i alt", "yhteensä", "razem", "ogółem", "celkem", "součet", "összesen", "toplam", "genel toplam", "jumlah", "итого",
    "всего", "合计", "合計", "总计", "總計", "総計", "小计", "小計", "합계", "총계",
}  # fmt: skip


@dataclass
class Result:
    customers: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejects: list[tuple[int, list[str]]] = field(default_factory=list)
    merges: list[tuple[int, int, str]] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    rejects_by_code: dict[str, int] = field(default_factory=dict)
    merges_by_rule: dict[str, int] = field(default_factory=dict)


@dataclass
class Record:
    order: int
    line: int
    values: dict[str, Any]
    codes: list[str]
    warnings: list[str]

    @property
    def age(self) -> tuple[bool, datetime, int]:
        """Return a sort key, the greatest for the newest: a null `updated_at` is the oldest, the record read last wins
        a tie."""
        updated = self.values["updated_at"]
        return (updated is not None, updated or datetime.min.replace(tzinfo=UTC), self.order)

    @property
    def external_id(self) -> str | None:
        external_id: str | None = self.values["external_id"]
        return external_id

    @property
    def match_email(self) -> str | None:
        """Return the e-mail if it may identify somebody; null if it is blocked."""
        email = self.values["email"]
        return None if email is None or is_blocked_email(email) else email


class RuleError(Exception):
    """A value breaks its rule; `faults` are the parts of the codes after the dot."""

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults


def run(
    text_rows: list[dict[str, str | None]],
    mapping: dict[str, str],
    lines: list[int],
    *,
    now: datetime | None = None,
    strict: bool = False,
) -> Result:
    """Return customers, rejects, merges and warnings of these raw rows for an empty table.

    `mapping` is column -> canonical field; other columns go into metadata. `now` changes nothing: no rule reads the
    clock. With `strict`, every invalid value rejects the record. Rejects, merges and warnings are sorted; a rejected
    record has no warnings, since it does not load.
    """
    del now
    records = [
        read_record(row, mapping, line, order, strict=strict)
        for order, (row, line) in enumerate(zip(text_rows, lines, strict=True))
    ]
    customers, merges = identify([record for record in records if not record.codes])

    loaded = [record for record in records if not record.codes]
    result = Result(
        customers=customers,
        rejects=sorted((r.line, sorted(r.codes)) for r in records if r.codes),
        merges=sorted(merges),
        warnings=sorted((r.line, code) for r in loaded for code in r.warnings),
    )
    result.counts = {
        "read": len(records),
        "rejected": len(result.rejects),
        "merged": len(result.merges),
        "created": len(result.customers),
        "warnings": len(result.warnings),
    }
    result.rejects_by_code = dict(Counter(code for _, codes in result.rejects for code in codes))
    by_rule = Counter(rule for _, _, rule in result.merges)
    result.merges_by_rule = {rule: by_rule[rule] for rule in ("external_id", "email")}
    return result


def read_csv(
    path: str | Path, *, delimiter: str = ",", encoding: str = "utf-8-sig"
) -> tuple[list[str], list[dict[str, str | None]], list[int]]:
    """Return the header, the raw rows and the first physical line of each row of a well-formed CSV. The header is line
    1. Empty cells are null; empty lines, and lines that repeat the header, are skipped. One spreadsheet guard is
    removed from a cell. Lines end at LF, CR LF or CR, also between quotes.
    """
    csv.field_size_limit(2**31 - 1)
    rows: list[dict[str, str | None]] = []
    lines: list[int] = []
    with Path(path).open(newline="", encoding=encoding) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(reader, [])
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                if len(cells) != len(header):
                    raise ValueError(f"{path}, line {line}: {len(cells)} cells, the header has {len(header)}")
                if [cell.strip().lower() for cell in cells] != [name.strip().lower() for name in header]:
                    rows.append({name: unguarded(cell) or None for name, cell in zip(header, cells, strict=True)})
                    lines.append(line)
            line = reader.line_num + 1
    return header, rows, lines


SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫−"
"""Signs with which formulas begin, including full-width and small ones, which some spreadsheets accept."""


def is_invisible(one: str) -> bool:
    """Return whether a character is invisible: it formats, controls, fills or varies others."""
    blank = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u3164\uffa0"
    return unicodedata.category(one) in ("Cf", "Cc") or one in blank or "\ufe00" <= one <= "\ufe0f"


def unguarded(cell: str) -> str:
    """Return the cell without the apostrophe in front of a sign, a tab, a line end or an apostrophe; `="x"` is `x`."""
    if cell.startswith("'"):
        sign = next((one for one in cell[1:] if not is_invisible(one)), "")
        return cell[1:] if cell[1:2] in ("'", "\t", "\r", "\n") or (sign and sign in SIGNS) else cell
    inner = cell[2:-1].replace('""', "") if len(cell) > 2 and cell.startswith('="') and cell.endswith('"') else '"'
    return cell if '"' in inner else cell[2:-1].replace('""', '"')


# One record: normalise and validate


def read_record(
    row: dict[str, str | None], mapping: dict[str, str], line: int, order: int, *, strict: bool = False
) -> Record:
    wire = {name: row.get(column) for column, name in mapping.items()}
    unmapped = {column: text for column, text in row.items() if column not in mapping and trim(text) is not None}
    record = Record(order, line, dict.fromkeys(FIELDS), [], [])

    further = []
    for name in FIELDS:
        text = trim(wire.get(name))
        if name in NEVER_WORDS and text is not None and text.lower() in NOTHING_IN_CODES - NEVER_WORDS[name]:
            text = None
        if text is None or name == "phone":
            continue
        if name in ("email", "billing_contact_email"):
            text, *others = addresses_in(text) or [""]
            further += others
            record.warnings += [f"{name}.several"] if others else []
        if name == "state" and (word(text) in NO_PLACES.split() or word(text) in status_words()):
            record.warnings.append("state.status")
            continue
        try:
            record.values[name] = NORMALISERS[name](text)
        except RuleError as fault:
            record.codes += [f"{name}.{part}" for part in fault.faults]

    values = record.values
    if further and "invoice_cc_emails.syntax" not in record.codes:
        values["invoice_cc_emails"] = without_repeats(
            [*(values["invoice_cc_emails"] or []), *filter(is_mailbox, further)]
        )
    if "state.status" in record.warnings:
        unmapped |= {column: row.get(column) for column, name in mapping.items() if name == "state"}
    own = values["metadata"] or {}
    unmapped = {f"column.{column}" if column in own else column: text for column, text in unmapped.items()}
    values["metadata"] = {**own, **unmapped} or None
    if values["name"] is None and not {"name.too_long", "name.not_text"} & {*record.codes}:
        record.codes.append("name.missing")
    read_phone(record, trim(wire.get("phone")))
    if not strict:
        leave_out_invalid(record, row, mapping)
    check_identity(record)
    return record


def leave_out_invalid(record: Record, row: dict[str, str | None], mapping: dict[str, str]) -> None:
    """Turn an invalid value of an optional field into a warning; its text is kept in the metadata."""
    left_out = [code for code in record.codes if code.split(".")[0] not in ("external_id", "email", "name")]
    fields = {code.split(".")[0] for code in left_out}
    metadata = record.values["metadata"] or {}
    originals = {column: text for column, text in row.items() if mapping.get(column) in fields}
    metadata |= {f"column.{column}" if column in metadata else column: text for column, text in originals.items()}
    record.values |= {**dict.fromkeys(fields), "metadata": metadata or None}
    record.codes = [code for code in record.codes if code not in left_out]
    record.warnings += left_out


def read_phone(record: Record, text: str | None) -> None:
    if text is None or text.lower() in NOTHING_IN_CODES:
        return
    first, rest = first_number(text)
    number = e164(first, record.values["country"])
    record.values["phone"] = number or text
    if number is None:
        record.warnings.append("phone.unreadable")
    elif rest:
        record.warnings.append("phone.shortened")


LABELS = ("p", "tel", "telephone", "phone", "mobile", "mob", "cell", "work", "home", "office", "main")


def first_number(text: str) -> tuple[str, str]:
    """Return the first number without its label, and the rest: an extension, or another number."""
    label, colon, number = text.partition(":")
    if colon and label.strip().lower() in LABELS:
        text = number.strip()
    labels = "|".join(rf"{label}\s*:" for label in LABELS if label != "p")
    parts = re.split(rf"(?i)(:::|[,;|]|\b(?:{labels})|,?\s*(?:extension|ext|x)\s*[.:]?(?=\s*[0-9]))", text, maxsplit=1)
    return parts[0].strip(), "".join(parts[1:])


def check_identity(record: Record) -> None:
    """Replace blocked words by null and warn of blocked e-mails; reject a record that nothing identifies."""
    values = record.values
    if values["external_id"] is not None and is_blocked_id(values["external_id"]):
        values["external_id"] = None
        record.warnings.append("external_id.blocked")
    if values["email"] in ABSENT_EMAIL_WORDS:
        values["email"] = None
        record.warnings.append("email.blocked")
    elif values["email"] is not None and is_blocked_email(values["email"]):
        record.warnings.append("email.blocked")
    unreadable = any(code.split(".")[0] in ("external_id", "email") for code in record.codes)
    nobody = record.external_id is None or is_total(record.external_id)
    if nobody and record.match_email is None and not unreadable:
        record.codes.append("identity.missing")


def is_total(label: str) -> bool:
    """Return whether it is the label of a sum, as in the last line of reports: `Total`, `Total: 24`."""
    word, _, figure = unicodedata.normalize("NFKC", label).lower().partition(":")
    return " ".join(word.split()) in TOTALS and re.fullmatch(r"[0-9.,\s]*", figure) is not None


def is_blocked_id(text: str) -> bool:
    """Return whether it is a place-holder, or the text that a spreadsheet saves for a column that is too narrow:
    `####`."""
    return text.lower() in BLOCKED_IDS or (len(text) > 1 and not text.strip("#"))


def is_blocked_email(email: str) -> bool:
    return email in BLOCKED_EMAILS or email.rpartition("@")[0] in BLOCKED_LOCAL_PARTS


# Text

# The Unicode property White_Space. Python's str.isspace also takes U+001C to U+001F, which are controls.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def trim(text: str | None) -> str | None:
    """Return it without white space at both ends; blank is null."""
    return (text or "").strip(WHITE_SPACE) or None


def single_spaced(text: str) -> str:
    return re.sub(f"[{WHITE_SPACE}]+", " ", text).strip(" ")


def is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


NOTHING_IN_CODES = ABSENT_EMAIL_WORDS - {"unknown"}
NEVER_WORDS: dict[str, set[str]] = {
    **{name: set() for name in ("customer_type", "currency", "timezone", "status", "tax_id", "net_terms", *INSTANTS)},
    **{"billing_contact_email": set(), "country": {"na"}, "language": {"na", "nan"}},
}
"""Fields in which a word for a missing value cannot be meant, with the words that can."""


def place_text(text: str) -> str | None:
    clean = plain_text(text)
    is_word = clean is not None and clean.lower() in ABSENT_EMAIL_WORDS - {"na", "nan", "-nan", "none", "unknown", "."}
    return None if is_word else clean


def postal_code(text: str) -> str | None:
    """Return it without a spreadsheet's guard before a digit."""
    clean = place_text(text)
    bare = clean[1:].lstrip(" ") if clean and clean.startswith("'") else ""
    return bare if bare[:1].isascii() and bare[:1].isdigit() else clean


def is_no_text(text: str) -> bool:
    """Return whether it is a truth value, or a list or an object as JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        return text.lower() in ("true", "false")
    return isinstance(found, bool | list | dict)


def full_name(text: str) -> str | None:
    clean = plain_text(text)
    if clean is not None and is_no_text(clean):
        raise RuleError("not_text")
    is_word = clean is not None and clean.lower() in ABSENT_EMAIL_WORDS | {"tbd", "tba", "tbc", "no name", "noname"}
    return None if is_word and clean not in ("Nan", "Na") else clean


def plain_text(text: str) -> str | None:
    kept = "".join(c for c in text if c in WHITE_SPACE or not is_control(c))
    clean = unicodedata.normalize("NFC", single_spaced(kept))
    if len(clean) > 255:
        raise RuleError("too_long")
    return clean or None


# The property Default_Ignorable_Code_Point, and the marks of interlinear annotation.
UNSEEN = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
]  # fmt: skip


def seen(text: str) -> str:
    """Return the visible characters of it."""
    return "".join(c for c in text if not any(first <= ord(c) <= last for first, last in UNSEEN)).strip(WHITE_SPACE)


def bare_id(text: str) -> str:
    """Return an id without a spreadsheet's guard."""
    text = seen(text)
    if text.startswith("'") and text[1:].strip(WHITE_SPACE) and not text[1:].strip(WHITE_SPACE).startswith("'"):
        text = text[1:].strip(WHITE_SPACE)
    if len(text) > 2 and text.startswith('="') and text.endswith('"'):
        inner = text[2:-1].strip(WHITE_SPACE)
        if '"' not in inner and not inner.startswith(("'", "=")):
            text = inner
    return text


def is_rounded(text: str) -> bool:
    """Return whether a spreadsheet wrote it without its last digits: 1.2E5, 1E+12."""
    mantissa, mark, exponent = re.sub("[eE]", "E", text).partition("E")
    fraction = re.fullmatch(r"[+-]?[0-9]+[.,][0-9]*", mantissa) and re.fullmatch(r"[+-]?[0-9]{1,3}", exponent)
    whole = re.fullmatch(r"[+-]?[0-9]+", mantissa) and re.fullmatch(r"[+][0-9]{1,3}", exponent)
    return bool(mark and (fraction or whole))


def external_id(text: str) -> str | None:
    text = bare_id(text)
    faults = []
    if is_no_text(text):
        faults.append("not_text")
    if is_rounded(text):
        faults.append("spreadsheet")
    if len(text) > 255:
        faults.append("too_long")
    if any(is_control(c) for c in text):
        faults.append("control")
    if faults:
        raise RuleError(*faults)
    return text or None


def as_is(text: str) -> str:
    return text


# E-mail

ASCII_ATOM = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~-"
QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')


def is_local_part(text: str) -> bool:
    """RFC 5321; of RFC 6531 letters, marks and digits."""
    atoms = text.split(".")
    return bool(QUOTED.fullmatch(text)) or all(
        atom and all(c in ASCII_ATOM or (not c.isascii() and unicodedata.category(c)[0] in "LMN") for c in atom)
        for atom in atoms
    )


LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def addresses_in(text: str) -> list[str]:
    """Return the addresses of a list, or in angle brackets; otherwise the text itself."""
    lower = seen(text).lower()
    if lower.startswith("["):
        try:
            items = json.loads(lower)
        except ValueError:
            return [text]
        if items and all(isinstance(item, dict) for item in items):
            return addresses_of_objects(items) or [text]
        texts = all(isinstance(item, str) for item in items)
        return [address for item in items if item.strip() for address in addresses_in(item)] if texts else [text]
    if "<" in lower:
        unquoted = "".join(lower.split('"')[::2])
        found = [part.removeprefix("mailto:") for part in re.split(r"[<>,;|\s]+", unquoted) if "@" in part]
        whole = unquoted.count("<") == unquoted.count(">") and all(part.count("@") == 1 for part in found)
        return found if found and whole else [text]
    if lower.startswith('"'):
        return [text]
    parts = [part.strip().removeprefix("mailto:") for part in re.split(r":::|[,;|\n]", lower) if part.strip()]
    parts = parts[0].split() if len(parts) == 1 else parts
    return parts if parts and all(re.fullmatch(r"[^@\s]+@[^@\s]+", part) for part in parts) else [text]


def addresses_of_objects(items: list[dict[str, Any]]) -> list[str]:
    """Return the addresses in the objects of a list, as in APIs, those of the primary one first."""
    flags = ("primary", "default", "isprimary", "is_primary", "is_default")
    primary = [
        item
        for item in items
        if any(item.get(flag) in (True, "true") for flag in flags)
        or (isinstance(item.get("metadata"), dict) and item["metadata"].get("primary") in (True, "true"))
    ]
    texts = [text for item in (*primary[:1], *items) for text in item.values() if isinstance(text, str)]
    return list(dict.fromkeys(text for text in texts if re.fullmatch(r"[^\s]+@[^\s]+", text)))


def is_mailbox(text: str) -> bool:
    try:
        return mailbox(text) == text
    except RuleError:
        return False


def email(text: str) -> str | None:
    text = seen(text).lower()
    if text in ABSENT_EMAIL_WORDS:
        return text
    return mailbox(text) if text else None


def mailbox(text: str) -> str:
    local, at, domain = seen(text).lower().rpartition("@")
    if not text.isascii():
        local = unicodedata.normalize("NFC", local)
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise RuleError("too_long" if len(text) > 254 else "syntax") from None
    address = f"{local}{at}{domain}"
    if len(address) > 254:
        raise RuleError("too_long")
    labels = domain.split(".")
    if (
        not at
        or len(local) > 64
        or not is_local_part(local)
        or len(domain) > 253
        or len(labels) < 2
        or not all(LABEL.fullmatch(label) for label in labels)
        or re.fullmatch("[0-9]+", labels[-1])
    ):
        raise RuleError("syntax")
    return address


# Codes and words


@cache
def table(file: str, key: str, value: str) -> dict[str, str]:
    with (DATA / file).open(newline="", encoding="utf-8") as lines:
        return {row[key]: row[value] for row in csv.DictReader(lines)}


def known(codes: dict[str, str], key: str) -> str:
    if key not in codes:
        raise RuleError("unknown")
    return codes[key]


def word(text: str) -> str:
    """Return a word in the form used for comparison: without accents, blanks and hyphens as underscores."""
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return re.sub(r"[\s_'’-]+", "_", "".join(c for c in decomposed if unicodedata.category(c) != "Mn"))


def status_words() -> dict[str, str]:
    return {each: status for status, words in STATUSES.items() for each in words.split()}


def customer_type(text: str) -> str:
    kinds = {**dict.fromkeys(BUSINESSES.split(), "BUSINESS"), **dict.fromkeys(INDIVIDUALS.split(), "INDIVIDUAL")}
    return known(kinds, word(text))


def status(text: str) -> str:
    return known(status_words(), word(text))


def named_twice(text: str, codes: dict[str, str | None]) -> str | None:
    """Return the meaning of both parts of `NAME (CODE)` or `CODE - NAME`; null if they differ."""
    parts = [part.strip() for part in re.split(r"\s[-–|:]\s|[(\[]", text.rstrip(")]"), maxsplit=1)]
    meanings = {codes.get(part) for part in parts}
    return meanings.pop() if len(parts) == 2 and len(meanings) == 1 else None


def country(text: str) -> str:
    spellings = table("countries.csv", "spelling", "code")
    spelt = single_spaced(unicodedata.normalize("NFC", text)).upper()
    return named_twice(spelt, spellings) or known(spellings, spelt)


def currency(text: str) -> str:
    official, names = table("currencies.csv", "code", "code"), table("currency_names.csv", "spelling", "code")
    if text.upper() in official:
        return text.upper()
    lower = " ".join(text.lower().split())
    meanings = {**names, **{code.lower(): code for code in official}}
    code, _, sign = lower.partition(" ")
    if code.upper() in official and sign in {"$", "£", "¥", "kr", *names}:  # USD $, EUR €
        meanings[lower] = official.get(code.upper()) if names.get(sign, code.upper()) == code.upper() else None
    return named_twice(lower, meanings) or known({key: value for key, value in meanings.items() if value}, lower)


def timezone(text: str) -> str:
    bare = re.sub(r"^\((GMT|UTC)[^)]*\)\s*", "", text).lower()
    zones = table("timezones.csv", "spelling", "name")
    return known(
        {**table("timezone_names.csv", "spelling", "name"), **zones},
        bare if text.lower() not in zones else text.lower(),
    )


# RFC 5646, section 2.1.
LANGUAGE_TAG = re.compile(
    r"(?P<language>[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4}|[a-z]{5,8})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<rest>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    r"(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*"
    r"(?:-x(?:-[a-z0-9]{1,8})+)?)"
)
PRIVATE_TAG = re.compile(r"x(?:-[a-z0-9]{1,8})+")
IRREGULAR_TAGS = {
    tag.lower(): tag
    for tag in (
        "en-GB-oed", "i-ami", "i-bnn", "i-default", "i-enochian", "i-hak", "i-klingon", "i-lux", "i-mingo",
        "i-navajo", "i-pwn", "i-tao", "i-tay", "i-tsu", "sgn-BE-FR", "sgn-BE-NL", "sgn-CH-DE",
    )
}  # fmt: skip


def language(text: str) -> str:
    spellings = table("languages.csv", "spelling", "code")
    tag = text.replace("_", "-").lower()
    tag = spellings.get(tag, tag).lower()
    if tag in IRREGULAR_TAGS:
        return IRREGULAR_TAGS[tag]
    if PRIVATE_TAG.fullmatch(tag):
        return tag
    match = LANGUAGE_TAG.fullmatch(tag)
    if match is None:
        raise RuleError("syntax")
    primary, hyphen, extended = match["language"].partition("-")
    if len(primary) == 3:
        primary = spellings.get(primary, primary)
    script, region = (match["script"] or "").capitalize(), (match["region"] or "").upper()
    return "-".join(filter(None, (primary + hyphen + extended, script, region))) + match["rest"]


def net_terms(text: str) -> int:
    match = re.fullmatch(r"([+-]?[0-9]{1,9})(?:[.,]0{1,2})?", text)
    days = int(match[1]) if match else days_in_words(word(text))
    if not 0 <= days <= 3650:
        raise RuleError("range")
    return days


def days_in_words(terms: str) -> int:
    if terms in ("due_on_receipt", "due_upon_receipt", "immediate", "sofort", "a_reception"):
        return 0
    terms = re.sub(r"^[0-9]+%?[_/][0-9]+_(?=net)", "", terms)  # the discount
    match = re.fullmatch(r"(?:net|netto|n)[_/]*([0-9]{1,4})(?:_days)?", terms) or re.fullmatch(
        r"([0-9]{1,4})_?(?:d|days?|tage|jours|dias)(?:_net|_netto)?", terms
    )
    if match is None:
        raise RuleError("unreadable")
    return int(match[1])


# Instants

ISO_DATE = re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})")
ISO_DATE_TIME = re.compile(
    ISO_DATE.pattern + r"[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r" ?(?P<zone>Z|UTC|(?P<sign>[+-])(?P<ahead>[0-9]{2})(?::?(?P<ahead_minutes>[0-9]{2}))?)?"
)
DAY_OR_MONTH = re.compile(r"([0-9]{1,2})[/.-]([0-9]{1,2})[/.-](?:[0-9]{4}|[0-9]{2})(?:[T ] ?[0-9]{1,2}:[0-9]{2}.*)?")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


ZONES = {"Z": "+0000", "UTC": "+0000", "GMT": "+0000", "CET": "+0100", "CEST": "+0200", "PST": "-0800", "EST": "-0500"}
TIME = re.compile(
    r"(?:[T,\s]|\bAT\b)*(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?\s*(?P<half>[AP]M)?"
    r"\s*(?P<zone>[A-Z]*)\s*(?P<offset>[+-][0-9]{2}:?[0-9]{2})?(?:\s*\([^()]*\))?"
)


def as_written(text: str) -> dict[str, str] | None:
    """Return the parts of a date with a month in words, or in numbers that can be read in one way; null if it is not
    such a date."""
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
    text = re.sub(r"^(MON|TUE|WED|THU|FRI|SAT|SUN)[A-Z]*[.,]?\s+", "", text)
    numbers = {each.upper(): number for number, words in MONTHS.items() for each in words.split()}
    if re.search("[A-Z]{3}", text):
        text = re.sub(r"[A-Z]{3,}", lambda m: f"M{numbers[m[0]]}M" if m[0] in numbers else m[0], text, count=1)
        text = re.sub(r"^(M[0-9]+M [0-9]+)( .*) ([0-9]{4})$", r"\1 \3\2", text)
        match = re.match(r"([0-9]{1,2})(?:ER|TH|ST|ND|RD)?[-. /]*(?:DE )?M([0-9]+)M[-.,/ ]*(?:DE )?([0-9]{4})", text)
        day, month, year = match.groups() if match else ("", "", "")
        if match is None and (match := re.match(r"([0-9]{1,2})[-. /]M([0-9]+)M\.?[-. /]'?([0-9]{2})(?![0-9])", text)):
            day, month, year = match.groups()
            if 30 <= int(year) < 70:
                raise RuleError("ambiguous")
            year = ("20" if int(year) < 30 else "19") + year
        if match is None and (match := re.match(r"M([0-9]+)M[. -]*([0-9]{1,2})(?:ST|ND|RD|TH)?[, ]+([0-9]{4})", text)):
            month, day, year = match.groups()
    else:
        match = None
    if match is None and (match := re.match(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?![0-9])", text)):
        year, month, day = match.groups()
    if match is None and (match := re.match(r"([0-9]{1,2})[-/.]([0-9]{1,2})[-/.]([0-9]{4})(?![0-9])", text)):
        first, second, year = match.groups()
        dotted = re.match(r"[0-9]+\.[0-9]+\.", text)
        if int(first) <= 12 and int(second) <= 12 and int(first) != int(second) and not dotted:
            return None
        day, month = (second, first) if int(second) > 12 and not dotted else (first, second)
    if match is None:
        return None
    rest = text[match.end() :]
    parts = {"year": year, "month": month, "day": day}
    if not rest:
        return parts
    rest = re.sub(r"^( [0-9]{1,2})\.([0-9]{2})\.([0-9]{2})", r"\1:\2:\3", rest)
    time = TIME.fullmatch(rest)
    if time is None or (time["zone"] and time["zone"] not in ZONES) or int(time["hour"]) > 23:
        return None
    hour = int(time["hour"])
    if time["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if time["half"] == "PM" else 0)
    offset = (time["offset"] or ZONES.get(time["zone"], "")).replace(":", "")
    zone = {"sign": offset[0], "ahead": offset[1:3], "ahead_minutes": offset[3:]} if offset else {}
    return {**parts, "hour": str(hour), "minute": time["minute"], "second": time["second"] or "", **zone}


def instant(text: str) -> datetime | None:
    text = text.upper()
    if re.fullmatch("[0-9]{10}|[0-9]{12}", text) and is_compact(text):
        raise RuleError("ambiguous")
    if re.fullmatch("-?[1-9][0-9]{8,9}", text):
        return in_range(1970, EPOCH + timedelta(seconds=int(text)))
    if re.fullmatch("-?[1-9][0-9]{11,12}", text):
        return in_range(1970, EPOCH + timedelta(milliseconds=int(text)))
    packed = re.fullmatch(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})([0-9]{2})(?:[.,]0+)?Z?)?", text)
    if packed and is_compact(text[:12]):
        names = ("year", "month", "day", "hour", "minute", "second")
        try:
            return from_parts({name: digits or "" for name, digits in zip(names, packed.groups(), strict=True)})
        except RuleError:
            raise RuleError("ambiguous" if len(text) == 8 else "unreadable") from None
    if re.fullmatch("[0-9]{8}", text):
        raise RuleError("ambiguous")
    zeros = re.fullmatch(r"(0+[-/.]0+[-/.]0+)(?:[T ]00:00(?::00)?Z?)?|0001-01-01(?:[T ]00:00:00Z?)?", text)
    if zeros:
        return None
    match = ISO_DATE.fullmatch(text) or ISO_DATE_TIME.fullmatch(text)
    if match is not None:
        return from_parts(match.groupdict(default=""))
    written = as_written(text)
    if written is not None:
        return from_parts(written)
    match = DAY_OR_MONTH.fullmatch(text)
    if match is not None:
        first, second = int(match[1]), int(match[2])
        if first != second and first in range(1, 13) and second in range(1, 13):
            raise RuleError("ambiguous")
    raise RuleError("unreadable")


def is_compact(digits: str) -> bool:
    """Return whether it could be year, month, day, hour and minute without separators."""
    year, month, day, hour, minute = (int(digits[a:b] or 0) for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12)))
    return 1900 <= year < 2200 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60


def from_parts(parts: dict[str, str]) -> datetime:
    # Python has no year 0 and none after 9999; the calendar repeats every 400 years.
    year = int(parts["year"])
    stand_in = 2000 + year % 400
    ahead, ahead_minutes = int(parts.get("ahead") or 0), int(parts.get("ahead_minutes") or 0)
    if ahead > 23 or ahead_minutes > 59:
        raise RuleError("unreadable")
    try:
        local = datetime(
            stand_in,
            int(parts["month"]),
            int(parts["day"]),
            int(parts.get("hour") or 0),
            int(parts.get("minute") or 0),
            int(parts.get("second") or 0),
            int(parts.get("fraction", "")[:6].ljust(6, "0")),
            tzinfo=UTC,
        )
    except ValueError:
        raise RuleError("unreadable") from None
    offset = timedelta(hours=ahead, minutes=ahead_minutes)
    utc = local + offset if parts.get("sign") == "-" else local - offset
    return in_range(year, utc, stand_in)


def in_range(year: int, moment: datetime, stand_in: int = 1970) -> datetime:
    """Return `moment` moved by `year - stand_in` years, if that is in 1900 to 2199."""
    real = moment.year + year - stand_in
    if not 1900 <= real <= 2199:
        raise RuleError("range")
    return moment.replace(year=real)


# Phone


E164_DIGITS = 15


@dataclass(frozen=True)
class PhoneRegion:
    country: str
    calling_code: str
    trunk: str
    lengths: int  # bit n is set: n digits are possible
    longest: int  # maximum digits of a number, except rare ones

    def allows(self, national: str) -> bool:
        return bool(self.lengths >> len(national) & 1)


@cache
def phone_regions() -> tuple[PhoneRegion, ...]:
    with (DATA / "phones.csv").open(newline="", encoding="utf-8") as lines:
        return tuple(
            PhoneRegion(row["country"], row["calling_code"], row["trunk"], int(row["lengths"]), int(row["longest"]))
            for row in csv.DictReader(lines)
        )


def e164(text: str, country_code: str | None) -> str | None:
    """Return the number as +<calling code><national number>, or null if it cannot be parsed."""
    separators = rf"().\-/{WHITE_SPACE}"
    if not re.fullmatch(rf"[{separators}]*\+?[0-9{separators}]+", text):
        return None
    # "o" means "(0)", the trunk zero that is not dialled from abroad.
    signs = re.sub("[^0-9o]", "", text.replace("(0)", "o"))
    if "+" in text:
        return international(signs)
    if signs.startswith("00"):
        return international(signs[2:])
    for region in phone_regions():
        if region.country == country_code:
            # Without its trunk prefix if that leaves a possible number, else as a whole.
            whole = signs.replace("o", "0")
            without = whole.removeprefix(region.trunk)
            if without != whole and region.allows(without):
                return f"+{region.calling_code}{without}"
            too_long = len(whole) > region.longest or not region.allows(whole)
            has_code = whole.startswith(region.calling_code) and region.allows(whole[len(region.calling_code) :])
            if has_code and too_long and len(whole) <= E164_DIGITS:
                return f"+{whole}"
            if region.allows(whole):
                return f"+{region.calling_code}{whole}"
    return None


def international(signs: str) -> str | None:
    for region in phone_regions():
        code = region.calling_code
        if signs.startswith(code):
            national = signs.removeprefix(code).removeprefix("o").replace("o", "0")
            if region.allows(national) and len(code + national) <= E164_DIGITS:
                return f"+{code}{national}"
    return None


# Lists and metadata


def strict_json(text: str, *, number: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON strictly by RFC 8259; raises ValueError. `number` parses numbers."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        value = json.loads(text, parse_constant=refuse, parse_int=number, parse_float=number)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is not text
    return value


def elements(text: str, *, number: Callable[[str], Any] | None = None) -> list[str]:
    if not text.startswith("["):
        parts: list[str] = text.split(";")
    else:
        try:
            parts = strict_json(text, number=number)
        except ValueError:
            raise RuleError("unreadable") from None
        if not all(isinstance(part, str) for part in parts):
            raise RuleError("unreadable")
    return [part for part in map(trim, parts) if part is not None]


def aliases(text: str) -> list[str] | None:
    parts = [bare_id(part) for part in elements(text, number=str)]
    if any(map(is_rounded, parts)):
        raise RuleError("spreadsheet")
    return without_repeats(part for part in parts if part and not is_blocked_id(part))


def invoice_cc_emails(text: str) -> list[str] | None:
    parts = elements(text)
    if not text.startswith("["):
        parts = [address for part in parts for address in addresses_in(part)]
    parts = [part for part in parts if part.lower() not in ABSENT_EMAIL_WORDS]
    try:
        return without_repeats(mailbox(part) for part in parts if seen(part))
    except RuleError:
        raise RuleError("syntax") from None


def without_repeats(parts: Iterable[str]) -> list[str] | None:
    return list(dict.fromkeys(parts)) or None


def metadata(text: str) -> dict[str, Any]:
    try:
        value = strict_json(text)
    except ValueError:
        raise RuleError("syntax") from None
    if isinstance(value, list) and all(isinstance(pair, dict) and list(pair) == ["key", "value"] for pair in value):
        pairs = {pair["key"]: pair["value"] for pair in value}
        value = pairs if len(pairs) == len(value) else None
    if not isinstance(value, dict):
        raise RuleError("syntax")
    return value


NORMALISERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(PLAIN_TEXT, place_text),
    "name": full_name,
    "zip_code": postal_code,
    **dict.fromkeys(INSTANTS, instant),
    "external_id": external_id,
    "email": email,
    "customer_type": customer_type,
    "country": country,
    "currency": currency,
    "timezone": timezone,
    "language": language,
    "status": status,
    "net_terms": net_terms,
    "tax_id": str.upper,
    "billing_contact_email": mailbox,
    "invoice_cc_emails": invoice_cc_emails,
    "aliases": aliases,
    "metadata": metadata,
    "provider": as_is,
    "provider_id": as_is,
}


# Identity


def identify(records: list[Record]) -> tuple[dict[str, dict[str, Any]], list[tuple[int, int, str]]]:
    """Return customers by key, and merges; reject ambiguous records and warn of shared e-mails in place."""
    by_id: dict[str, list[Record]] = defaultdict(list)
    by_email: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.external_id is not None:
            by_id[record.external_id].append(record)
        elif record.match_email is not None:
            by_email[record.match_email].append(record)

    owners: dict[str, list[str]] = defaultdict(list)
    for key, group in by_id.items():
        owned = newest(group).match_email
        if owned is not None:
            owners[owned].append(key)

    groups = {id_key(external_id): group for external_id, group in by_id.items()}
    for address, group in by_email.items():
        ids = owners.get(address, [])
        if len(ids) > 1:
            for record in group:
                record.codes.append("identity.ambiguous_email")
        elif ids:
            groups[id_key(ids[0])] = groups[id_key(ids[0])] + group
        else:
            groups[f"email:{address}"] = group

    for ids in owners.values():
        if len(ids) > 1:
            for external_id in ids:
                newest(groups[id_key(external_id)]).warnings.append("email.shared")

    alike: dict[str, list[str]] = defaultdict(list)
    for external_id in by_id:
        alike[folded(external_id)].append(external_id)
    for ids in alike.values():
        if len(ids) > 1:
            for external_id in ids:
                newest(groups[id_key(external_id)]).warnings.append("external_id.lookalike")
    for group in by_id.values():
        for record in group:
            if any(are_strangers(record, another) for another in group):
                record.warnings.append("external_id.conflict")

    customers = {key: customer(group) for key, group in groups.items()}
    merges = [merge for group in groups.values() for merge in merges_of(group)]
    return customers, merges


def folded(external_id: str) -> str:
    """Return the form that is equal for two ids that look the same to a person."""
    once = unicodedata.normalize("NFKC", external_id).casefold()
    return unicodedata.normalize("NFKC", once)


def are_strangers(one: Record, other: Record) -> bool:
    """Return whether two records of one id look like two people, and no time shows which of them is newer."""
    mails, times = {one.match_email, other.match_email}, {one.values["updated_at"], other.values["updated_at"]}
    names = {"".join((record.values["name"] or "").lower().split()) for record in (one, other)}
    is_dated = len(times) == 2 and None not in times
    return len(mails) == 2 and None not in mails and len(names) == 2 and "" not in names and not is_dated


def id_key(external_id: str) -> str:
    """Return the key of a customer with an external id. One that looks like another kind of key is marked as an id."""
    return f"id:{external_id}" if external_id.startswith(("email:", "id:")) else external_id


def newest(group: list[Record]) -> Record:
    return max(group, key=lambda record: record.age)


def customer(group: list[Record]) -> dict[str, Any]:
    """Return the survivor's own values, with the customer's external id."""
    ids = [record.external_id for record in group if record.external_id is not None]
    return {**newest(group).values, "external_id": ids[0] if ids else None}


def merges_of(group: list[Record]) -> list[tuple[int, int, str]]:
    survivor = newest(group)
    return [
        (
            loser.line,
            survivor.line,
            "external_id" if loser.external_id is not None and survivor.external_id is not None else "email",
        )
        for loser in group
        if loser is not survivor
    ]
