"""Rewrite the code tables of this folder. Run by hand, never by the product:

    pip install pycountry babel faker phonenumbers tzdata tzlocal
    python schemas/data/build.py

The packages are needed here only. The tables are committed; after a run, look through their diff, and bring the
editions in README.md up to the versions this prints.
"""

import csv
import importlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import phonenumbers
import pycountry
from babel import Locale
from babel.core import get_cldr_version
from tzlocal.windows_tz import win_tz

HERE = Path(__file__).parent

# Languages, beside English, in which countries and currencies are recognised.
LANGUAGES = ("de", "fr", "es", "it", "nl", "pt", "pt_PT", "sv", "da", "nb", "nn", "fi")

# Languages in which countries alone are recognised: the others of Europe's states, and the larger ones of the world.
FURTHER_LANGUAGES = (
    *("pl", "cs", "sk", "hu", "ro", "bg", "hr", "sr", "sr_Latn", "sl", "mk", "sq", "el", "tr", "ru", "uk", "be", "lt"),
    *("lv", "et", "is", "ga", "mt", "ca", "az", "ka", "hy", "kk", "ja", "zh", "zh_Hant", "ko", "ar", "he", "fa", "ur"),
    *("hi", "bn", "th", "vi", "id", "ms"),
)

# Scripts whose letters are also written without their accents.
ACCENTED_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC")

# Names that mean another country in another language; both peoples call their country so.
SHARED_COUNTRY_NAMES = {"Kongo"}

# Languages whose letters are counted -> the locales of Faker with words of theirs.
LETTERED = {
    **{"cs": "cs_CZ", "sk": "sk_SK", "pl": "pl_PL", "hu": "hu_HU", "hr": "hr_HR", "sl": "sl_SI", "ro": "ro_RO"},
    **{"tr": "tr_TR", "lt": "lt_LT", "lv": "lv_LV", "et": "et_EE", "sq": "", "de": "de_DE de_AT de_CH"},
    **{"fr": "fr_FR fr_CH fr_CA fr_BE", "es": "es_ES es_MX es_AR es_CL es_CO", "ca": "", "it": "it_IT"},
    **{"pt": "pt_PT pt_BR", "nl": "nl_NL nl_BE", "sv": "sv_SE", "da": "da_DK", "nb": "no_NO", "fi": "fi_FI"},
    **{"is": "is_IS", "ga": "ga_IE", "ru": "ru_RU", "uk": "uk_UA", "bg": "bg_BG", "sr": "", "el": "el_GR"},
}
OWN_SCRIPT = {"ru", "uk", "bg", "sr", "el"}

# Letters that the sources have too rarely.
ACCENTED_WORDS = {
    "it": """
        Forlì Mondovì Cantù Santhià Nardò Muggiò Erbè Calò Cirò Leinì Roè Viù Salò Cefalù Donà Nicolò Niccolò
        Giosuè Noè Mosè Totò Libertà Unità Città Società Università Comunità Attività Scalà Caffè Pietà Virtù
        Gesù Lunedì Martedì Corradò Patanè Badalà Cinà Macrì Crucittì Tripodì Foà Alì Brancà Condò Nicolì Arrò
        Cossù Dessì Cucè Mirò Trinità Giù Più Sarà Metà Perciò Così Laganà Romanò Surfarò Zappalà Cannavò
        Rapisardà Calabrò Nucèra Strà Bagheria Sanità Maestà Carità Qualità Novità
    """,
    "fr": "Œuvre Œuvres Cœur Sœur Sœurs Bœuf Œillets Nœud Vœux Chœur Mœurs Œcuménique",
}

# Common spellings that neither ISO 3166-1 nor CLDR has. Left out, because they are ambiguous:
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

# Spellings of statistical offices (UN M49, World Bank, US Census Bureau, Eurostat), and of the lists in shop systems
# (WooCommerce, Magento, osCommerce), as of 2026-11. "Saint Martin", "Guiana" and similar names are ambiguous.
LISTED_NAMES = {
    "AX": ["Aland Islands", "Åland"],
    "BN": ["Brunei Darrussalam"],
    "BO": ["Bolivia (Plurinational State of)", "Bolivia, Plurinational State"],
    "BQ": ["Caribbean Netherlands", "Bonaire, Saint Eustatius and Saba", "BES Islands"],
    "BS": ["Bahamas, The", "Bahamas (the)"],
    "CC": ["Cocos (Keeling) Islands"],
    "CD": [
        "Congo, Dem. Rep.",
        "Congo, The Democratic Republic of the",
        "Congo, Democratic Republic",
        "Congo (Kinshasa)",
        "Congo, Democratic Republic of the",
    ],
    "CG": ["Congo, Rep.", "Congo (Brazzaville)", "Congo, Republic of", "Congo, Republic of the"],
    "CI": ["Côte d'Ivoire (Ivory Coast)"],
    "CN": ["China, People's Republic of", "People's Republic of China", "China (mainland)", "China, mainland"],
    "CV": ["Cabo Verde"],
    "CZ": ["Czech Rep.", "Czech Republic (Czechia)", "Czechia (Czech Republic)"],
    "DE": ["Germany, Federal Republic of", "Federal Republic of Germany", "Germany (including former GDR)"],
    "EG": ["Egypt, Arab Rep."],
    "FK": ["Falkland Islands (Malvinas)", "Falkland Islands (Islas Malvinas)"],
    "FM": ["Micronesia, Fed. Sts.", "Micronesia (Federated States of)"],
    "FR": ["France, metropolitan", "Metropolitan France"],
    "GB": [
        "United Kingdom of Great Britain and Northern Ireland",
        "United Kingdom (GB)",
        "Great Britain (UK)",
        "UK (United Kingdom)",
        "Gt. Britain",
        "G.B.",
    ],
    "GM": ["Gambia, The", "Gambia, Rep."],
    "HK": [
        "Hong Kong SAR, China",
        "China, Hong Kong SAR",
        "China, Hong Kong Special Administrative Region",
        "Hong Kong S.A.R.",
        "Hong Kong (China)",
        "Hong Kong, China",
    ],
    "IR": ["Iran, Islamic Rep.", "Iran (Islamic Republic of)"],
    "KG": ["Kyrgyz Republic"],
    "KN": ["St. Kitts & Nevis", "Saint Christopher and Nevis"],
    "KP": ["Korea, Dem. People's Rep.", "Korea, North", "Korea (North)", "Democratic People's Republic of Korea"],
    "KR": ["Korea, Rep.", "Korea, South", "Korea (South)", "South Korea (Republic of Korea)"],
    "LA": ["Lao PDR", "Lao People's Democratic Republic"],
    "LY": ["Libyan Arab Jamahiriya"],
    "MD": ["Moldova, Rep.", "Republic of Moldova", "Moldova (Republic of)"],
    "MK": ["Macedonia, FYR", "Macedonia, the former Yugoslav Republic of", "FYR Macedonia"],
    "MM": ["Myanmar (Burma)", "Burma (Myanmar)"],
    "MO": [
        "Macao SAR, China",
        "China, Macao SAR",
        "China, Macao Special Administrative Region",
        "Macau S.A.R.",
        "Macao (China)",
        "Macau, China",
    ],
    "NL": ["Netherlands (Kingdom of the)", "Netherlands (the)", "Netherlands, The", "Kingdom of the Netherlands"],
    "PH": ["Philippines (the)"],
    "PS": ["West Bank and Gaza", "State of Palestine", "Palestinian Territory, Occupied", "Palestinian Territories"],
    "PW": ["Belau"],
    "RU": ["Russian Fed.", "Russia (Russian Federation)"],
    "SH": ["Saint Helena", "Saint Helena, Ascension and Tristan da Cunha"],
    "SK": ["Slovak Republic", "Slovakia (Slovak Republic)", "Slovakia, Republic of"],
    "SX": ["Saint Martin (Dutch part)", "St. Maarten"],
    "SY": ["Syrian Arab Republic"],
    "SZ": ["Swaziland (Eswatini)", "Eswatini (Swaziland)"],
    "TF": ["French Southern & Antarctic Lands"],
    "TR": ["Turkiye, Rep. of", "Türkiye (Turkey)", "Turkey (Türkiye)"],
    "TW": ["Taiwan, Province of China", "Taiwan, China", "Taiwan, R.O.C.", "Republic of China"],
    "TZ": ["Tanzania, United Rep.", "United Republic of Tanzania"],
    "UM": ["United States (US) Minor Outlying Islands", "US Minor Outlying Islands"],
    "US": ["US of A", "United States of America (the)", "United States of America (USA)", "U. S. A.", "Etats-Unis"],
    "VA": ["Holy See (Vatican City State)"],
    "VE": ["Venezuela, RB", "Venezuela (Bolivarian Republic of)"],
    "VG": ["British Virgin Islands", "Virgin Islands (British)", "Virgin Islands, British"],
    "VI": [
        "Virgin Islands (US)",
        "Virgin Islands (U.S.)",
        "Virgin Islands, U.S.",
        "Virgin Islands, US",
        "United States (US) Virgin Islands",
        "United States Virgin Islands",
    ],
    "VN": ["Viet-Nam"],
    "WF": ["Wallis and Futuna Islands"],
    "WS": ["Western Samoa"],
    "YE": ["Yemen, Rep."],
}

# Official long names that pycountry lacks, after the UN's list of formal names and the governments themselves.
OFFICIAL_NAMES = {
    "AU": ["Commonwealth of Australia"],
    "BN": ["Nation of Brunei", "Nation of Brunei, the Abode of Peace", "State of Brunei Darussalam"],
    "CA": ["Dominion of Canada"],
    "CC": ["Territory of Cocos (Keeling) Islands", "Territory of the Cocos (Keeling) Islands"],
    "CV": ["Republic of Cape Verde"],
    "CX": ["Territory of Christmas Island"],
    "ER": ["State of Eritrea"],
    "ET": ["Federal Democratic Republic of Ethiopia"],
    "FJ": ["Republic of the Fiji Islands"],
    "GE": ["Republic of Georgia"],
    "GG": ["Bailiwick of Guernsey"],
    "GM": ["Republic of The Gambia"],
    "GU": ["Territory of Guam"],
    "GY": ["Co-operative Republic of Guyana", "Cooperative Republic of Guyana"],
    "HK": [
        "Hong Kong Special Administrative Region",
        "Hong Kong Special Administrative Region of China",
        "Hong Kong Special Administrative Region of the People's Republic of China",
        "Hong Kong SAR China",
    ],
    "JE": ["Bailiwick of Jersey"],
    "JP": ["State of Japan"],
    "KM": ["Union of Comoros"],
    "KN": ["Federation of Saint Kitts and Nevis", "Federation of Saint Christopher and Nevis"],
    "LY": ["State of Libya"],
    "MM": ["Union of Myanmar", "Union of Burma"],
    "MO": [
        "Macao Special Administrative Region",
        "Macau Special Administrative Region",
        "Macao Special Administrative Region of China",
        "Macao Special Administrative Region of the People's Republic of China",
    ],
    "MV": ["Republic of Maldives"],
    "MY": ["Federation of Malaysia"],
    "NF": ["Territory of Norfolk Island"],
    "NP": ["Federal Democratic Republic of Nepal"],
    "PR": ["Commonwealth of Puerto Rico"],
    "SZ": ["Kingdom of Swaziland"],
    "TG": ["Republic of Togo"],
    "TR": ["Republic of Turkiye"],
    "TW": ["Republic of China (Taiwan)", "Taiwan (Republic of China)"],
    "VA": ["State of the Vatican City", "State of Vatican City"],
    "WF": ["Territory of the Wallis and Futuna Islands"],
}

# Words in the languages above that CLDR does not have.
FOREIGN_ALIASES = {
    "AT": ["Oesterreich"],
    "BE": ["Royaume de Belgique"],
    "BY": ["Weißrussland", "Weissrussland", "Wit-Rusland", "Vitryssland"],
    "CI": ["Elfenbeinküste"],
    "CZ": [
        "Tschechische Republik",
        "République tchèque",
        "República Checa",
        "Repubblica Ceca",
        "Tsjechische Republiek",
    ],
    "DE": ["Bundesrepublik Deutschland", "BRD"],
    "GB": [
        "Großbritannien",
        "Grossbritannien",
        "England (GB)",
        "Vereinigtes Königreich (UK)",
        "Grande-Bretagne",
        "Grande Bretagne",
        "Angleterre",
        "Gran Bretaña",
        "Inglaterra",
        "Gran Bretagna",
        "Inghilterra",
        "Groot-Brittannië",
        "Engeland",
        "Grã-Bretanha",
        "Storbritannien",
        "Storbritannia",
        "Iso-Britannia",
    ],
    "NL": ["Holland", "Hollande", "Holanda", "Olanda", "Niederlande (Holland)"],
    "US": [
        "Vereinigte Staaten von Amerika",
        "Etats Unis",
        "États Unis",
        "Etats-Unis d'Amérique",
        "États-Unis d'Amérique",
        "EE.UU.",
        "EE. UU.",
        "EEUU",
        "Estados Unidos de América",
        "Stati Uniti d'America",
        "Verenigde Staten van Amerika",
        "Estados Unidos da América",
        "Amerikas förenta stater",
        "De forente stater",
    ],
}

# The same of the further languages. Left out because they are codes of other countries without the accent: ČR.
FURTHER_ALIASES = {
    "AE": ["الإمارات", "ОАЭ"],
    "BY": ["Белоруссия"],
    "CN": ["中华人民共和国", "中華人民共和國", "中華人民共和国", "КНР"],
    "CZ": ["Česká republika", "Чешская Республика", "Republika Czeska", "Cseh Köztársaság", "Republica Cehă"],
    "GB": [
        *("Anglia", "Anglie", "Anglicko", "Velká Británie", "Veľká Británia", "Nagy-Britannia", "Marea Britanie"),
        *("Büyük Britanya", "İngiltere", "Μεγάλη Βρετανία", "Αγγλία", "Англия", "Великая Британия", "Англія"),
        *("Engleska", "Velika Britanija", "Велика Британија", "Inglaterra", "英國", "영국", "大不列顛", "英格兰"),
        *("Egyesült Királyság", "Spojené království", "Spojené kráľovstvo", "Zjednoczone Królestwo", "Велика Британія"),
    ],
    "GR": ["Ελληνική Δημοκρατία", "Hellas", "Ellada"],
    "HK": ["香港"],
    "HU": ["Magyar Köztársaság"],
    "JP": ["日本国"],
    "KG": ["Киргизия"],
    "KP": ["북한", "조선민주주의인민공화국", "КНДР", "朝鲜", "朝鮮"],
    "KR": ["한국", "대한민국", "南韓", "南韩", "韓國", "Южная Корея"],
    "MD": ["Молдавия", "Republica Moldova"],
    "MK": ["Македония", "Македонија"],
    "MO": ["澳门", "澳門"],
    "NL": ["Hollandia", "Holandsko", "Голландия", "Ολλανδία", "Голландія", "Olanda", "Hollanda"],
    "PL": ["Rzeczpospolita Polska"],
    "RU": ["Российская Федерация", "РФ", "Російська Федерація"],
    "SA": ["السعودية"],
    "SK": ["Slovenská republika", "Словацкая Республика"],
    "TM": ["Туркмения"],
    "TR": ["Türkiye Cumhuriyeti"],
    "TW": ["台湾", "臺灣", "台灣"],
    "US": [
        *(
            "Stany Zjednoczone Ameryki",
            "Spojené státy americké",
            "Spojené štáty americké",
            "Statele Unite ale Americii",
        ),
        *("Amerikai Egyesült Államok", "Amerika Birleşik Devletleri", "ABD", "SUA", "ΗΠΑ", "США", "САЩ", "САД"),
        *("Ηνωμένες Πολιτείες Αμερικής", "Соединенные Штаты Америки", "Соединённые Штаты Америки"),
        *(
            "Сполучені Штати Америки",
            "Sjedinjene Američke Države",
            "アメリカ",
            "米国",
            "アメリカ合衆国",
            "美國",
            "미국",
        ),
        *("الولايات المتحدة الأمريكية", "ארצות הברית", "美利坚合众国"),
    ],
}

# Rails (ActiveSupport::TimeZone) has names that are neither zones nor their cities; as of 8.0. Left out: Astana, which
# changed its meaning.
RAILS_ZONES = {
    "International Date Line West": "Pacific/Midway",
    "Midway Island": "Pacific/Midway",
    "American Samoa": "Pacific/Pago_Pago",
    "Hawaii": "Pacific/Honolulu",
    "Alaska": "America/Juneau",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
    "Mountain Time (US & Canada)": "America/Denver",
    "Central Time (US & Canada)": "America/Chicago",
    "Eastern Time (US & Canada)": "America/New_York",
    "Atlantic Time (Canada)": "America/Halifax",
    "Arizona": "America/Phoenix",
    "Saskatchewan": "America/Regina",
    "Guadalajara": "America/Mexico_City",
    "Central America": "America/Guatemala",
    "Indiana (East)": "America/Indiana/Indianapolis",
    "Quito": "America/Lima",
    "Newfoundland": "America/St_Johns",
    "Brasilia": "America/Sao_Paulo",
    "Georgetown": "America/Guyana",
    "Greenland": "America/Godthab",
    "Mid-Atlantic": "Atlantic/South_Georgia",
    "Cape Verde Is.": "Atlantic/Cape_Verde",
    "Edinburgh": "Europe/London",
    "Bern": "Europe/Zurich",
    "West Central Africa": "Africa/Algiers",
    "Kyiv": "Europe/Kiev",
    "Pretoria": "Africa/Johannesburg",
    "St. Petersburg": "Europe/Moscow",
    "Abu Dhabi": "Asia/Muscat",
    "Ekaterinburg": "Asia/Yekaterinburg",
    "Islamabad": "Asia/Karachi",
    "Chennai": "Asia/Kolkata",
    "Mumbai": "Asia/Kolkata",
    "New Delhi": "Asia/Kolkata",
    "Sri Jayawardenepura": "Asia/Colombo",
    "Rangoon": "Asia/Rangoon",
    "Hanoi": "Asia/Bangkok",
    "Beijing": "Asia/Shanghai",
    "Chongqing": "Asia/Chongqing",
    "Osaka": "Asia/Tokyo",
    "Sapporo": "Asia/Tokyo",
    "Canberra": "Australia/Melbourne",
    "Solomon Is.": "Pacific/Guadalcanal",
    "New Caledonia": "Pacific/Noumea",
    "Kamchatka": "Asia/Kamchatka",
    "Marshall Is.": "Pacific/Majuro",
    "Wellington": "Pacific/Auckland",
    "Nuku'alofa": "Pacific/Tongatapu",
    "Tokelau Is.": "Pacific/Fakaofo",
    "Chatham Is.": "Pacific/Chatham",
    "Samoa": "Pacific/Apia",
}

# Common names of zones, and the names of American zones in HubSpot, Zendesk and others.
ZONE_ALIASES = {
    "Eastern Time": "America/New_York",
    "Central Time": "America/Chicago",
    "Mountain Time": "America/Denver",
    "Pacific Time": "America/Los_Angeles",
    "Eastern Time (US and Canada)": "America/New_York",
    "Central Time (US and Canada)": "America/Chicago",
    "Mountain Time (US and Canada)": "America/Denver",
    "Pacific Time (US and Canada)": "America/Los_Angeles",
    "Coordinated Universal Time": "UTC",
    "Greenwich Mean Time": "GMT",
    "Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna": "Europe/Berlin",
    "Brussels, Copenhagen, Madrid, Paris": "Europe/Paris",
    "Belgrade, Bratislava, Budapest, Ljubljana, Prague": "Europe/Budapest",
    "Sarajevo, Skopje, Warsaw, Zagreb": "Europe/Warsaw",
    "Dublin, Edinburgh, Lisbon, London": "Europe/London",
    "Helsinki, Kyiv, Riga, Sofia, Tallinn, Vilnius": "Europe/Kiev",
    "Athens, Bucharest": "Europe/Bucharest",
    "Canberra, Melbourne, Sydney": "Australia/Sydney",
    "Chennai, Kolkata, Mumbai, New Delhi": "Asia/Kolkata",
    "Beijing, Chongqing, Hong Kong, Urumqi": "Asia/Shanghai",
    "Osaka, Sapporo, Tokyo": "Asia/Tokyo",
    "Kuala Lumpur, Singapore": "Asia/Singapore",
    "Auckland, Wellington": "Pacific/Auckland",
    "Bangkok, Hanoi, Jakarta": "Asia/Bangkok",
    "Abu Dhabi, Muscat": "Asia/Dubai",
}

# Signs of several currencies, even where CLDR assigns them to one.
SHARED_SIGNS = {"$", "£", "¥", "kr", "kr.", "₩", "лв.", "FCFA", "F\u202fCFA", "fr.", "fr"}

# The languages whose countries have a sign of their own.
SIGN_LANGUAGES = {
    **{"pl": ["PLN"], "cs": ["CZK"], "hu": ["HUF"], "ru": ["RUB"], "tr": ["TRY"], "uk": ["UAH"], "th": ["THB"]},
    "fil": ["PHP"],
}

# Names that people and accounting systems write (QuickBooks, Xero, Zoho) and CLDR lacks.
CURRENCY_ALIASES = {
    "AED": ["UAE Dirham", "Emirati Dirham"],
    "AUD": ["Aussie Dollar"],
    "BRL": ["Real", "Reais"],
    "CHF": ["Swiss Franc", "Franken", "SFr.", "SFr"],
    "CNY": ["Renminbi", "RMB", "Yuan", "Yuan Renminbi", "Chinese Yuan Renminbi"],
    "CZK": ["Koruna česká"],
    "EUR": ["Euros", "EURO", "€ (EUR)"],
    "GBP": ["British Pound Sterling", "Pound Sterling", "Pounds Sterling", "UK Pound", "UK Pound Sterling", "Sterling"],
    "INR": ["Rs."],
    "JPY": ["Yen"],
    "PLN": ["Zloty", "Złoty"],
    "RUB": ["Rouble", "Ruble"],
    "SEK": ["Skr"],
    "USD": ["United States Dollar", "US$", "US-$", "U.S. Dollar", "U.S. Dollars", "American Dollar", "Dollar US"],
    "ZAR": ["Rand"],
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

# Abbreviations of Windows (LOCALE_SABBREVLANGNAME), which Business Central and others export, that ISO 639-2 lacks.
# Left out are those that ISO 639 gives to a language with many speakers (FRS, FRC, ITS).
WINDOWS_LANGUAGES = {
    "chs": "zh-Hans",
    "cht": "zh-Hant",
    "csy": "cs",
    "dea": "de-AT",
    "des": "de-CH",
    "ena": "en-AU",
    "enc": "en-CA",
    "enu": "en-US",
    "esm": "es-MX",
    "esn": "es",
    "esp": "es",
    "frb": "fr-BE",
    "nlb": "nl-BE",
    "plk": "pl",
    "ptb": "pt-BR",
    "ptg": "pt-PT",
    "sky": "sk",
    "sve": "sv",
    "trk": "tr",
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

# Codes that are not a spoken language: undetermined, several, none.
NO_LANGUAGE = {"und", "mul", "mis", "zxx", "root"}

# ISO 4217: no currency, and the code for tests.
NO_CURRENCY = {"XXX", "XTS"}

# Metals, funds and units of account: gold in a column of currencies is a tier of customers.
METALS = {"XAU", "XAG", "XPT", "XPD", "XBA", "XBB", "XBC", "XBD", "XDR", "XSU", "XUA"}

# Belarus dials 8, waits for a tone, then 0 and the number: written 8 029 491-19-11 for +375 29 491 19 11.
# The metadata's trunk is the 8 alone, which would leave the 0 in the number.
TRUNKS = {"BY": "80"}


def plain(name: str) -> str:
    """Return a text without accents: Curaçao -> Curacao."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def respelled(name: str) -> set[str]:
    """Return a name and its common spellings: apostrophe straight or curly, & or and, Saint or St., accents or none."""
    spellings = {unicodedata.normalize("NFC", name)}
    for old, new in RESPELLINGS:
        spellings |= {spelling.replace(old, new) for spelling in spellings}
    return spellings | {plain(spelling) for spelling in spellings}


def one_code_each(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return sorted (spelling, code) with single spaces; two codes for one spelling are refused."""
    codes: dict[str, str] = {}
    for name, code in pairs:
        spelling = " ".join(name.split())
        if codes.setdefault(spelling, code) != code:
            raise ValueError(f"{spelling!r} would mean both {codes[spelling]} and {code}: drop one of them")
    return sorted(codes.items())


def foreign(name: str, pairs: Iterable[tuple[str, str]], known: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs whose spelling means one code. English wins; a spelling with two codes is
    dropped, and listed.
    """
    english = dict(one_code_each(known))
    codes: dict[str, set[str]] = defaultdict(set)
    for spelling, code in pairs:
        codes[" ".join(spelling.split())].add(code)
    for spelling, found in sorted(codes.items()):
        if spelling in english and found != {english[spelling]}:
            print(f"{name}: {spelling} is {english[spelling]} in English, {', '.join(sorted(found))} elsewhere")
        elif len(found) > 1:
            print(f"{name}: dropped {spelling}, which could be {', '.join(sorted(found))}")
    return [(spelling, min(found)) for spelling, found in codes.items() if len(found) == 1 and spelling not in english]


def foreign_country_names() -> Iterator[tuple[str, str]]:
    official = {country.alpha_2 for country in pycountry.countries}
    for language in (*LANGUAGES, *FURTHER_LANGUAGES):
        for code, name in Locale.parse(language).territories.items():
            if code in official and name not in SHARED_COUNTRY_NAMES:
                yield from ((spelling, code) for spelling in in_capitals(name, language))
    for aliases in (FOREIGN_ALIASES, FURTHER_ALIASES):
        for code, names in aliases.items():
            yield from ((spelling, code) for name in names for spelling in in_capitals(name, "", shortest=2))


def in_capitals(name: str, language: str, shortest: int = 4) -> Iterator[str]:
    """Yield the spellings of a name in capitals. Shorter ones of Latin letters look like codes and are left out."""
    spellings = respelled(name) if is_of(name, ACCENTED_SCRIPTS) else {unicodedata.normalize("NFC", name)}
    if language in ("tr", "az"):
        spellings |= {spelling.replace("i", "İ") for spelling in spellings}
    for spelling in (spelling.upper() for spelling in spellings):
        if len(spelling) >= shortest or not is_of(spelling, ("LATIN",)):
            yield spelling


def is_of(text: str, scripts: Sequence[str]) -> bool:
    """Return whether the first letter of a text belongs to one of these scripts."""
    return unicodedata.name(text[0]).startswith(tuple(scripts))


def country_names() -> Iterator[tuple[str, str]]:
    english = Locale("en").territories
    for country in pycountry.countries:
        code = country.alpha_2
        yield from [(code, code), (country.alpha_3, code)]
        names = {country.name, english[code], *COUNTRY_ALIASES.get(code, []), *LISTED_NAMES.get(code, [])}
        names |= {getattr(country, field, country.name) for field in ("common_name", "official_name")}
        official = {*OFFICIAL_NAMES.get(code, []), getattr(country, "official_name", country.name)}
        names |= official | {f"The {name}" for name in official if " of " in name and not name.startswith("The ")}
        names |= {turned for name in official for turned in turned_names(name)}
        if ", " in country.name:  # ISO writes both "Korea, Republic of" and "Korea (the Republic of)"
            first, rest = country.name.split(", ", 1)
            names |= {f"{first} ({rest})", f"{first} (the {rest})"}
        for name in names:
            yield from ((spelling.upper(), code) for spelling in respelled(name))


def turned_names(name: str) -> Iterator[str]:
    """Yield `Australia, Commonwealth of` and `Australia (Commonwealth of)` for `Commonwealth of Australia`."""
    form, of, place = name.partition(" of the " if " of the " in name else " of ")
    if of and " " not in place.removeprefix("United ") and "," not in name and "(" not in name:
        yield from (f"{place}, {form}{of.rstrip()}", f"{place} ({form}{of.rstrip()})")


def language_names() -> Iterator[tuple[str, str]]:
    iso = [language for language in pycountry.languages if hasattr(language, "alpha_2")]
    names = [(language.name, language.alpha_2) for language in iso]
    names += [(name, code.replace("_", "-")) for code, name in Locale("en").languages.items()]
    names += [(name, code) for code, aliases in LANGUAGE_ALIASES.items() for name in aliases]
    for language in iso:
        yield language.alpha_3, language.alpha_2
        if hasattr(language, "bibliographic"):
            yield language.bibliographic, language.alpha_2
    yield from WINDOWS_LANGUAGES.items()
    for name, code in names:
        # Names of two or three letters are left out, as they look like codes: "ga" is Irish, not the language Ga.
        if code not in NO_LANGUAGE and len(name) > 3 and "(" not in name:
            yield from ((spelling.lower(), code) for spelling in respelled(name))


def foreign_language_names() -> Iterator[tuple[str, str]]:
    """Yield the names of languages that have a code of two letters: Deutsch, Allemand, Tedesco."""
    for language in (*LANGUAGES, *FURTHER_LANGUAGES):
        names = Locale.parse(language).languages
        own = language.partition("_")[0]
        for code in names if language in LANGUAGES else [own]:
            if len(code) == 2 and len(names.get(code, "")) > 3:
                yield from ((spelling.lower(), code) for spelling in respelled(names[code]))


def currency_names(official: Sequence[str]) -> list[tuple[str, str]]:
    """Return names and signs that mean one currency, in lower case. `$`, `£`, `¥` and `kr` could be several."""
    codes: dict[str, set[str]] = defaultdict(set)
    for language in ("en", *LANGUAGES):
        locale = Locale.parse(language)
        for code in official:
            displayed = {locale.currencies.get(code, ""), *locale._data["currency_names_plural"].get(code, {}).values()}
            for name in displayed | {plain(name) for name in displayed}:
                if len(name) > 3:
                    codes[name.lower()].add(code)
    for language, of in {"en": official, **SIGN_LANGUAGES}.items():
        signs = Locale(language).currency_symbols
        for code in of:
            if (sign := signs.get(code)) and sign not in SHARED_SIGNS:
                codes[sign.lower()].add(code)
    for code, names in CURRENCY_ALIASES.items():
        for alias in {*names, *map(plain, names)}:
            codes[alias.lower()].add(code)
    known = {code.lower() for code in official}
    return foreign(
        "currency_names.csv", ((name, code) for name in codes for code in codes[name] if name not in known), ()
    )


def zone_names(zones: Sequence[str]) -> list[tuple[str, str]]:
    """Return names of zones that are not IANA names, in lower case: Rails, Windows, and the cities of zones."""
    names = {zone.lower() for zone in zones}
    cities = defaultdict(set)
    places = files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8").splitlines()
    for zone in (line.split("\t")[2] for line in places if not line.startswith("#")):
        cities[zone.rsplit("/", 1)[1].replace("_", " ").lower()].add(zone)
    named = {**RAILS_ZONES, **ZONE_ALIASES, **win_tz}
    found = {name.lower(): zone for name, zone in named.items()}
    found |= {city: next(iter(of)) for city, of in cities.items() if len(of) == 1 and city not in found}
    return one_code_each((name, zone) for name, zone in found.items() if name not in names)


def phone_rows() -> Iterator[tuple[str, int, str, int, int]]:
    for calling_code, regions in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()):
        # A region's lengths count only where its calling code's main region has them too: the package judges likewise.
        # Otherwise, because of Canada's 310-1234, any number without an area code would pass as a number under +1.
        dialled = set(possible_lengths(calling_code, regions[0]))
        for region in regions:
            lengths = dialled & set(possible_lengths(calling_code, region))
            trunk = TRUNKS.get(region) or metadata(calling_code, region).national_prefix or ""
            yield region, calling_code, trunk, sum(1 << length for length in lengths), longest_usual(region, lengths)


def longest_usual(region: str, lengths: set[int]) -> int:
    """Return the number of digits of the longer of the package's examples, a mobile and a fixed line number."""
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


def letter_rows() -> Iterator[tuple[str, str, int, str, str]]:
    """Yield for each language its letters beyond ASCII, how often each was seen in different words, and before and
    behind which others; `_` is the end of a word.
    """
    for language in LETTERED:
        count: Counter[str] = Counter()
        before: dict[str, Counter[str]] = defaultdict(Counter)
        after: dict[str, Counter[str]] = defaultdict(Counter)
        words = {word for text in texts_of(language) for word in re.findall(r"[^\W\d_]+", text.lower())}
        for word in sorted(words):
            if word.isascii() or (language in OWN_SCRIPT and re.search("[a-z]", word)):
                continue
            padded = f"_{word}_"
            for at, letter in enumerate(word, 1):
                if not letter.isascii() and letter not in "ʼʻªº":
                    count[letter] += 1
                    before[letter][padded[at - 1]] += 1
                    after[letter][padded[at + 1]] += 1
        fewest = max(2, count.total() / 2000)
        for letter, number in in_order(count):
            if number >= fewest:
                sides = ("".join(f"{near}{n}" for near, n in in_order(of[letter])) for of in (before, after))
                yield (language, letter, number, *sides)  # type: ignore[misc]


def in_order(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def texts_of(language: str) -> Iterator[str]:
    """Yield names of persons, places, streets and occupations in a language. Romanian is written with cedillas in
    encodings with one byte for each character.
    """
    cedillas = str.maketrans("șțȘȚ", "şţŞŢ")
    for locale in LETTERED[language].split():
        for subject in ("person", "address", "company", "job"):
            try:
                provider = importlib.import_module(f"faker.providers.{subject}.{locale}").Provider
            except ImportError:
                continue
            for name, value in vars(provider).items():
                if not name.startswith("_") and "format" not in name and "romanized" not in name:
                    yield from (text.translate(cedillas) for text in texts_in(value))
    yield from ACCENTED_WORDS.get(language, "").split()
    locale = Locale.parse(language)
    for names in (locale.territories, locale.languages, locale.currencies):
        yield from (text.translate(cedillas) for text in names.values())


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple | set):
        for inner in value:
            yield from texts_in(inner)


def write(name: str, header: tuple[str, ...], rows: Sequence[tuple[str | int, ...]]) -> None:
    with (HERE / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    print(f"{name}: {len(rows)} rows")


def main() -> None:
    zones = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    currencies = {currency.alpha_3 for currency in pycountry.currencies} - NO_CURRENCY
    english = list(country_names())
    others = foreign("countries.csv", foreign_country_names(), english)
    write("countries.csv", ("spelling", "code"), one_code_each([*english, *others]))
    write("currencies.csv", ("code",), [(code,) for code in sorted(currencies)])
    write(
        "currency_names.csv",
        ("spelling", "code"),
        sorted(currency_names([code for code in sorted(currencies) if code not in METALS])),
    )
    write("timezones.csv", ("spelling", "name"), one_code_each((zone.lower(), zone) for zone in zones))
    write("timezone_names.csv", ("spelling", "name"), zone_names(zones))
    spoken = list(language_names())
    also_spoken = foreign("languages.csv", foreign_language_names(), spoken)
    write("languages.csv", ("spelling", "code"), one_code_each([*spoken, *also_spoken]))
    write("phones.csv", ("country", "calling_code", "trunk", "lengths", "longest"), sorted(phone_rows()))
    write("letters.csv", ("language", "letter", "count", "before", "after"), list(letter_rows()))
    for package in ("pycountry", "babel", "faker", "tzdata", "phonenumbers", "tzlocal"):
        print(package, version(package))
    print("CLDR", get_cldr_version())


if __name__ == "__main__":
    main()
