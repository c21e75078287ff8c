import re
import subprocess
import sys
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tranship.schemas import codes


def code_of(frame: pl.DataFrame, spelling: str) -> str | None:
    found = frame.filter(pl.col("spelling") == spelling)
    return found.item(0, 1) if len(found) else None


def digits(lengths: int) -> set[int]:
    return {n for n in range(32) if lengths >> n & 1}


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (codes.countries, {"spelling": pl.String, "code": pl.String}),
        (codes.timezones, {"spelling": pl.String, "name": pl.String}),
        (codes.languages, {"spelling": pl.String, "code": pl.String}),
        (
            codes.phone_regions,
            {
                **{"country": pl.String, "calling_code": pl.String, "trunk": pl.String},
                **{"lengths": pl.UInt32, "longest": pl.Int64},
            },
        ),
        (codes.phone_prefixes, {"prefix": pl.String, "calling_code": pl.String, "lengths": pl.UInt32}),
    ],
)
def test_a_table_has_its_columns_no_nulls_and_one_row_per_key(table, columns):
    frame = table()
    assert dict(frame.schema) == columns
    assert frame.null_count().sum_horizontal().item() == 0
    assert frame[frame.columns[0]].is_unique().all()


@pytest.mark.parametrize(
    ("frame", "folded"),
    [
        (codes.countries(), pl.col("spelling").str.to_uppercase()),
        (codes.timezones(), pl.col("spelling").str.to_lowercase()),
        (codes.languages(), pl.col("spelling").str.to_lowercase()),
    ],
    ids=["countries", "timezones", "languages"],
)
def test_spellings_are_folded_as_polars_folds_them(frame, folded):
    folded = folded.str.normalize("NFC").str.replace_all(r"\s+", " ").str.strip_chars()
    assert frame.filter(pl.col("spelling") != folded).is_empty()


def test_importing_reads_no_table():
    script = "from tranship.schemas import codes; print(codes._table.__name__, codes.countries.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["_table", "0"]


# Countries


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("UK", "GB"), ("U.K.", "GB"), ("GREAT BRITAIN", "GB"), ("ENGLAND", "GB"), ("SCOTLAND", "GB"),
        ("WALES", "GB"), ("NORTHERN IRELAND", "GB"), ("U.S.", "US"), ("U.S.A.", "US"), ("USA", "US"),
        ("UNITED STATES", "US"), ("UNITED STATES OF AMERICA", "US"), ("DEUTSCHLAND", "DE"), ("RUSSIA", "RU"),
        ("IVORY COAST", "CI"), ("CÔTE D'IVOIRE", "CI"), ("CÔTE D\u2019IVOIRE", "CI"), ("COTE D'IVOIRE", "CI"),
        ("TURKEY", "TR"), ("TÜRKIYE", "TR"), ("TURKIYE", "TR"), ("CZECH REPUBLIC", "CZ"), ("CZECHIA", "CZ"),
        ("SOUTH KOREA", "KR"), ("KOREA, REPUBLIC OF", "KR"), ("KOREA (THE REPUBLIC OF)", "KR"),
        ("REPUBLIC OF KOREA", "KR"), ("NORTH KOREA", "KP"), ("HOLLAND", "NL"), ("THE NETHERLANDS", "NL"),
        ("MACEDONIA", "MK"), ("SWAZILAND", "SZ"), ("BURMA", "MM"), ("MYANMAR", "MM"), ("CAPE VERDE", "CV"),
        ("VIETNAM", "VN"), ("VIET NAM", "VN"), ("LAOS", "LA"), ("SYRIA", "SY"), ("IRAN", "IR"),
        ("TANZANIA", "TZ"), ("BOLIVIA", "BO"), ("VENEZUELA", "VE"), ("MOLDOVA", "MD"), ("UAE", "AE"),
        ("HONG KONG", "HK"), ("MACAU", "MO"), ("MACAO", "MO"), ("TAIWAN", "TW"), ("PALESTINE", "PS"),
        ("VATICAN", "VA"), ("HOLY SEE", "VA"), ("BRUNEI", "BN"), ("EAST TIMOR", "TL"), ("CURACAO", "CW"),
        ("DEMOCRATIC REPUBLIC OF THE CONGO", "CD"), ("REPUBLIC OF THE CONGO", "CG"), ("CONGO", "CG"),
        ("TRINIDAD & TOBAGO", "TT"), ("TRINIDAD AND TOBAGO", "TT"), ("ST LUCIA", "LC"), ("ST. LUCIA", "LC"),
        ("NA", "NA"), ("NAMIBIA", "NA"), ("POLSKA", "PL"), ("ČESKO", "CZ"), ("CESKA REPUBLIKA", "CZ"),
        ("SLOVENSKO", "SK"), ("MAGYARORSZÁG", "HU"), ("NÉMETORSZÁG", "DE"), ("ROMÂNIA", "RO"), ("TÜRKİYE", "TR"),
        ("İSVEÇ", "SE"), ("ΕΛΛΆΔΑ", "GR"), ("ΕΛΛΑΔΑ", "GR"), ("РОССИЯ", "RU"), ("УКРАЇНА", "UA"), ("ГЕРМАНИЯ", "DE"),
        ("SUOMI", "FI"), ("RUOTSI", "SE"), ("日本", "JP"), ("中国", "CN"), ("德國", "DE"), ("대한민국", "KR"),
        ("독일", "DE"), ("المملكة العربية السعودية", "SA"), ("भारत", "IN"), ("ABD", "US"), ("США", "US"),
    ],
)  # fmt: skip
def test_country_spelling(spelling, code):
    assert code_of(codes.countries(), spelling) == code


@pytest.mark.parametrize(
    "spelling",
    ["", "KOREA", "AMERICA", "VIRGIN ISLANDS", "EUROPE", "KONGO", "CR.", "EU", "XX", "N/A", "NONE", "UNKNOWN"],
)
def test_what_is_no_country_or_could_be_two_is_not_there(spelling):
    assert code_of(codes.countries(), spelling) is None


def test_country_codes_are_iso_3166():
    pycountry = pytest.importorskip("pycountry")
    assert codes.country_codes() == {country.alpha_2 for country in pycountry.countries}
    for country in pycountry.countries:
        for spelling in (country.alpha_2, country.alpha_3, country.name.upper()):
            assert code_of(codes.countries(), spelling) == country.alpha_2


# Currencies


def test_currencies_are_those_in_use():
    assert {"EUR", "USD", "XCG", "ZWG", "SLE", "VED", "XAU"} <= codes.currencies()
    assert not {"XXX", "XTS", "DEM", "HRK", "SLL", "ANG", "BGN", "ZWL", ""} & codes.currencies()
    assert all(re.fullmatch("[A-Z]{3}", code) for code in codes.currencies())


# Time zones


def test_zoneinfo_accepts_every_time_zone():
    pytest.importorskip("tzdata")
    for name in codes.timezone_names():
        assert ZoneInfo(name).key == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("america/argentina/buenos_aires", "America/Argentina/Buenos_Aires"),
        ("america/port-au-prince", "America/Port-au-Prince"),
        ("utc", "UTC"),
        ("us/pacific", "US/Pacific"),
    ],
)
def test_time_zone_spelling(spelling, name):
    assert code_of(codes.timezones(), spelling) == name


def test_time_zone_spelling_is_the_name_in_lower_case():
    lowered = pl.col("name").str.to_lowercase()
    assert codes.timezones().filter(pl.col("spelling") != lowered).is_empty()
    assert len(codes.timezone_names()) == len(codes.timezones())


# Languages


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("deu", "de"), ("ger", "de"), ("fra", "fr"), ("fre", "fr"), ("zho", "zh"), ("chi", "zh"),
        ("cze", "cs"), ("gre", "el"), ("eng", "en"), ("por", "pt"), ("german", "de"), ("portuguese", "pt"),
        ("chinese", "zh"), ("english", "en"), ("deutsch", "de"), ("allemand", "de"), ("русский", "ru"), ("greek", "el"), ("farsi", "fa"), ("norwegian bokmål", "nb"),
        ("swahili", "sw"), ("norwegian bokmal", "nb"), ("cantonese", "yue"), ("filipino", "fil"),
        ("brazilian portuguese", "pt-BR"), ("simplified chinese", "zh-Hans"),
        ("enu", "en-US"), ("ptb", "pt-BR"), ("sve", "sv"),
    ],
)  # fmt: skip
def test_language_spelling(spelling, code):
    assert code_of(codes.languages(), spelling) == code


@pytest.mark.parametrize("spelling", ["de", "ga", "fil", "yue", "und", "mul", "xyz", "klingonian", ""])
def test_a_right_code_and_an_unknown_word_are_not_in_the_languages(spelling):
    assert code_of(codes.languages(), spelling) is None


def test_languages_lead_to_the_shortest_well_formed_code():
    targets = set(codes.languages()["code"])
    assert all(re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?", code) for code in targets)
    assert not {code.split("-")[0] for code in targets} & set(codes.languages()["spelling"])


def test_languages_have_every_alpha_3_code_with_a_shorter_one():
    pycountry = pytest.importorskip("pycountry")
    for language in (language for language in pycountry.languages if hasattr(language, "alpha_2")):
        for spelling in {language.alpha_3, getattr(language, "bibliographic", language.alpha_3)}:
            assert code_of(codes.languages(), spelling) == language.alpha_2


# Statuses and what is blocked


def test_status_words_lead_to_statuses_and_are_folded():
    assert set(codes.STATUS_WORDS.values()) == set(codes.STATUSES)
    assert all(codes.STATUS_WORDS[status] == status for status in codes.STATUSES)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", word) for word in codes.STATUS_WORDS)


def test_blocked_values_are_lower_case():
    for words in (
        codes.BLOCKED_EMAILS,
        codes.BLOCKED_EMAIL_LOCALS,
        codes.BLOCKED_IDS,
        codes.EMPTY_WORDS_EMAIL,
    ):
        assert words == {word.strip().lower() for word in words}


# Phones


@pytest.mark.parametrize(
    ("country", "calling_code", "trunk", "lengths"),
    [
        ("US", "1", "1", {10}),
        ("CA", "1", "1", {10}),
        ("GB", "44", "0", {7, 9, 10}),
        ("IT", "39", "", {6, 7, 8, 9, 10, 11, 12}),
        ("HU", "36", "06", {8, 9}),
        ("MX", "52", "", {10}),
        ("BY", "375", "80", {6, 7, 8, 9, 10, 11}),
        ("NA", "264", "0", {8, 9}),
    ],
)
def test_phone_region(country, calling_code, trunk, lengths):
    row = codes.phone_regions().row(by_predicate=pl.col("country") == country, named=True)
    assert (row["calling_code"], row["trunk"], digits(row["lengths"])) == (calling_code, trunk, lengths)


@pytest.mark.parametrize(
    ("prefix", "calling_code"), [("120", "1"), ("799", "7"), ("493", "49"), ("353", "353"), ("800", "800")]
)
def test_phone_prefix(prefix, calling_code):
    row = codes.phone_prefixes().row(by_predicate=pl.col("prefix") == prefix, named=True)
    assert row["calling_code"] == calling_code


@pytest.mark.parametrize("prefix", ["000", "012", "210", "999"])
def test_three_digits_that_no_calling_code_starts_are_not_there(prefix):
    assert codes.phone_prefixes().filter(pl.col("prefix") == prefix).is_empty()


def test_phone_lengths_are_those_the_phonenumbers_package_finds_possible():
    phonenumbers = pytest.importorskip("phonenumbers")
    table = codes.phone_prefixes().unique("calling_code")
    assert set(table["calling_code"]) == {str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE}
    for calling_code, lengths in table.select("calling_code", "lengths").rows():
        possible = {
            n
            for n in range(2, 18)
            if phonenumbers.is_possible_number_with_reason(
                phonenumbers.PhoneNumber(country_code=int(calling_code), national_number=int("2" * n))
            )
            == phonenumbers.ValidationResult.IS_POSSIBLE
        }
        assert digits(lengths) == possible, calling_code


def test_phone_regions_are_those_of_the_phonenumbers_package():
    phonenumbers = pytest.importorskip("phonenumbers")
    table = {row["country"]: row for row in codes.phone_regions().rows(named=True)}
    assert set(table) == phonenumbers.SUPPORTED_REGIONS
    for region, row in table.items():
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        unlike = {"CA": {7}}.get(region, set())  # 310-1234 can be dialled in Canada only
        assert row["calling_code"] == str(metadata.country_code)
        assert digits(row["lengths"]) == set(metadata.general_desc.possible_length) - unlike
        assert row["trunk"] == {"BY": "80"}.get(region, metadata.national_prefix or "")
        kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
        examples = [phonenumbers.example_number_for_type(region, kind) for kind in kinds]
        found = [len(phonenumbers.national_significant_number(number)) for number in examples if number]
        assert row["longest"] == max(found)
