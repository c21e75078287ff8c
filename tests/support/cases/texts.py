"""Cases for free text and for fields of known words; see `case.py`."""

from __future__ import annotations

from support.cases.case import bad, good

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
    *(bad("name", word, "name.not_text") for word in ("true", "False", '["Acme"]', "[1]", '{"a": "Acme"}')),
    good("name", "1", "1"),
    good("name", "[Acme]", "[Acme]"),
    good("name", "{Acme}", "{Acme}"),
    good("name", "True Corporation", "True Corporation"),
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
