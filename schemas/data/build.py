"""Write the code tables of this folder anew. Run by hand, never by the product:

    pip install pycountry babel phonenumbers tzdata
    python schemas/data/build.py

The packages are needed here only. The tables are committed; after a run, look through their diff, and bring
the editions in README.md up to the versions this prints.
"""

import csv
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import phonenumbers
import pycountry
from babel import Locale
from babel.core import get_cldr_version

HERE = Path(__file__).parent

# Spellings people write that neither ISO 3166-1 nor CLDR has. Left out because they could mean two things:
# America, Korea, Virgin Islands.
COUNTRY_ALIASES = {
    "AE": ["UAE", "U.A.E.", "The United Arab Emirates", "Emirates"],
    "AT": ["Österreich"],
    "AX": ["Aland"],
    "BA": ["Bosnia", "Bosnia-Herzegovina"],
    "BE": ["België", "Belgique"],
    "BR": ["Brasil"],
    "BS": ["The Bahamas"],
    "CC": ["Cocos Islands", "Keeling Islands"],
    "CD": [
        "Democratic Republic of the Congo",
        "Democratic Republic of Congo",
        "DR Congo",
        "D.R. Congo",
        "DRC",
        "Congo (DRC)",
        "Congo-Kinshasa",
        "Zaire",
    ],
    "CF": ["The Central African Republic"],
    "CG": ["Republic of Congo", "Congo-Brazzaville"],
    "CH": ["Schweiz", "Suisse", "Svizzera"],
    "CI": ["Ivory Coast", "The Ivory Coast"],
    "CN": ["PRC", "P.R. China", "PR China", "Mainland China"],
    "CZ": ["The Czech Republic", "Česko"],
    "DE": ["Deutschland"],
    "DK": ["Danmark"],
    "DO": ["The Dominican Republic"],
    "ES": ["España"],
    "FI": ["Suomi"],
    "FK": ["Falklands"],
    "GB": [
        "UK",
        "U.K.",
        "The United Kingdom",
        "The UK",
        "Great Britain",
        "Britain",
        "England",
        "Scotland",
        "Wales",
        "Northern Ireland",
        "United Kingdom (Great Britain)",
    ],
    "GM": ["The Gambia"],
    "HK": ["Hong Kong SAR", "Hongkong"],
    "IE": ["Republic of Ireland", "Eire", "Éire"],
    "IT": ["Italia"],
    "KP": ["DPRK"],
    "KR": ["Republic of Korea", "ROK"],
    "MK": ["Macedonia", "Republic of Macedonia", "FYROM", "The Former Yugoslav Republic of Macedonia"],
    "MM": ["Burma"],
    "MO": ["Macau", "Macau SAR", "Macao SAR"],
    "MV": ["The Maldives"],
    "NL": ["Holland", "The Netherlands", "Nederland"],
    "NO": ["Norge"],
    "PH": ["The Philippines"],
    "PL": ["Polska"],
    "PS": ["Palestine", "Palestinian Territory"],
    "SA": ["KSA"],
    "SC": ["The Seychelles"],
    "SD": ["The Sudan"],
    "SE": ["Sverige"],
    "ST": ["Sao Tome"],
    "SZ": ["Swaziland"],
    "TL": ["East Timor"],
    "TR": ["Turkey", "Republic of Turkey"],
    "TT": ["Trinidad"],
    "UA": ["The Ukraine"],
    "US": [
        "U.S.",
        "U.S.A.",
        "U.S.A",
        "U.S",
        "The United States",
        "The United States of America",
        "The USA",
        "The US",
    ],
    "VA": ["Vatican", "The Vatican", "Holy See", "The Holy See", "Vatican City State"],
    "VC": ["Saint Vincent"],
    "VG": ["BVI"],
    "VI": ["US Virgin Islands", "USVI"],
}

LANGUAGE_ALIASES = {
    "ca": ["Valencian"],
    "es": ["Castilian"],
    "fa": ["Farsi"],
    "kl": ["Greenlandic"],
    "nb": ["Bokmål"],
    "nn": ["Nynorsk"],
    "or": ["Oriya"],
    "si": ["Sinhalese"],
    "sl": ["Slovene"],
    "zh": ["Mandarin"],
}

RESPELLINGS = [
    ("\u2019", "'"),
    ("'", "\u2019"),
    ("&", "and"),
    (" and ", " & "),
    ("St. ", "Saint "),
    ("Saint ", "St. "),
    ("St. ", "St "),
]

# What is not a language someone speaks: undetermined, several, none.
NO_LANGUAGE = {"und", "mul", "mis", "zxx", "root"}

# ISO 4217: no currency, and the code for tests.
NO_CURRENCY = {"XXX", "XTS"}

# Belarus dials 8, waits for a tone, then 0 and the number: written 8 029 491-19-11 for +375 29 491 19 11.
# The metadata's trunk is the 8 alone, which would leave the 0 in the number.
TRUNKS = {"BY": "80"}


def plain(name: str) -> str:
    """Without accents: Curaçao -> Curacao."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def respelled(name: str) -> set[str]:
    """A name and its common ways: apostrophe straight or curly, & or and, Saint or St., accents or none."""
    spellings = {unicodedata.normalize("NFC", name)}
    for old, new in RESPELLINGS:
        spellings |= {spelling.replace(old, new) for spelling in spellings}
    return spellings | {plain(spelling) for spelling in spellings}


def one_code_each(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Sorted (spelling, code) with white space made single; two codes for one spelling are refused."""
    codes: dict[str, str] = {}
    for name, code in pairs:
        spelling = " ".join(name.split())
        if codes.setdefault(spelling, code) != code:
            raise ValueError(f"{spelling!r} would mean both {codes[spelling]} and {code}: drop one of them")
    return sorted(codes.items())


def country_names() -> Iterator[tuple[str, str]]:
    english = Locale("en").territories
    for country in pycountry.countries:
        code = country.alpha_2
        yield from [(code, code), (country.alpha_3, code)]
        names = {country.name, english[code], *COUNTRY_ALIASES.get(code, [])}
        names |= {getattr(country, field, country.name) for field in ("common_name", "official_name")}
        if ", " in country.name:  # ISO writes both "Korea, Republic of" and "Korea (the Republic of)"
            first, rest = country.name.split(", ", 1)
            names |= {f"{first} ({rest})", f"{first} (the {rest})"}
        for name in names:
            yield from ((spelling.upper(), code) for spelling in respelled(name))


def language_names() -> Iterator[tuple[str, str]]:
    iso = [language for language in pycountry.languages if hasattr(language, "alpha_2")]
    names = [(language.name, language.alpha_2) for language in iso]
    names += [(name, code.replace("_", "-")) for code, name in Locale("en").languages.items()]
    names += [(name, code) for code, aliases in LANGUAGE_ALIASES.items() for name in aliases]
    for language in iso:
        yield language.alpha_3, language.alpha_2
        if hasattr(language, "bibliographic"):
            yield language.bibliographic, language.alpha_2
    for name, code in names:
        # Names of two or three letters are left out, they read as codes: "ga" is Irish, not the language Ga.
        if code not in NO_LANGUAGE and len(name) > 3 and "(" not in name:
            yield from ((spelling.lower(), code) for spelling in respelled(name))


def phone_rows() -> Iterator[tuple[str, int, str, int, int]]:
    for calling_code, regions in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()):
        # A region's lengths count only where its calling code's main region has them too: the package judges
        # likewise. Else Canada's 310-1234 would let any number without area code pass as a number under +1.
        dialled = set(possible_lengths(calling_code, regions[0]))
        for region in regions:
            lengths = dialled & set(possible_lengths(calling_code, region))
            trunk = TRUNKS.get(region) or metadata(calling_code, region).national_prefix or ""
            yield region, calling_code, trunk, sum(1 << length for length in lengths), longest_usual(region, lengths)


def longest_usual(region: str, lengths: set[int]) -> int:
    """Digits of the longer one of the package's examples, a mobile and a fixed line number."""
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    examples = [phonenumbers.example_number_for_type(region, kind) for kind in kinds]
    found = [len(phonenumbers.national_significant_number(number)) for number in examples if number]
    return max(found, default=max(lengths))


def metadata(calling_code: int, region: str) -> phonenumbers.PhoneMetadata:
    found = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(calling_code, region)
    if found is None:
        raise LookupError(f"phonenumbers has no metadata for {region} +{calling_code}")
    return found


def possible_lengths(calling_code: int, region: str) -> tuple[int, ...]:
    description = metadata(calling_code, region).general_desc
    return description.possible_length if description else ()


def write(name: str, header: tuple[str, ...], rows: Sequence[tuple[str | int, ...]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    print(f"{name}: {len(rows)} rows")


def main() -> None:
    zones = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    currencies = {currency.alpha_3 for currency in pycountry.currencies} - NO_CURRENCY
    write("countries.csv", ("spelling", "code"), one_code_each(country_names()))
    write("currencies.csv", ("code",), [(code,) for code in sorted(currencies)])
    write("timezones.csv", ("spelling", "name"), one_code_each((zone.lower(), zone) for zone in zones))
    write("languages.csv", ("spelling", "code"), one_code_each(language_names()))
    write("phones.csv", ("country", "calling_code", "trunk", "lengths", "longest"), sorted(phone_rows()))
    for package in ("pycountry", "babel", "tzdata", "phonenumbers"):
        print(package, version(package))
    print("CLDR", get_cldr_version())


if __name__ == "__main__":
    main()
