"""The encoding of a text file by its first bytes, the mark of bytes outside it, and its line ends."""

from __future__ import annotations

import codecs
import re

# A lone surrogate precedes each byte that is invalid in the encoding of the file: it is not valid UTF-8.
BAD_BYTE = "\udcff"
BAD_BYTE_UTF8 = BAD_BYTE.encode(errors="surrogatepass")
SWAPPED_BOM = "\ufffe".encode()
"""A byte-order mark read in the wrong byte order, which is not a valid character."""


def _mark_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101  (only decoders use it)
    shown = "".join(f"\\x{byte:02x}" for byte in error.object[error.start : error.end])
    return BAD_BYTE + shown, error.end


codecs.register_error("tranship-mark", _mark_bad_bytes)


def sniff_encoding(head: bytes) -> str | None:
    """Return the encoding by the first bytes: a BOM, the zeros of UTF-16, UTF-8, else Windows-1252; null if none fits.

    Windows-1252 is accepted only where the bytes, read in it, look like words of western languages. Otherwise the file
    is UTF-8 if its damaged lines are few.
    """
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = head[: len(head) & ~1]
    if sample:
        even, odd = sample[::2].count(0) / (len(sample) / 2), sample[1::2].count(0) / (len(sample) / 2)
        if odd > 0.3 and even < 0.05:
            return "utf-16-le"
        if even > 0.3 and odd < 0.05:
            return "utf-16-be"
    if head.isascii():
        return "utf-8"
    # Patterns search a megabyte in a few milliseconds; a loop over its characters takes ten times as long.
    text = head.decode("utf-8", "surrogateescape")
    damaged = len(_DAMAGED.findall(text))
    # A sequence that is cut off by the end of the sample is not damage.
    if damaged <= 3 and len(_DAMAGED.findall(text[len(text) - damaged :])) == damaged:
        return "utf-8"
    good = len(_BEYOND_ASCII.findall(text)) - damaged
    if good >= damaged:
        return "utf-8"
    if _is_western(head.decode("cp1252", "replace")):
        return "cp1252"
    lines = text.splitlines()
    broken = sum(not line.isascii() for line in lines)
    return "utf-8" if broken <= len(lines) * _MOST_DAMAGED else None


_DAMAGED = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_MOST_DAMAGED = 0.02
_MOST_ODD = 0.25
_CROWDS = re.compile(r"[^\W\d_a-zA-Z]{3,}")
_CAPITAL_WITHIN = re.compile(r"(?<=[a-zß-öø-ÿ])[À-ÖØ-ÞŠŒŽŸ]")
_SIGN_WITHIN = re.compile(
    r"(?<=[^\W\d_])[^\w\s\x00-\x7f’‘·–—­](?=[^\W\d_])|[¹³¿£¥¯¼¾](?=[a-z])|(?<=[^\W\d_]{2})[¹³]|[\ufffdÿ]"
)
_NORDIC = frozenset("åäöÅÄÖ")
_NORDIC_OR_TURKISH = re.compile(r"[þÞðÐýÝ]")
_ACUTE = re.compile(r"[áéíóúæÁÉÍÓÚÆ]")


def _is_western(text: str) -> bool:
    """Return whether text that was read as Windows-1252 looks like a western language.

    In another alphabet nearly all letters are accented ones side by side (`Èâàí`); in one that shares letters with
    Windows-1252 (Polish, Turkish, DOS, Macintosh), signs and capitals occur within words (`£ukasz`, `MŸller`).
    """
    accented = sum(map(str.isalpha, _BEYOND_ASCII.findall(text)))
    crowded = sum(len(run) for run in _CROWDS.findall(text) if not _NORDIC.issuperset(run))
    signs = len(_SIGN_WITHIN.findall(text))
    nordic = max(0, len(_NORDIC_OR_TURKISH.findall(text)) - len(_ACUTE.findall(text)))
    odd = crowded + signs + len(_CAPITAL_WITHIN.findall(text)) + nordic
    return odd <= _MOST_ODD * (accented + signs)


def unix_line_ends(data: bytes) -> bytes:
    """Replace single carriage returns by line feeds; `\\r\\n` is kept, Arrow reads it."""
    return re.sub(rb"\r(?!\n)", b"\n", data) if b"\r" in data else data
