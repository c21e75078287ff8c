"""The formats that are not read, and those that are recognised despite their names: the only table of them.

A file is recognised by its first bytes; its name counts only if these are inconclusive. The message about an
unsupported format names it, and how to convert the file.
"""

from __future__ import annotations

import codecs
import re
import shlex
from typing import Final

import msgspec
from msgspec import Struct

from tranship.connectors.errors import ConfigError

HEAD_BYTES: Final = 1 << 14
"""Bytes of the contents, decompressed, that are enough to recognise every format."""
_AS_CSV: Final = "Open it in a spreadsheet program and save the sheet as CSV"
_UNPACK: Final = "Unpack it and name the files in it"


class Format(Struct, frozen=True):
    """A file format: its name, how it is recognised, and the advice about such a file."""

    what: str
    """With its article: `a SQLite database`."""
    way_out: str
    """The advice; `{file}` is its name, quoted for a shell, and `{path}` the same without quotes."""
    magic: tuple[bytes, ...] = ()
    """Any of these bytes, from `offset` on."""
    offset: int = 0
    text: re.Pattern[str] | None = None
    """How its text begins, after blanks and a byte-order mark."""
    suffixes: tuple[str, ...] = ()
    """Ends of its names, in lower case; where it has no `text`, they count only for what is not text."""
    reader: str = ""
    """The suffix of the connector that reads it, if there is one."""


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(rf"\A(?:{text})", re.IGNORECASE | re.DOTALL)


DUCKDB: Final = Format(
    "a DuckDB database", "To use a table in it, write duckdb:///{path}?table=NAME", magic=(b"DUCK",), offset=8
)
PARQUET: Final = Format("a Parquet file", "Name it .parquet", magic=(b"PAR1",), reader=".parquet")
JSON: Final = Format("JSON", "Name it .json", reader=".json")
EXCEL: Final = Format("an Excel workbook", _AS_CSV, suffixes=(".xlsx", ".xlsm"), reader=".xlsx")
ZIP: Final = Format("a zip archive", _UNPACK, magic=(b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), suffixes=(".zip",))
OPEN_DOCUMENT: Final = Format("an OpenDocument spreadsheet", _AS_CSV, suffixes=(".ods", ".fods", ".sxc"))
BINARY_EXCEL: Final = Format("a binary Excel workbook (.xlsb)", _AS_CSV, suffixes=(".xlsb",))
WORD: Final = Format(
    "a word processor document", "Copy its table into a spreadsheet and save that as CSV", suffixes=(".docx", ".odt")
)
SLIDES: Final = Format(
    "a presentation", "Export the customers as CSV from the program that has them", suffixes=(".pptx", ".odp", ".key")
)
NUMBERS: Final = Format("an Apple Numbers document", "Export it: File > Export To > CSV", suffixes=(".numbers",))

_SQL_COMMENTS: Final = r"(?>\s|--[^\n]*\n|\#[^\n]*\n|/\*.*?\*/;?)*+"
_SQL: Final = (
    r"(?:CREATE\s+(?:TABLE|DATABASE|SCHEMA|TYPE|SEQUENCE|EXTENSION)|INSERT\s+INTO|DROP\s+(?:TABLE|DATABASE)|"
    r"SET\s+[@\w.]+\s*(?:=|TO\s)|PRAGMA\s+\w+\s*=|BEGIN(?:\s+TRANSACTION)?;|START\s+TRANSACTION|LOCK\s+TABLES|"
    r"USE\s+[`\[\w]+;|COPY\s+\S+\s*\(|SELECT\s+pg_catalog)"
)

FORMATS: Final = (
    PARQUET,
    ZIP,
    Format(
        "a SQLite database",
        "Export the table: sqlite3 -header -csv {file} 'select * from customers' > customers.csv",
        magic=(b"SQLite format 3\0",),
        suffixes=(".sqlite", ".sqlite3"),
    ),
    DUCKDB,
    Format(
        "an Access database",
        "Export the table as CSV in Access, or: mdb-export {file} customers > customers.csv",
        magic=(b"\0\1\0\0Standard Jet DB", b"\0\1\0\0Standard ACE DB"),
        suffixes=(".mdb", ".accdb"),
    ),
    Format(
        "an old Office document (.xls, .doc or .msg), or one with a password",
        _AS_CSV,
        magic=(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",),
    ),
    Format(
        "an old Excel workbook",
        _AS_CSV,
        magic=(b"\x09\x08\x10\0", b"\x09\x08\x08\0", b"\x09\x04\x06\0", b"\x09\x02\x06\0", b"\x09\0\x04\0"),
        suffixes=(".xls", ".xlt"),
    ),
    BINARY_EXCEL,
    OPEN_DOCUMENT,
    WORD,
    SLIDES,
    NUMBERS,
    Format("an encrypted Parquet file", "Decrypt it first", magic=(b"PARE",)),
    Format(
        "an Avro file",
        "Convert it: duckdb -c \"load avro; copy (from read_avro('{path}')) to 'customers.parquet'\"",
        magic=(b"Obj\x01",),
        suffixes=(".avro",),
    ),
    Format(
        "an Arrow or Feather file",
        "Convert it in Python: polars.read_ipc({path!r}).write_parquet('customers.parquet')",
        magic=(b"ARROW1\0\0", b"FEA1", b"\xff\xff\xff\xff"),
        suffixes=(".arrow", ".feather", ".ipc"),
    ),
    Format(
        "an ORC file",
        "Convert it in Python: pandas.read_orc({path!r}).to_parquet('customers.parquet')",
        magic=(b"ORC\x08", b"ORC\x0a", b"ORC\x12", b"ORC\0"),
        suffixes=(".orc",),
    ),
    Format(
        "a Python pickle, which can run code when it is opened",
        "If you trust it, convert it in Python: pandas.read_pickle({path!r}).to_parquet('customers.parquet')",
        magic=(b"\x80\x02", b"\x80\x03", b"\x80\x04\x95", b"\x80\x05\x95"),
        suffixes=(".pkl", ".pickle"),
    ),
    Format(
        "an HDF5 file",
        "Convert it in Python: pandas.read_hdf({path!r}).to_parquet('customers.parquet')",
        magic=(b"\x89HDF\r\n\x1a\n",),
        suffixes=(".h5", ".hdf5"),
    ),
    Format("an SPSS file", "Export it as CSV", magic=(b"$FL2", b"$FL3"), suffixes=(".sav", ".zsav")),
    Format("a Stata file", "Export it as CSV", magic=(b"<stata_dta>",), suffixes=(".dta",)),
    Format("a SAS file", "Export it as CSV", suffixes=(".sas7bdat", ".xpt")),
    Format("a dBase table", _AS_CSV, suffixes=(".dbf",)),
    Format("a file that is compressed twice", "Decompress it once", magic=(b"\x1f\x8b", b"\x28\xb5\x2f\xfd")),
    Format("a bzip2 file", "Decompress it: bunzip2 -k {file}", magic=tuple(b"BZh%d" % n for n in range(1, 10))),
    Format("an xz file", "Decompress it: unxz -k {file}", magic=(b"\xfd7zXZ\0",), suffixes=(".xz", ".lzma")),
    Format("an lz4 file", "Decompress it: unlz4 {file}", magic=(b"\x04\x22\x4d\x18",), suffixes=(".lz4",)),
    Format("a brotli file", "Decompress it: brotli -d {file}", suffixes=(".br",)),
    Format("a snappy file", "Decompress it first", magic=(b"\xff\x06\0\0sNaPpY",), suffixes=(".sz", ".snappy")),
    Format("a compress (.Z) file", "Decompress it: uncompress {file}", magic=(b"\x1f\x9d",)),
    Format("a 7z archive", f"{_UNPACK}: 7z x {{file}}", magic=(b"7z\xbc\xaf\x27\x1c",), suffixes=(".7z",)),
    Format("a RAR archive", f"{_UNPACK}: unrar x {{file}}", magic=(b"Rar!\x1a\x07",), suffixes=(".rar",)),
    Format("a tar archive", f"{_UNPACK}: tar xf {{file}}", magic=(b"ustar",), offset=257, suffixes=(".tar", ".tgz")),
    Format("a Windows cabinet", _UNPACK, magic=(b"MSCF\0",), suffixes=(".cab",)),
    Format(
        "a PDF",
        "There is no table in it to read: export the customers as CSV",
        text=_pattern("%PDF-"),
        magic=(b"%PDF-",),
        suffixes=(".pdf",),
    ),
    Format(
        "an image",
        "There is no table in it to read: export the customers as CSV",
        magic=(
            *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\1\0"),
            *(b"\0\0\0\x18ftyp", b"\0\0\0\x1cftyp", b"\0\0\0\x20ftyp", b"\0\0\0\x24ftyp"),
        ),
        suffixes=(".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".webp", ".heic", ".ico"),
    ),
    Format(
        "a PostgreSQL dump",
        "Restore it and give the table's address, or: pg_restore --data-only -t customers -f - {file}",
        magic=(b"PGDMP",),
    ),
    Format(
        "an encrypted file",
        "Decrypt it first",
        magic=(b"age-encryption.org/", b"Salted__"),
        text=_pattern(r"-----BEGIN (?:PGP MESSAGE|AGE ENCRYPTED FILE|CMS|PKCS7)-----"),
        suffixes=(".gpg", ".pgp", ".age", ".p7m"),
    ),
    Format(
        "a QuickBooks company file",
        "Export the customers in QuickBooks: Customers > Customer Center > Excel > Export Customer List",
        suffixes=(".qbw", ".qbb", ".qbm"),
    ),
    Format("an RTF document", "Copy its table into a spreadsheet and save that as CSV", text=_pattern(r"\{\\rtf")),
    Format(
        "a web page (HTML)",
        "If it is a table saved as .xls, open it in a spreadsheet program and save it as CSV; if it is a login or "
        "sharing page, download the file itself",
        text=_pattern(
            r"(?><\?xml[^>]*>\s*|<!--.*?-->\s*)*+<(?:!doctype\s+html|html|head|body|table|meta|style|script|title|div)\b"
        ),
        suffixes=(".html", ".htm", ".xhtml", ".mht", ".mhtml"),
    ),
    Format(
        "an XML spreadsheet of Excel",
        _AS_CSV,
        text=_pattern(r"<\?xml(?:(?!<\w).)*?(?:<\?mso-application\s+progid=\"Excel|<(?:\w+:)?Workbook\b)"),
    ),
    Format(
        "XML",
        "Export the customers as CSV or JSON",
        text=_pattern(r"<\?xml\b|<!DOCTYPE\b|<[A-Za-z_][\w.:-]*(?:\s+[\w.:-]+\s*=\s*[\"'][^<]*)?/?>\s*<"),
        suffixes=(".xml",),
    ),
    Format(
        "a vCard file",
        "Import it into a contacts program and export the contacts as CSV",
        text=_pattern("BEGIN:VCARD"),
        suffixes=(".vcf", ".vcard"),
    ),
    Format("a calendar", "There are no customers in it", text=_pattern("BEGIN:VCALENDAR"), suffixes=(".ics",)),
    Format(
        "an LDIF file",
        "Export the entries as CSV",
        text=_pattern(r"(?>\#[^\n]*\n|version:\s*\d+\s|\s)*+dn::?\s*\S[^\n]*\n\s?[\w;-]+:"),
        suffixes=(".ldif",),
    ),
    Format(
        "a mailbox",
        "Export the customers as CSV",
        text=_pattern(r"From \S+ +\w{3} \w{3} [ \d]\d \d\d:\d\d"),
        suffixes=(".mbox", ".eml", ".pst"),
    ),
    Format(
        "a QuickBooks IIF file",
        "Export the customers as CSV: Customers > Customer Center > Excel > Export Customer List",
        text=_pattern(r"!(?:HDR|CUST|VEND|ACCNT|TRNS|SPL|INVITEM|OTHERNAME|CTYPE|EMP)\t"),
        suffixes=(".iif",),
    ),
    Format(
        "a bank statement (OFX)", "There are no customers in it", text=_pattern("OFXHEADER:"), suffixes=(".ofx", ".qbo")
    ),
    Format(
        "an SQL dump",
        "Load it into its database and give the table's address, or export the table as CSV",
        text=_pattern(_SQL_COMMENTS + _SQL),
        suffixes=(".sql",),
    ),
    Format(
        "YAML", "Convert it to JSON", text=_pattern(r"%YAML\s|---\r?\n(?:\s|-\s|[\w-]+:\s)"), suffixes=(".yaml", ".yml")
    ),
)
"""In the order in which they are tried."""

_JSON_BEGINS: Final = re.compile(
    r'\A(?:\{\s*"(?:[^"\\]|\\.)*"\s*:|\[\s*(?:\{\s*(?:"(?:[^"\\]|\\.)*"\s*:|\})|\]\s*\Z))', re.DOTALL
)
_NOT_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def recognise(head: bytes, name: str) -> Format | None:
    """Return the format of a file with these first bytes, decompressed, and this name; null for what may be CSV."""
    for found in FORMATS:
        if found.magic and head[found.offset :].startswith(found.magic) and not _is_only_text(found, head):
            return found
    text = _text_of(head)
    if text is None:
        return _named(name, text=False)
    if _JSON_BEGINS.match(text) or _is_json_line(text):
        return JSON
    begins = next((found for found in FORMATS if found.text and found.text.match(text)), None)
    return begins or _named(name, text=True)


def _is_only_text(found: Format, head: bytes) -> bool:
    """Return whether a text only begins like a binary format: `DUCK` may be in a header."""
    letters = any(magic.isascii() and magic.decode().isprintable() for magic in found.magic)
    return letters and not _NOT_TEXT.search(head)


def _text_of(head: bytes) -> str | None:
    """Return the beginning of a text without byte-order mark and blanks, null for binary data."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "replace").lstrip()
    even, odd = head[:200:2].count(0), head[1:200:2].count(0)
    if head and max(even, odd) > 0.15 * len(head[:200]):
        encoding = "utf-16-be" if even > odd else "utf-16-le"
        text = head[: len(head) & ~1].decode(encoding, "replace")
        return None if re.search("[\0-\x08\ufffd]", text) else text.lstrip()
    return None if len(_NOT_TEXT.findall(head[:4096])) > len(head[:4096]) / 10 else head.decode("latin-1").lstrip()


def _is_json_line(text: str) -> bool:
    line = text.partition("\n")[0]
    if not line.startswith(("{", "[")):
        return False
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False


def _named(name: str, *, text: bool) -> Format | None:
    """Return the format that a name belongs to; where the contents are text, only if the format is text."""
    lower = name.lower()
    for end in ("", ".gz", ".zst"):
        plain = lower.removesuffix(end)
        for found in FORMATS:
            if found.suffixes and plain.endswith(found.suffixes) and (found.text or not text):
                return found
    return None


def refusal(found: Format, name: str) -> ConfigError:
    """Return the error for a file of an unsupported format; `name` is its name in messages."""
    path = name.rpartition("/")[2] if ".zip/" in name else name
    way_out = found.way_out.format(file=shlex.quote(path), path=path)
    if ".zip/" in name:
        way_out = f"Unpack the archive first. {way_out}"
    return ConfigError(f"{name}: is {found.what}, which is not supported. {way_out}.")
