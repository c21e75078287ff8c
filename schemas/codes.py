"""Codes and their synonyms: countries, currencies, time zones, languages, statuses, phone numbering plans.

Short lists are here; long ones are CSV files in data/, read on first use. data/README.md lists their sources and
editions, and data/build.py writes them. Frames are shared between callers and must not be changed in place.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import polars as pl
from polars.datatypes import DataTypeClass

# The two enums of the canonical customer.
CUSTOMER_TYPES = ("BUSINESS", "INDIVIDUAL")
STATUSES = ("active", "trial", "inactive", "suspended", "cancelled")

# Words are compared folded: trimmed, lower case, without accents, runs of space, hyphen, underscore and apostrophe as
# one underscore.

# Folded word -> status. Sources, as of 2026-11: the five providers (GrowPanel: lead, trialing, past_due, canceled,
# trial_ended, paused), Stripe (unpaid, incomplete, incomplete_expired), Chargebee (in_trial, non_renewing), Recurly
# (expired, closed, paying), Maxio (soft_failure, trial_ended, unpaid), Paddle (archived), WooCommerce Subscriptions
# (pending-cancel), Xero and Odoo (archived); and words of people in the languages of the column names. A subscription
# that ends with its term is active until then. One without a first payment was never active.
STATUS_WORDS: dict[str, str] = {
    word: status
    for status, words in {
        "active": "active enabled paying live non_renewing pending_cancel pending_cancellation in_good_standing "
        "aktiv aktive aktiver aktives aktivt actif activo activa attivo attiva actief ativo ativa aktiivinen "
        "aktywny aktywna aktivni",
        "trial": "trial trialing trialling trialist in_trial on_trial free_trial trial_active trial_period "
        "testphase in_testphase probezeit probephase en_essai periode_d_essai en_prueba periodo_de_prueba in_prova "
        "periodo_di_prova proefperiode in_proefperiode em_teste periodo_de_teste provperiod proveperiode "
        "okres_probny",
        "inactive": "inactive disabled deactivated archived dormant lead trial_ended trial_expired incomplete "
        "incomplete_expired inaktiv inaktive inaktives inaktivt deaktiviert archiviert inactif inactive desactive "
        "archive inactivo inactiva desactivado archivado inattivo inattiva disattivato archiviato inactief "
        "gedeactiveerd gearchiveerd inativo inativa desativado arquivado ej_aktiv ikke_aktiv arkiverad arkiveret "
        "arkivert ei_aktiivinen nieaktywny nieaktywna neaktivni dezaktywowany "
        "dezaktywowana",
        "suspended": "suspended paused past_due pastdue unpaid overdue delinquent soft_failure in_dunning dunning "
        "gesperrt pausiert uberfallig ueberfaellig suspendu suspendue en_pause impaye suspendido suspendida "
        "en_pausa impagado sospeso sospesa in_pausa insoluto opgeschort gepauzeerd achterstallig suspenso suspensa "
        "pausado pausada moroso morosa inadimplente zawieszony zawieszona wstrzymany geschorst pausad forfallen "
        "pauset satt_pa_pause",
        "cancelled": "cancelled canceled expired incomplete_cancelled churned closed terminated gekundigt "
        "gekuendigt storniert beendet abgelaufen resilie resiliee annule annulee expire expiree cloture cancelado "
        "cancelada vencido caducado cerrado cancellato disdetto annullato scaduto chiuso opgezegd geannuleerd "
        "verlopen beeindigd expirado encerrado uppsagd avslutad avslutat opsagt opsagd afsluttet oppsagt sagt_opp "
        "avsluttet irtisanottu paattynyt cancellata disdetta annullata scaduta chiusa cessato cessata cerrada caducada "
        "vencida anulado anulada rescindido rescindida baja de_baja dado_de_baja dada_de_baja encerrada expirada "
        "cloturee radie radiee uitgeschreven ausgetreten udmeldt utmeldt rozwiazany rozwiazana anulowany anulowana "
        "zakonczony zakonczona",
    }.items()
    for word in words.split()
}

# Words that look like a status but are not, or could be two: newsletters, log-ins, stages of a sale, a start or an end
# that may be in the future. They remain unknown; `--value` maps them.
_OPEN_STATUS_WORDS = (
    "subscribed unsubscribed cleaned bounced complained pending confirmed unconfirmed non_subscribed not_subscribed "
    "invited verified unverified registered locked banned blocked draft open new prospect customer client contact "
    "opportunity subscriber marketing_qualified_lead sales_qualified_lead evangelist on_hold paid free"
)
OPEN_STATUS_WORDS = frozenset(_OPEN_STATUS_WORDS.split())

NOT_PUBLIC_WORDS = frozenset(("privato", "privata", "privati", "privado", "privada", "prive", "privé", "private"))
"""Types of customers that mean a person, or everyone who is not a public body."""

# Folded word -> customer type: the words of shops, accounting and CRM systems for the two (Odoo and ERPNext: company,
# individual; Zoho: business, individual; Magento and others: B2B, B2C), in the languages of the column names. Retail
# and wholesale are channels.
CUSTOMER_TYPE_WORDS: dict[str, str] = {
    word: kind
    for kind, words in {
        "BUSINESS": "business company companies organization organisation corporation corporate firm enterprise "
        "partnership b2b business_customer business_account commercial legal_entity legal_person "
        "firma unternehmen geschaftskunde geschaeftskunde firmenkunde gewerblich gewerbe geschaftlich "
        "juristische_person "
        "entreprise societe professionnel personne_morale empresa sociedad persona_juridica persona_moral "
        "azienda societa impresa persona_giuridica bedrijf zakelijk onderneming rechtspersoon pessoa_juridica "
        "osoba_prawna pravnicka_osoba foretag foretagskund virksomhed erhverv bedrift bedriftskunde "
        "naeringsliv yritys org corp incorporated business_entity company_account businesses "
        "corporation_account geschaftskunden geschaeftskunden firmenkunden gewerbekunde gewerbekunden "
        "法人 企業 企业 公司 법인 기업 юр._лицо юридическое_лицо организация "
        "juristisch entreprises societes professionnels pro morale empresas juridica juridico moral "
        "aziende giuridica pj pessoa_coletiva bedrijven zakelijke_klant aktiebolag foretagskunder "
        "virksomheder erhvervskunde yritysasiakas przedsiebiorstwo klient_biznesowy pravnicka",
        "INDIVIDUAL": "individual person personal private consumer b2c private_individual private_person "
        "natural_person "
        "private_customer residential sole_person privat privatperson privatkunde privatkundin verbraucher endkunde "
        "naturliche_person natuerliche_person particulier personne personne_physique persona particular "
        "persona_fisica persona_natural consumidor privato persona_physica consumatore consument natuurlijk_persoon "
        "persoon pessoa pessoa_fisica privatkund konsument forbruger forbruker yksityinen yksityishenkilo henkilo "
        "kuluttaja osoba_fizyczna fyzicka_osoba individuals persons people consumers private_customers "
        "natural privatkunden privatpersonen privatpersoner naturlich natuerlich endkunden particuliers "
        "physique client_particulier fisica fisico particulares privati persona_privata pf "
        "pessoa_singular consumidor_final particuliere_klant particulieren yksityisasiakas "
        "個人 个人 개인 физ._лицо физическое_лицо частное_лицо "
        "osoba_prywatna klient_indywidualny soukroma_osoba fyzicka",
    }.items()
    for word in words.split()
}

# Folded text -> days: terms without a number.
NET_TERMS_WORDS: dict[str, int] = dict.fromkeys(
    (
        *("due_on_receipt", "due_upon_receipt", "upon_receipt", "on_receipt", "payable_on_receipt", "immediate"),
        *("immediately", "immediate_payment", "due_immediately", "pay_immediately", "net_due", "due_now", "same_day"),
        *("sofort", "sofort_fallig", "sofort_faellig", "sofort_zahlbar", "zahlbar_sofort", "bei_erhalt"),
        *("a_reception", "a_reception_de_facture", "paiement_immediat", "comptant", "pago_inmediato", "inmediato"),
        *(
            "al_recibir",
            "pagamento_immediato",
            "immediato",
            "alla_ricezione",
            "directe_betaling",
            "direct",
            "per_direct",
        ),
        *("bij_ontvangst", "pagamento_imediato", "imediato", "a_vista", "omgaende", "direktbetalning", "straks"),
        *("ved_modtagelse", "ved_mottak", "heti", "direct_betalen", "direkt", "kontant", "kontantbetaling"),
        *("contado", "al_contado", "pago_de_contado", "contanti", "a_pronti", "pronto_pagamento", "po_otrzymaniu"),
    ),
    0,
)

# Words for a missing value, typed by people or written by spreadsheets, databases and programs. They identify nobody
# and never match. All lower case; our own list.
NO_VALUE_WORDS = frozenset(
    {
        *("-", "--", "---", ".", "?", "??", "???", "n/a", "n.a.", "na", "none", "null", "<nil>", "unknown"),
        *("nan", "-nan", "undefined", "<na>", "<null>", "<none>", "(null)", "(none)", "[null]", "\\n"),
        *("(blank)", "(empty)", "[object object]", "*none"),
        # Excel, Google Sheets and LibreOffice, in English and German.
        *("#n/a", "#n/a!", "#na", "#ref!", "#value!", "#name?", "#div/0!", "#null!", "#num!", "#spill!", "#calc!"),
        *("#field!", "#blocked!", "#unknown!", "#connect!", "#busy!", "#getting_data", "#error!", "#nv", "#bezug!"),
        *("#wert!", "#zahl!"),
    }
)
# Words for a missing value in a text, which may be the name of a place or of a person: None and Nan are towns, NA is a
# province of Italy.
NO_TEXT_WORDS = NO_VALUE_WORDS - {"na", "nan", "-nan", "none", "unknown", "."}
# Words for a missing value in a name. `Nan` and `Na` are names; `NaN` and `NA` are not.
NO_NAME_WORDS = NO_VALUE_WORDS | {"tbd", "tba", "tbc", "no name", "noname"}
# Values of a column such as `Company`, `Client` or `Entreprise` where it is a flag. Beside another column of names,
# those in FLAGS are never a name, and the others are one only if there is no better.
FLAGS = frozenset({"0", "1", "true", "false"})
FLAG_WORDS = FLAGS | {
    *"23456789",  # kinds of third parties
    *("yes", "no", "ja", "nein", "oui", "non", "sí", "si", "sì", "nee", "sim", "não", "nao", "nej", "nei", "kyllä"),
    *("ei", "tak", "nie", "ano", "ne", "vrai", "faux", "wahr", "falsch", "vero", "falso", "verdadero", "verdadeiro"),
}
SHORT_NAMES = frozenset({"Nan", "Na"})
# Words for a missing value in a code, a number, a date or a phone number.
NO_CODE_WORDS = NO_VALUE_WORDS - {"unknown"}
BLOCKED_EMAIL_LOCALS = frozenset({"noreply", "no-reply", "no_reply", "donotreply", "do-not-reply"})
BLOCKED_EMAILS = frozenset({"test@test.com", "test@example.com", "none@none.com", "na@na.com", "n/a@n/a.com"})
BLOCKED_IDS = NO_VALUE_WORDS | {
    *("test", "tbd", "0"),
    # RFC 9562: the nil and the max UUID.
    *("00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000"),
    *("ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffffffffffffffffffffffffffff"),
    "{00000000-0000-0000-0000-000000000000}",
}
EMPTY_WORDS_EMAIL = NO_VALUE_WORDS

# The word in the first cell of a report's last line, lower case, without the number after it. A customer with such an
# id must have an e-mail.
TOTAL_WORDS = frozenset({
    "total", "totals", "grand total", "sub total", "subtotal", "sub-total", "sum", "sums", "total sum",
    "sum total", "gesamt", "gesamtsumme", "insgesamt", "summe", "zwischensumme", "total général",
    "total general", "sous-total", "somme", "totaux", "totale", "totali", "totale generale", "subtotale",
    "somma", "totales", "suma", "suma total", "totais", "total geral", "soma", "totaal", "eindtotaal",
    "subtotaal", "som", "totalt", "summa", "delsumma", "i alt", "yhteensä", "razem", "ogółem", "celkem",
    "součet", "összesen", "toplam", "genel toplam", "jumlah", "итого", "всего", "合计", "合計", "总计", "總計", "総計",
    "小计", "小計", "합계", "총계", "count", "record count", "row count", "total count", "total records", "total rows",
    "total customers", "number of records", "number of rows", "average", "anzahl",
})  # fmt: skip

# Words for a zone that mean one offset only. Left out, since they could mean two: CST and CDT (Chicago, Havana,
# Shanghai), IST (India, Ireland, Israel), BST (Britain, Bangladesh), AST (Halifax, Riyadh), SST, GST, ECT, AMT and
# others. Sources: RFC 5322, section 4.3 for the American ones, IANA time zone database for the others.
ZONE_OFFSETS = {
    **dict.fromkeys(("UTC", "GMT", "UT", "Z", "WET"), "+0000"),
    **{"CET": "+0100", "WEST": "+0100", "CEST": "+0200", "EET": "+0200", "EEST": "+0300", "MSK": "+0300"},
    **{"EST": "-0500", "EDT": "-0400", "MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700"},
    **{"AKST": "-0900", "AKDT": "-0800", "HST": "-1000", "NST": "-0330", "NDT": "-0230"},
    **{"WAT": "+0100", "CAT": "+0200", "SAST": "+0200", "EAT": "+0300", "PKT": "+0500", "WIB": "+0700"},
    **{"HKT": "+0800", "AWST": "+0800", "JST": "+0900", "KST": "+0900"},
    **{"ACST": "+0930", "ACDT": "+1030", "AEST": "+1000", "AEDT": "+1100", "NZST": "+1200", "NZDT": "+1300"},
}

# Folded month names and their abbreviations -> number, in the languages of the column names. Source: CLDR 47. A word
# means the same month in all of them.
MONTH_WORDS: dict[str, int] = {
    word: number
    for number, words in enumerate(
        (
            "january jan januar janner janvier janv enero ene gennaio gen januari janeiro tammikuu",
            "february feb februar fevrier fevr fev febrero febbraio februari fevereiro helmikuu",
            "march mar marz mrz mars marzo maart mrt marco marts maaliskuu",
            "april apr avril avr abril abr aprile huhtikuu",
            "may mai mayo maggio mag mei maio maj toukokuu",
            "june jun juni juin junio giugno giu junho kesakuu",
            "july jul juli juillet juil julio luglio lug julho heinakuu",
            "august aug aout agosto ago augustus augusti elokuu",
            "september sep sept septembre septiembre settembre set setembro syyskuu",
            "october oct oktober okt octobre octubre ottobre ott outubro out lokakuu",
            "november nov novembre noviembre novembro marraskuu",
            "december dec dezember dez decembre diciembre dic dicembre dezembro desember des joulukuu",
        ),
        1,
    )
    for word in words.split()
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# The country column of calling codes without a country (such as +800): UN M.49 "World".
WORLD = "001"


@cache
def countries() -> pl.DataFrame:
    """Return spelling (upper case, single spaces) and code (ISO 3166-1 alpha-2), one row per spelling.

    Spellings are alpha-2, alpha-3, names in English and some fifty other languages, the spellings of statistical
    offices and shops, and common aliases. Ambiguous names (Korea, America, Kongo) are left out.
    Sources: ISO 3166-1 by pycountry 26.2.16, CLDR 47, own aliases.
    """
    return _table("countries.csv")


@cache
def country_codes() -> frozenset[str]:
    """Return the ISO 3166-1 alpha-2 codes, without user-assigned ones such as XK. Source: see countries()."""
    return frozenset(countries()["code"])


@cache
def currencies() -> frozenset[str]:
    """Return the active ISO 4217 codes without XXX (none) and XTS (tests). Source: pycountry 26.2.16."""
    return frozenset(_table("currencies.csv")["code"])


@cache
def currency_names() -> pl.DataFrame:
    """Return spelling (lower case, single spaces) and code (ISO 4217), one row per name or sign.

    `$`, `£`, `kr` and names such as `dollar` could be several currencies and are left out.
    Sources: CLDR 47 in English and eleven other languages, own aliases.
    """
    return _table("currency_names.csv")


@cache
def timezones() -> pl.DataFrame:
    """Return spelling (lower case) and name (official IANA spelling), one row per name.

    Links such as US/Pacific count as names and are not resolved.
    Source: IANA time zone database 2026f by tzdata 2026.6.
    """
    return _table("timezones.csv")


@cache
def timezone_aliases() -> pl.DataFrame:
    """Return spelling (lower case) and name (official IANA spelling), one row per spelling that is not an IANA name.

    Spellings are the names of Windows and Rails, and the cities of zones. Sources: CLDR by tzlocal 5.4.5, Rails 8.0,
    tzdata 2026.6, own aliases.
    """
    return _table("timezone_names.csv")


@cache
def timezone_names() -> frozenset[str]:
    """Return the IANA names in their official spelling. Source: see timezones()."""
    return frozenset(timezones()["name"])


@cache
def languages() -> pl.DataFrame:
    """Return spelling (lower case, single spaces) and code (BCP 47, shortest form), one row per spelling.

    Spellings are three-letter codes that have a two-letter one (deu and ger -> de), English names, a few with a
    region or script (flemish -> nl-BE), abbreviations of Windows (enu -> en-US), and names in
    eleven other languages and in the language itself (allemand, deutsch -> de). Codes in their shortest form are not
    included. Sources: ISO 639 by pycountry 26.2.16, CLDR 47, own aliases.
    """
    return _table("languages.csv")


@cache
def letters() -> pl.DataFrame:
    """Return language, letter, count, before and after: the letters beyond ASCII in words of a language, with how often
    each letter was seen, and which others were before and behind it, such as `a12e3`; `_` is the end of the word.

    Source: names, towns, streets and occupations of Faker 40.63.0, names of CLDR 49.
    """
    return _table("letters.csv", {"count": pl.Int64})


@cache
def phone_regions() -> pl.DataFrame:
    """Return country, calling_code, trunk, lengths and longest, one row per country.

    country is an ISO 3166-1 alpha-2 code, or one of the numbering plans' own AC, TA, XK. trunk is the prefix dialled
    before a national number, without being part of it; it may be empty. Bit n of lengths (UInt32) is set where a
    national number of n digits, trunk not counted, is possible; longest (Int64) is the usual maximum number of digits
    of a mobile or fixed line number. Source: phonenumbers 9.0.43 (libphonenumber); the trunk of BY is ours.
    """
    return _phones().filter(pl.col("country") != WORLD)


@cache
def phone_prefixes() -> pl.DataFrame:
    """Return prefix, calling_code and lengths for the first three digits of an international number.

    A prefix has one row, or none if no calling code starts it. Bit n of lengths (UInt32) is set if n digits after the
    calling code are possible in a country with this code. Source: see phone_regions().
    """
    plans = _phones().group_by("calling_code").agg(pl.col("lengths").bitwise_or())
    rows = [
        (str(prefix), calling_code, lengths)
        for calling_code, lengths in plans.rows()
        for prefix in range(int(calling_code.ljust(3, "0")), int(calling_code.ljust(3, "9")) + 1)
    ]
    schema = {"prefix": pl.String, "calling_code": pl.String, "lengths": pl.UInt32}
    return pl.DataFrame(rows, schema, orient="row").sort("prefix")


@cache
def _phones() -> pl.DataFrame:
    return _table("phones.csv", {"lengths": pl.UInt32, "longest": pl.Int64})


def _table(name: str, dtypes: Mapping[str, DataTypeClass] | None = None) -> pl.DataFrame:
    """Read a CSV file of data/ as text, except for the given dtypes. No value becomes null: NA is Namibia."""
    content = files("tranship.schemas").joinpath("data", name).read_bytes()
    return pl.read_csv(content, infer_schema=False, schema_overrides=dtypes, empty_string_is_null=False)
