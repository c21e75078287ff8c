"""Hand-worked cases for the rules of records and of identity. The oracle and the product must both give them.

The expectations were worked out from the rules with pen and paper, never copied from a run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

BASE = {"external_id": "c1", "name": "Acme"}
"""A good record; a field case lays its extra fields and its wire value over it."""


class FieldCase(NamedTuple):
    field: str
    wire: str | None
    extra: dict[str, str | None]
    value: Any  # normalised; null where the record is rejected, too
    rejects: tuple[str, ...] = ()  # sorted
    warnings: tuple[str, ...] = ()

    def row(self) -> dict[str, str | None]:
        return {**BASE, **self.extra, self.field: self.wire}


class IdentityCase(NamedTuple):
    name: str
    rows: list[dict[str, str | None]]  # row i stands on line i + 2; a missing name is "Acme"
    customers: dict[str, dict[str, Any]]  # key -> the fields to look at
    merges: tuple[tuple[int, int, str], ...] = ()  # (line of the loser, line of the survivor, rule), sorted
    rejects: tuple[tuple[int, list[str]], ...] = ()
    warnings: tuple[tuple[int, str], ...] = ()

    def wire_rows(self) -> list[dict[str, str | None]]:
        columns = list(dict.fromkeys(column for row in self.rows for column in ("name", *row)))
        return [{column: {"name": "Acme", **row}.get(column) for column in columns} for row in self.rows]

    def lines(self) -> list[int]:
        return [number + 2 for number in range(len(self.rows))]


def good(field: str, wire: str | None, value: Any, *warnings: str, **extra: str | None) -> FieldCase:
    return FieldCase(field, wire, extra, value, (), warnings)


def bad(field: str, wire: str | None, *codes: str, **extra: str | None) -> FieldCase:
    """A value that breaks a rule: it costs the record in the fields that every customer needs, else only itself."""
    costs_record = codes[0].split(".")[0] in ("external_id", "email", "name", "identity")
    if costs_record:
        return FieldCase(field, wire, extra, None, codes)
    return FieldCase(field, wire, extra, {field: wire} if field == "metadata" else None, (), codes)


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, us: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, us, tzinfo=UTC)


LOCAL_64 = "a" * 64
LABEL_63 = "b" * 63
# 64 + 1 + 63 + 1 + 63 + 1 + 57 + 4 = 254 characters
EMAIL_254 = f"{LOCAL_64}@{LABEL_63}.{LABEL_63}.{'c' * 57}.com"

EXTERNAL_IDS = [
    good("external_id", "  cus_42\t", "cus_42"),
    good("external_id", "\u00a0007\u3000", "007"),
    good("external_id", "A b;c", "A b;c"),
    good("external_id", "x" * 255, "x" * 255),
    bad("external_id", "x" * 256, "external_id.too_long"),
    bad("external_id", "a\x00b", "external_id.control"),
    bad("external_id", "a\tb", "external_id.control"),
    bad("external_id", "a\x85b", "external_id.control"),
    bad("external_id", "x" * 255 + "\x07", "external_id.control", "external_id.too_long"),
    bad("external_id", "a\nb", "external_id.control", email=None),
    bad("external_id", None, "identity.missing"),
    bad("external_id", " \t ", "identity.missing"),
    good("external_id", None, None, email="a@b.co"),
    good("external_id", "N/A", None, "external_id.blocked", email="a@b.co"),
    good("external_id", "0", None, "external_id.blocked", email="a@b.co"),
    good("external_id", " Test ", None, "external_id.blocked", email="a@b.co"),
    good("external_id", "?", None, "external_id.blocked", email="a@b.co"),
    good("external_id", "00", "00"),
    good("external_id", "test1", "test1"),
    bad("external_id", "TBD", "identity.missing"),
    *(
        good("external_id", word, None, "external_id.blocked", email="a@b.co")
        for word in (
            "#N/A",
            "\\N",
            "(null)",
            "<null>",
            "<NA>",
            "undefined",
            "nan",
            "NaN",
            "None",
            "[NULL]",
            "--",
            ".",
            "#NV",
            "#REF!",
            "#VALUE!",
            "#NAME?",
            "#DIV/0!",
            "#NUM!",
            "#NULL!",
            "#SPILL!",
            "#CALC!",
            "#GETTING_DATA",
            "#ERROR!",
            "[object Object]",
            "00000000-0000-0000-0000-000000000000",
            "{00000000-0000-0000-0000-000000000000}",
            "00000000000000000000000000000000",
            "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
            "'N/A",
            '="-"',
            "\u200bnull",
        )
    ),
    good("external_id", "#1", "#1"),
    good("external_id", "nano", "nano"),
    good("external_id", "000000", "000000"),
    good("external_id", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
    bad("external_id", "1.23457E+12", "external_id.spreadsheet"),
    bad("external_id", "1,23457E+12", "external_id.spreadsheet"),
    bad("external_id", "1.2E5", "external_id.spreadsheet"),
    bad("external_id", "1.e5", "external_id.spreadsheet"),
    bad("external_id", "1E+12", "external_id.spreadsheet"),
    bad("external_id", " '4.91512E+12", "external_id.spreadsheet", email="a@b.co"),
    good("external_id", "12E5", "12E5"),
    good("external_id", "7E-4", "7E-4"),
    good("external_id", "1.2.3E+4", "1.2.3E+4"),
    good("external_id", "E+12", "E+12"),
    good("external_id", "1.5", "1.5"),
    good("external_id", '="00123"', "00123"),
    good("external_id", "\u2060A\u200b-\u202e1\u200f\ufeff", "A-1"),
    good("external_id", "x\u00ad\ufe0f\u180ey", "xy"),
    good("external_id", " \u200b 7 \u200b", "7"),
    good("external_id", "a\u00a0b", "a\u00a0b"),
    good("external_id", "\uff21", "\uff21"),
    bad("external_id", "\u200b\u2060", "identity.missing"),
    good("external_id", '=""', None, email="a@b.co"),
    good("external_id", "########", None, "external_id.blocked", email="a@b.co"),
    good("external_id", "#", "#"),
    good("external_id", "##7", "##7"),
    good("aliases", '["####", "A-1"]', ["A-1"]),
    bad("external_id", "Total", "identity.missing"),
    bad("external_id", "GRAND  total", "identity.missing"),
    bad("external_id", "Summe:", "identity.missing"),
    bad("external_id", "Total: 1,234.50", "identity.missing", email="noreply@acme.com"),
    bad("external_id", "合計", "identity.missing"),
    bad("external_id", "\uff34\uff4f\uff54\uff41\uff4c", "identity.missing"),
    bad("external_id", "Total records: 24", "identity.missing"),
    bad("external_id", "Count", "identity.missing"),
    good("external_id", "Count", "Count", email="count@dracula.example"),
    good("external_id", "Total", "Total", email="sales@total.example"),
    good("external_id", "Totals Ltd", "Totals Ltd"),
    good("external_id", "Total 7", "Total 7"),
    bad("name", "Total", "identity.missing", external_id=None),
    good("name", "Total", "Total"),
    bad("external_id", "unknown", "identity.missing", email="noreply@acme.com"),
]

EMAILS = [
    good("email", " Ann.Lee+x@Example.COM ", "ann.lee+x@example.com"),
    good("email", "a@b.co", "a@b.co"),
    good("email", "!#$%&'*+/=?^_`{|}~-@b.co", "!#$%&'*+/=?^_`{|}~-@b.co"),
    good("email", '"Two Words@home"@b.co', '"two words@home"@b.co'),
    good("email", '"a\\"b"@b.co', '"a\\"b"@b.co'),
    good("email", "info@München.de", "info@xn--mnchen-3ya.de"),
    good("email", "info@BÜCHER.example", "info@xn--bcher-kva.example"),
    good("email", "info@faß.de", "info@xn--fa-hia.de"),
    good("email", "a@b-c.d1", "a@b-c.d1"),
    good("email", "a@1.2.co", "a@1.2.co"),
    good("email", f"{LOCAL_64}@b.co", f"{LOCAL_64}@b.co"),
    good("email", f"a@{LABEL_63}.co", f"a@{LABEL_63}.co"),
    good("email", EMAIL_254, EMAIL_254),
    bad("email", f"{EMAIL_254}m", "email.too_long"),
    bad("email", "@" * 255, "email.too_long"),
    bad("email", f"a{LOCAL_64}@b.co", "email.syntax"),
    bad("email", f"a@b{LABEL_63}.co", "email.syntax"),
    bad("email", "a.b.co", "email.syntax"),
    bad("email", "a@b", "email.syntax"),
    bad("email", "@b.co", "email.syntax"),
    bad("email", "a@", "email.syntax"),
    bad("email", "a@b@c.co", "email.syntax"),
    bad("email", ".a@b.co", "email.syntax"),
    bad("email", "a.@b.co", "email.syntax"),
    bad("email", "a..b@c.co", "email.syntax"),
    bad("email", "a b@c.co", "email.syntax"),
    bad("email", "a\x00@c.co", "email.syntax"),
    good("email", "ann0@b.co, bob0@b.co", "ann0@b.co", "email.several"),
    good("email", "Ann1@b.co;bob1@b.co", "ann1@b.co", "email.several"),
    good("email", "ann2@b.co ::: bob2@b.co", "ann2@b.co", "email.several"),
    good("email", "ann3@b.co bob3@b.co", "ann3@b.co", "email.several"),
    good("email", "Ann <ann4@b.co>", "ann4@b.co"),
    good("email", '"Lee, Ann" <Ann5@b.co>', "ann5@b.co"),
    good("email", "Ann <ann6@b.co>, Bob <bob6@b.co>", "ann6@b.co", "email.several"),
    good("email", "mailto:Ann7@b.co", "ann7@b.co"),
    bad("email", "ann@b.co, call her", "email.syntax"),
    bad("email", "Ann <ann@b>", "email.syntax"),
    bad("email", "<ann@b.co", "email.syntax"),
    bad("email", '"a"b"@c.co', "email.syntax"),
    bad("email", "jürgen@b.co", "email.syntax"),
    bad("email", "a@-b.co", "email.syntax"),
    bad("email", "a@b-.co", "email.syntax"),
    bad("email", "a@b_c.co", "email.syntax"),
    bad("email", "a@b..co", "email.syntax"),
    bad("email", "a@b.co.", "email.syntax"),
    bad("email", "a@.co", "email.syntax"),
    bad("email", "a@10.0.0.1", "email.syntax"),
    bad("email", "a@[10.0.0.1]", "email.syntax"),
    bad("email", "a@ü ü.de", "email.syntax"),
    bad("email", "oops", "email.syntax", external_id=None),
    good("email", None, None),
    good("email", "  ", None),
    good("email", "NoReply@Acme.com", "noreply@acme.com", "email.blocked"),
    good("email", "do-not-reply@acme.com", "do-not-reply@acme.com", "email.blocked"),
    good("email", "no_reply@acme.com", "no_reply@acme.com", "email.blocked"),
    good("email", "Test@Test.com", "test@test.com", "email.blocked"),
    good("email", "test@acme.com", "test@acme.com"),
    good("email", "noreply2@acme.com", "noreply2@acme.com"),
    good("email", "N/A", None, "email.blocked"),
    good("email", "-", None, "email.blocked"),
    good("email", "Unknown", None, "email.blocked"),
    bad("email", "n/a", "identity.missing", external_id=None),
    bad("email", "noreply@acme.com", "identity.missing", external_id=None),
    bad("email", "tbd", "email.syntax"),
    *(
        good("email", word, None, "email.blocked")
        for word in ("#N/A", "\\N", "(null)", "<NULL>", "undefined", "NaN", "#REF!", "[object Object]")
    ),
    good("email", "\u200bAnn\u2060@b.co\ufeff", "ann@b.co"),
    good("email", "\u202aann@b.co\u202c", "ann@b.co"),
    good("email", "ann@b\u00ad.co", "ann@b.co"),
    good("email", "\u00a0ann@b.co\u3000", "ann@b.co"),
    good("email", "\u200b", None),
    bad("email", "ann\u00a0@b.co", "email.syntax"),
]

TEXTS = [
    good("name", "  Acme \t\r\n GmbH\u00a0& Co ", "Acme GmbH & Co"),
    good("name", "Ac\x00me\x1b", "Acme"),
    good("name", "Mu\u0308ller", "Müller"),
    *(
        bad("name", word, "name.missing")
        for word in ("N/A", "-", "?", "TBD", "NULL", "\\N", "#REF!", "unknown", " n/a ")
    ),
    good("name", "Nan", "Nan"),
    bad("name", "NaN", "name.missing"),
    good("name", "Null & Void Ltd", "Null & Void Ltd"),
    good("city", "\\N", None),
    good("city", "NULL", None),
    good("city", "None", "None"),
    good("address_line2", "-", None),
    good("state", "NA", "NA"),
    good("legal_name", "N/A", None),
    good("tax_id", "n/a", None),
    good("state", "active", None, "state.status"),
    good("state", "Bounced", None, "state.status"),
    good("state", " CA ", "CA"),
    good("name", "x" * 255, "x" * 255),
    good("name", "e\u0301" * 255, "é" * 255),
    good("name", " " * 300 + "x", "x"),
    bad("name", "x" * 256, "name.too_long"),
    bad("name", None, "name.missing"),
    bad("name", "\u2003 ", "name.missing"),
    bad("name", "\x00\x01", "name.missing"),
    good("legal_name", "Acme\nInc", "Acme Inc"),
    bad("legal_name", "x" * 256, "legal_name.too_long"),
    good("address_line1", " 5  Main   St ", "5 Main St"),
    bad("address_line1", "x" * 256, "address_line1.too_long"),
    good("address_line2", "", None),
    bad("address_line2", "x" * 256, "address_line2.too_long"),
    good("city", "São Paulo", "São Paulo"),
    bad("city", "x" * 256, "city.too_long"),
    good("state", "ca", "ca"),
    bad("state", "x" * 256, "state.too_long"),
    good("zip_code", " 01067 ", "01067"),
    good("zip_code", "'01067", "01067"),
    good("zip_code", "' 1010", "1010"),
    good("zip_code", "'AB1", "'AB1"),
    bad("zip_code", "0" * 256, "zip_code.too_long"),
    good("billing_contact_name", "Ann  Lee", "Ann Lee"),
    bad("billing_contact_name", "x" * 256, "billing_contact_name.too_long"),
    good("tax_id", " de123 456 ", "DE123 456"),
    good("provider", " stripe ", "stripe"),
    good("provider_id", " Cus_1 ", "Cus_1"),
]

WORDS = [
    good("customer_type", " business ", "BUSINESS"),
    good("customer_type", "Individual", "INDIVIDUAL"),
    *(
        good("customer_type", word, "BUSINESS")
        for word in (
            "company",
            "Organisation",
            "B2B",
            "Firma",
            "Soci\u00e9t\u00e9",
            "empresa",
            "Pessoa Jur\u00eddica",
            "f\u00f6retag",
        )
    ),
    *(
        good("customer_type", word, "INDIVIDUAL")
        for word in ("person", "b2c", "Consumer", "Privatperson", "particulier", "Pessoa F\u00edsica")
    ),
    bad("customer_type", "Retail", "customer_type.unknown"),
    good("customer_type", "N/A", None),
    good("status", "Active", "active"),
    good("status", "trial", "trial"),
    good("status", "TRIALING", "trial"),
    good("status", "trialling", "trial"),
    good("status", "inactive", "inactive"),
    good("status", "Lead", "inactive"),
    good("status", "Trial  -_ ended", "inactive"),
    good("status", "suspended", "suspended"),
    good("status", "paused", "suspended"),
    good("status", "past-due", "suspended"),
    good("status", "Past Due", "suspended"),
    good("status", "cancelled", "cancelled"),
    good("status", " Canceled ", "cancelled"),
    good("status", " ", None),
    *(
        good("status", word, "active")
        for word in ("enabled", "paying", "non_renewing", "Non Renewing", "Aktiv", "actif")
    ),
    *(good("status", word, "trial") for word in ("in_trial", "In Trial", "Testphase")),
    *(
        good("status", word, "inactive")
        for word in ("archived", "disabled", "incomplete", "incomplete_expired", "inaktiv")
    ),
    *(good("status", word, "suspended") for word in ("pastdue", "unpaid", "overdue", "delinquent", "pausiert")),
    *(
        good("status", word, "cancelled")
        for word in ("churned", "expired", "closed", "gek\u00fcndigt", "gekuendigt", "r\u00e9sili\u00e9", "cancelado")
    ),
    *(
        bad("status", word, "status.unknown")
        for word in (
            *("subscribed", "Unsubscribed", "bounced", "invited", "verified", "pending", "Draft", "on hold", "VIP"),
            *("Marketing Qualified Lead", "customer", "Opportunity", "Prospect", "unknown"),
        )
    ),
    bad("status", "-active", "status.unknown"),
    good("status", "n/a", None),
    good("status", "NULL", None),
    good("country", "de", "DE"),
    good("country", "DEU", "DE"),
    good("country", " Germany ", "DE"),
    good("country", "UNITED \n states", "US"),
    good("country", "gbr", "GB"),
    *(
        good("country", word, "US")
        for word in ("United States (US)", "US - United States", "\u00c9tats-Unis", "EE.UU.")
    ),
    good("country", "United Kingdom (UK)", "GB"),
    good("country", "Slovakia (Slovak Republic)", "SK"),
    good("country", "Korea, Rep.", "KR"),
    good("country", "Allemagne", "DE"),
    good("country", "Reino Unido", "GB"),
    good("country", "Paesi Bassi", "NL"),
    good("country", "Zweden", "SE"),
    good("country", "Sverige", "SE"),
    good("country", "\u00d6sterreich", "AT"),
    good("country", "SU\u00c8DE", "SE"),
    good("country", "NA", "NA"),
    good("country", "\\N", None),
    bad("country", "Kosovo", "country.unknown"),
    bad("country", "Boston (US)", "country.unknown"),
    bad("country", "Germany (AT)", "country.unknown"),
    bad("country", "Atlantis", "country.unknown"),
    bad("country", "ZZ", "country.unknown"),
    good("currency", " eur", "EUR"),
    good("currency", "Usd", "USD"),
    bad("currency", "XXX", "currency.unknown"),
    bad("currency", "xts", "currency.unknown"),
    *(good("currency", word, "EUR") for word in ("€", "Euro", "EUR - Euro", "Euro (EUR)", "EUR €")),
    *(good("currency", word, "USD") for word in ("US Dollar", "US$", "USD - US Dollar", "USD $", "US-Dollar")),
    good("currency", "Schweizer Franken", "CHF"),
    good("currency", "livre sterling", "GBP"),
    good("currency", "svensk krona", "SEK"),
    good("currency", "none", None),
    *(bad("currency", word, "currency.unknown") for word in ("$", "£", "kr", "dollar", "EUR - US Dollar", "gold")),
    bad("currency", "DEM", "currency.unknown"),
    good("timezone", "europe/BERLIN", "Europe/Berlin"),
    good("timezone", " America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
    good("timezone", "utc", "UTC"),
    bad("timezone", "Europe/Atlantis", "timezone.unknown"),
    bad("timezone", "+02:00", "timezone.unknown"),
    good("timezone", "Central Time (US & Canada)", "America/Chicago"),
    good("timezone", "(GMT-07:00) Mountain Time (US & Canada)", "America/Denver"),
    good("timezone", "Berlin", "Europe/Berlin"),
    good("timezone", "W. Europe Standard Time", "Europe/Berlin"),
    good("timezone", "Pacific Standard Time", "America/Los_Angeles"),
    good("timezone", "N/A", None),
    good("language", "EN", "en"),
    good("language", "en_us", "en-US"),
    good("language", "ZH-hans-cn", "zh-Hans-CN"),
    good("language", "es-419", "es-419"),
    good("language", "deu", "de"),
    good("language", "eng-gb", "en-GB"),
    good("language", "German", "de"),
    good("language", "de-1996", "de-1996"),
    good("language", "de-CH-1901", "de-CH-1901"),
    good("language", "en-US-u-CA-gregory", "en-US-u-ca-gregory"),
    bad("language", "e", "language.syntax"),
    bad("language", "en-", "language.syntax"),
    bad("language", "en--US", "language.syntax"),
    bad("language", "en-US-GB", "language.syntax"),
    bad("language", "en US", "language.syntax"),
    bad("language", "12", "language.syntax"),
]

NET_TERMS = [
    good("net_terms", " 30 ", 30),
    good("net_terms", "0", 0),
    good("net_terms", "-0", 0),
    good("net_terms", "+007", 7),
    good("net_terms", "30.0", 30),
    good("net_terms", "30,00", 30),
    good("net_terms", "3650", 3650),
    good("net_terms", "", None),
    bad("net_terms", "3651", "net_terms.range"),
    bad("net_terms", "-1", "net_terms.range"),
    bad("net_terms", "999999999", "net_terms.range"),
    bad("net_terms", "9999999999", "net_terms.unreadable"),
    bad("net_terms", "30.5", "net_terms.unreadable"),
    bad("net_terms", "30.", "net_terms.unreadable"),
    *(
        good("net_terms", word, 30)
        for word in ("net 30", "NET30", "Net-30", "n/30", "30 days", "Net 30 days", "30 Tage")
    ),
    *(good("net_terms", word, 30) for word in ("30 Tage netto", "30 jours", "2% 10 Net 30", "2/10 net 30", "30D")),
    *(good("net_terms", word, 0) for word in ("Due on receipt", "Due Upon Receipt", "sofort", "\u00c0 r\u00e9ception")),
    good("net_terms", "N/A", None),
    bad("net_terms", "Net 30 EOM", "net_terms.unreadable"),
    bad("net_terms", "End of month", "net_terms.unreadable"),
    bad("net_terms", "Net 5000", "net_terms.range"),
    bad("net_terms", "1e2", "net_terms.unreadable"),
    bad("net_terms", "- 5", "net_terms.unreadable"),
]

INSTANTS = [
    good("created_at", "2024-02-29", utc(2024, 2, 29)),
    good("updated_at", " 2024-01-02T03:04 ", utc(2024, 1, 2, 3, 4)),
    good("created_at", "2024-01-02 03:04:05", utc(2024, 1, 2, 3, 4, 5)),
    good("created_at", "2024-01-02t03:04:05z", utc(2024, 1, 2, 3, 4, 5)),
    good("created_at", "2024-01-02T03:04:05.1Z", utc(2024, 1, 2, 3, 4, 5, 100_000)),
    good("created_at", "2024-01-02T03:04:05,123456789Z", utc(2024, 1, 2, 3, 4, 5, 123_456)),
    good("created_at", "2024-01-02T03:04:05.9999999", utc(2024, 1, 2, 3, 4, 5, 999_999)),
    good("created_at", "2024-01-02 03:04:05 utc", utc(2024, 1, 2, 3, 4, 5)),
    good("created_at", "2024-01-01T00:30:00+02:00", utc(2023, 12, 31, 22, 30)),
    good("created_at", "2024-01-01T00:30+0530", utc(2023, 12, 31, 19)),
    good("created_at", "2024-02-28 23:00 -01", utc(2024, 2, 29)),
    good("created_at", "2024-01-01T12:00+23:59", utc(2023, 12, 31, 12, 1)),
    good("trial_started", "1704067200", utc(2024, 1, 1)),
    good("paid_started", "1704067200123", utc(2024, 1, 1, us=123_000)),
    good("cancel_date", "999999999", utc(2001, 9, 9, 1, 46, 39)),
    good("created_at", "-2208988800", utc(1900, 1, 1)),
    good("created_at", "-2208988800000", utc(1900, 1, 1)),
    good("created_at", "-100000000000", utc(1966, 10, 31, 14, 13, 20)),
    good("created_at", "1900-01-01", utc(1900, 1, 1)),
    good("created_at", "1899-12-31T23:30-01:00", utc(1900, 1, 1, 0, 30)),
    good("created_at", "2199-12-31T23:59:59.999999Z", utc(2199, 12, 31, 23, 59, 59, 999_999)),
    good("created_at", "2200-01-01T00:30+01:00", utc(2199, 12, 31, 23, 30)),
    good("created_at", " ", None),
    bad("created_at", "1899-12-31", "created_at.range"),
    bad("updated_at", "1900-01-01T00:30+01:00", "updated_at.range"),
    bad("created_at", "2199-12-31T23:30-01:00", "created_at.range"),
    bad("created_at", "0001-01-01T00:00+05:00", "created_at.range"),
    bad("created_at", "9999-12-31T23:59-05:00", "created_at.range"),
    bad("created_at", "-2208988801", "created_at.range"),
    bad("created_at", "9999999999", "created_at.range"),
    bad("created_at", "9999999999999", "created_at.range"),
    bad("created_at", "2023-02-29", "created_at.unreadable"),
    bad("created_at", "2024-02-30", "created_at.unreadable"),
    bad("created_at", "1900-02-29", "created_at.unreadable"),
    bad("created_at", "2024-13-01", "created_at.unreadable"),
    bad("created_at", "2024-00-10", "created_at.unreadable"),
    *(
        good("created_at", word, None)
        for word in (
            "0000-00-00",
            "0000-00-00 00:00:00",
            "0/0/00",
            "00/00/0000",
            "0001-01-01T00:00:00Z",
            "\\N",
            "null",
            "N/A",
            "-",
        )
    ),
    good("created_at", "22-Apr-2024 10:15", utc(2024, 4, 22, 10, 15)),
    good("created_at", "12 Mar 2025", utc(2025, 3, 12)),
    good("created_at", "Mar 12, 2025", utc(2025, 3, 12)),
    good("created_at", "March 12th, 2025 at 1:05 pm", utc(2025, 3, 12, 13, 5)),
    good("created_at", "2017-05-27 8:56:10", utc(2017, 5, 27, 8, 56, 10)),
    good("created_at", "Mon, 22 Apr 2024 10:15:00 +0200", utc(2024, 4, 22, 8, 15)),
    good("created_at", "Mon Apr 22 2024 10:15:00 GMT+0200 (Central European Summer Time)", utc(2024, 4, 22, 8, 15)),
    good("created_at", "Mon Apr 22 10:15:00 +0000 2024", utc(2024, 4, 22, 10, 15)),
    good("created_at", "Tuesday, March 11, 2025 10:15 AM GMT-07:00", utc(2025, 3, 11, 17, 15)),
    good("created_at", "3. M\u00e4rz 2024", utc(2024, 3, 3)),
    good("created_at", "1er janvier 2024", utc(2024, 1, 1)),
    good("created_at", "5 de marzo de 2024", utc(2024, 3, 5)),
    good("created_at", "25.12.2023", utc(2023, 12, 25)),
    good("created_at", "25/12/2023 14:30", utc(2023, 12, 25, 14, 30)),
    good("created_at", "12/31/2023 12:00 AM", utc(2023, 12, 31)),
    bad("created_at", "22-Apr-24", "created_at.unreadable"),
    bad("created_at", "Apr 2024", "created_at.unreadable"),
    bad("created_at", "31 Feb 2024", "created_at.unreadable"),
    bad("created_at", "12 Foo 2024", "created_at.unreadable"),
    bad("created_at", "12 Mar 2025 13:00 PM", "created_at.unreadable"),
    bad("created_at", "12 Mar 2025 10:00 CST", "created_at.unreadable"),
    bad("created_at", "2024-01-01T24:00", "created_at.unreadable"),
    bad("created_at", "2024-01-01T25:00", "created_at.unreadable"),
    bad("created_at", "2024-01-01T10:60", "created_at.unreadable"),
    bad("created_at", "2024-01-01T23:59:60Z", "created_at.unreadable"),
    bad("created_at", "2024-01-01T10:00+24:00", "created_at.unreadable"),
    bad("created_at", "2024-01-01T10:00+01:60", "created_at.unreadable"),
    bad("created_at", "2024-01-01T10:00:00.1234567890Z", "created_at.unreadable"),
    bad("created_at", "2024-01-01T10", "created_at.unreadable"),
    bad("created_at", "2024-01-01Z", "created_at.unreadable"),
    good("created_at", "2024-1-5", utc(2024, 1, 5)),
    good("created_at", "2024/01/05", utc(2024, 1, 5)),
    good("created_at", "2024-01-01T10:00 CET", utc(2024, 1, 1, 9)),
    bad("created_at", "12345678901", "created_at.unreadable"),
    bad("created_at", "1234567", "created_at.unreadable"),
    bad("created_at", "1704067200.5", "created_at.unreadable"),
    bad("created_at", "45292", "created_at.unreadable"),
    bad("created_at", "yesterday", "created_at.unreadable"),
    bad("created_at", "0123456789", "created_at.unreadable"),
    bad("created_at", "012345678901", "created_at.unreadable"),
    bad("created_at", "20240131120000", "created_at.unreadable"),
    bad("created_at", "1704067200123456", "created_at.unreadable"),
    bad("created_at", "199912312359", "created_at.ambiguous"),
    bad("created_at", "202401311200", "created_at.ambiguous"),
    bad("created_at", "2024013112", "created_at.ambiguous"),
    good("created_at", "946684800000", utc(2000, 1, 1)),
    good("created_at", "199913312359", utc(1976, 5, 2, 19, 28, 32, 359_000)),
    bad("created_at", "20240105", "created_at.ambiguous"),
    bad("created_at", "99999999", "created_at.ambiguous"),
    bad("created_at", "03/04/2024", "created_at.ambiguous"),
    bad("created_at", "3.4.24", "created_at.ambiguous"),
    bad("created_at", "12-11-2024", "created_at.ambiguous"),
    bad("cancel_date", "03/04/2024 10:30", "cancel_date.ambiguous"),
    bad("created_at", "5.3.2024 14:30", "created_at.ambiguous"),
    good("created_at", "13/04/2024", utc(2024, 4, 13)),
    good("created_at", "04/13/2024", utc(2024, 4, 13)),
    good("created_at", "04/04/2024", utc(2024, 4, 4)),
    bad("created_at", "13/13/2024", "created_at.unreadable"),
    bad("created_at", "0/4/2024", "created_at.unreadable"),
]

PHONES = [
    good("phone", "+49 30 901820", "+4930901820"),
    good("phone", "+49 (0) 30 901820", "+4930901820"),
    good("phone", "0049 30-90.18/20", "+4930901820"),
    good("phone", "0049(0)30901820", "+4930901820"),
    good("phone", "(030) 901820", "+4930901820", country="Germany"),
    good("phone", "30 901820", "+4930901820", country="DE"),
    good("phone", "+1 (212) 555-0100", "+12125550100"),
    good("phone", "212.555.0100", "+12125550100", country="US"),
    good("phone", "1-212-555-0100", "+12125550100", country="USA"),
    good("phone", "020 7946 0958", "+442079460958", country="GB"),
    good("phone", "06 6982", "+39066982", country="IT"),
    good("phone", "06 1 234 5678", "+3612345678", country="HU"),
    good("phone", "8 (495) 123-45-67", "+74951234567", country="RU"),
    good("phone", "+44 20 7946 0958", "+442079460958", country="US"),
    good("phone", "030 901820", "030 901820", "phone.unreadable"),
    good("phone", " 555-0100 ", "555-0100", "phone.unreadable", country="US"),
    good("phone", "+1 212 555 010", "+1 212 555 010", "phone.unreadable"),
    good("phone", "+999 123456", "+999 123456", "phone.unreadable"),
    good("phone", "+1 212 555 0100 x5", "+12125550100", "phone.shortened"),
    good("phone", "+1 212 555 0100 ext. 5", "+12125550100", "phone.shortened", country="US"),
    good("phone", "(212) 555-0100, ext 17", "+12125550100", "phone.shortened", country="US"),
    good("phone", "tel:+12125550100", "+12125550100"),
    good("phone", "p:(212) 555-0100", "+12125550100", country="US"),
    good("phone", "Mobile: +1 212 555 0100", "+12125550100"),
    good("phone", "+1 212 555 0100 ::: +1 212 555 0101", "+12125550100", "phone.shortened"),
    good("phone", "Phone:(212) 555-0100 Mobile:(212) 555-0101", "+12125550100", "phone.shortened", country="US"),
    good("phone", "555-0100 x5", "555-0100 x5", "phone.unreadable", country="US"),
    good("phone", "N/A", None),
    good("phone", "\\N", None),
    good("phone", "4915112345678", "+4915112345678", country="DE"),
    good("phone", "49 1511 2345678", "+4915112345678", country="DE"),
    good("phone", "0491 123456", "+49491123456", country="DE"),
    good("phone", "491123456", "+49491123456", country="DE"),
    good("phone", "34612345678", "+34612345678", country="ES"),
    good("phone", "393123456789", "+393123456789", country="IT"),
    good("phone", "391 2345678", "+393912345678", country="IT"),
    good("phone", "9123456789", "+919123456789", country="IN"),
    good("phone", "919123456789", "+919123456789", country="IN"),
    good("phone", "12125550100", "+12125550100", country="US"),
    good("phone", "34612345678", "34612345678", "phone.unreadable", country="US"),
    good("phone", "++12125550100", "++12125550100", "phone.unreadable"),
    good("phone", "(+49) 30 901820", "+4930901820"),
    good("phone", "+", "+", "phone.unreadable"),
    good("phone", "call me", "call me", "phone.unreadable", country="US"),
    good("phone", "  ", None),
    good("phone", "030 901820", "030 901820", "country.unknown", "phone.unreadable", country="Atlantis"),
]

LISTS = [
    good("billing_contact_email", " AP@Acme.com ", "ap@acme.com"),
    good("billing_contact_email", "noreply@acme.com", "noreply@acme.com"),
    bad("billing_contact_email", "ap@acme", "billing_contact_email.syntax"),
    good("billing_contact_email", "n/a", None),
    good("billing_contact_email", "AP <ap@acme.com>", "ap@acme.com"),
    good("billing_contact_email", "ap@acme.com; b@acme.com", "ap@acme.com", "billing_contact_email.several"),
    good("invoice_cc_emails", "a@b.co", ["a@b.co", "c@d.co"], "email.several", email="x1@b.co, c@d.co"),
    good("invoice_cc_emails", None, ["c@d.co"], "email.several", email="x2@b.co; c@d.co"),
    bad("billing_contact_email", f"{EMAIL_254}m", "billing_contact_email.too_long"),
    good("invoice_cc_emails", "A@b.co; c@b.co ;;a@B.CO", ["a@b.co", "c@b.co"]),
    good("invoice_cc_emails", '["c@b.co", " A@b.co ", "", "c@b.co"]', ["c@b.co", "a@b.co"]),
    good("invoice_cc_emails", "a@münchen.de;a@xn--mnchen-3ya.de", ["a@xn--mnchen-3ya.de"]),
    good("invoice_cc_emails", " ; ", None),
    good("invoice_cc_emails", "[]", None),
    good("invoice_cc_emails", '[" "]', None),
    bad("invoice_cc_emails", "a@b.co;oops", "invoice_cc_emails.syntax"),
    good("invoice_cc_emails", "a@b.co, c@b.co", ["a@b.co", "c@b.co"]),
    good("invoice_cc_emails", "Ann <a@b.co>; c@b.co", ["a@b.co", "c@b.co"]),
    good("invoice_cc_emails", "N/A", None),
    bad("invoice_cc_emails", '["a@b.co"', "invoice_cc_emails.unreadable"),
    bad("invoice_cc_emails", '["a@b.co", 5]', "invoice_cc_emails.unreadable"),
    bad("invoice_cc_emails", '["a@b.co", null]', "invoice_cc_emails.unreadable"),
    bad("invoice_cc_emails", "[a@b.co]", "invoice_cc_emails.unreadable"),
    good("aliases", "x1; X1 ;x1", ["x1", "X1"]),
    good("aliases", '["a;b", 12, 12, "12"]', ["a;b", "12"]),
    good("aliases", '["a,\\u0062"]', ["a,b"]),
    good("aliases", "a,b", ["a,b"]),
    good("aliases", 'x\u200b1;N/A;\'007;="008";\u200b;#REF!', ["x1", "007", "008"]),
    good("aliases", "N/A", None),
    bad("aliases", "x;1.23457E+12", "aliases.spreadsheet"),
    bad("aliases", '["1.5e+20"]', "aliases.spreadsheet"),
    good("invoice_cc_emails", "\u200ba@b.co;\u2060", ["a@b.co"]),
    bad("aliases", "[1, true]", "aliases.unreadable"),
    bad("aliases", '[["a"]]', "aliases.unreadable"),
    bad("aliases", "[", "aliases.unreadable"),
    bad("aliases", '["a"] x', "aliases.unreadable"),
]

METADATA = [
    good(
        "metadata",
        ' {"plan": "pro", "n": 1, "deep": {"a": [null]}} ',
        {"plan": "pro", "n": 1, "deep": {"a": [None]}},
    ),
    good("metadata", "{}", None),
    good("metadata", " ", None),
    good("metadata", None, {"Seats": "7"}, Seats="7", Blank="  ", Empty=None),
    good("metadata", '{"plan": "pro"}', {"plan": "pro", "Seats": "007"}, Seats="007"),
    good("metadata", '[{"key": "rep", "value": "Ines"}, {"key": "n", "value": [1]}]', {"rep": "Ines", "n": [1]}),
    bad("metadata", '[{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]', "metadata.syntax"),
    bad("metadata", "[1]", "metadata.syntax"),
    bad("metadata", '"text"', "metadata.syntax"),
    bad("metadata", "null", "metadata.syntax"),
    bad("metadata", "{plan: 1}", "metadata.syntax"),
    bad("metadata", '{"a": 1', "metadata.syntax"),
    bad("metadata", '{"a": NaN}', "metadata.syntax"),
]

SEVERAL_REASONS = [
    bad(
        "name", None,
        "email.syntax", "name.missing",
        email="x", country="Atlantis", created_at="20240101", net_terms="9999", phone="call me",
    ),
    bad("name", " ", "identity.missing", "name.missing", external_id=None),
    good("status", "vip", None, "email.blocked", "status.unknown", external_id="x", email="noreply@acme.com"),
]  # fmt: skip

FIELD_CASES: list[FieldCase] = [
    *EXTERNAL_IDS, *EMAILS, *TEXTS, *WORDS, *NET_TERMS, *INSTANTS, *PHONES, *LISTS, *METADATA,
    *SEVERAL_REASONS,
]  # fmt: skip


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
