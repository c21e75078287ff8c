"""Addresses of sources and destinations: redacted for people, decoded, and resolved to tables and files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, unquote, unquote_to_bytes, urlencode

from msgspec import Struct

from tranship.connectors import address_secrets
from tranship.connectors.errors import ConfigError

STANDARD_OUTPUT: Final = "-"
"""The address of standard output, as a destination."""

FRAME: Final = "frame"
DICTS: Final = "dicts"
"""Schemes of the addresses of records that were given in Python."""

_HIDDEN: Final = "***"


def redacted(address: str) -> str:
    """Return an address without its secrets: the password before the host (for other schemes than Postgres, everything
    before the host), values of options that are keys or tokens (of a web address, all values; of a database or a
    provider, all but those of its documented options), and whatever may be a key in the wrong place.

    Every message, log, report and manifest shows addresses this way. Bytes of a file name that are not valid text
    become `\\udcXX`.
    """
    if is_in_python(address):
        return f"<{spooled_records(address).name}>"
    text = address.encode("utf-8", "backslashreplace").decode()
    shown, at = "", 0
    for start, end in address_secrets.spans(text):
        if start >= at:
            shown += text[at:start] + _HIDDEN
            at = end
    return shown + text[at:]


def secrets_in(address: str) -> list[str]:
    """Return the passwords, keys and tokens in an address, as they are written and decoded."""
    if is_in_python(address):
        return []
    found = [address[start:end] for start, end in address_secrets.spans(address, certain=True)]
    # Before a host, the user's name may precede the password.
    found += [text.partition(":")[2] for text in found if ":" in text]
    return [text for text in dict.fromkeys([*found, *map(unquote, found)]) if text and text != _HIDDEN]


class SpooledRecords(Struct, frozen=True):
    """Records that were given in Python: their name for people, and the file that contains them until they are read."""

    path: Path
    name: str
    digest: str = ""
    notes: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The address of the file as a source: `frame://` for Parquet, `dicts://` for JSON Lines."""
        scheme = DICTS if self.path.suffix == ".jsonl" else FRAME
        about = [("name", self.name), ("digest", self.digest), *(("note", note) for note in self.notes)]
        return f"{scheme}://{quote(os.fsencode(self.path))}?{urlencode(about)}"


def is_in_python(address: str) -> bool:
    """Return whether this is the address of `SpooledRecords`."""
    return address.startswith((f"{FRAME}://", f"{DICTS}://"))


def spooled_records(address: str) -> SpooledRecords:
    """Return the records that have this address."""
    path, _, about = address.partition("://")[2].partition("?")
    found = parse_qs(about)
    name, digest = (found.get(key, [""])[0] for key in ("name", "digest"))
    return SpooledRecords(Path(os.fsdecode(unquote_to_bytes(path))), name, digest, tuple(found.get("note", ())))


def scheme_of(spec: str) -> str:
    """Return the scheme of an address: `s3` for `s3://bucket/key`, empty for a path."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", spec)
    return found[1].lower() if found else ""


def percent_decoded(spec: str, text: str) -> str:
    """Decode a piece of an address; `+` is a plus sign and a lone `%` stays. Raises ConfigError."""
    try:
        plain = unquote(text, errors="strict")
        plain.encode()
    except UnicodeError as error:
        raise ConfigError(f"{spec!a}: is not UTF-8.") from error
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", plain):
        raise ConfigError(f"{spec!a}: contains a control character.")
    return plain


def schema_and_table(spec: str, name: str) -> tuple[str | None, str]:
    """Split `table`, `schema.table` or `"odd.schema"."odd.table"` into schema and table. Raises ConfigError."""
    part = r'("(?:[^"]|"")+"|[^".][^.]*)'
    match = re.fullmatch(rf"(?:{part}\.)?{part}", name, re.DOTALL)
    if not match:
        raise ConfigError(
            f'{redacted(spec)}: {name!r} is not a table name. Use table or schema.table, and "a.b" for dots in a name.'
        )
    schema, table = (
        part[1:-1].replace('""', '"') if part and part.startswith('"') else part for part in match.groups()
    )
    return schema, table or ""


def is_same_file(path: Path, other: Path) -> bool:
    """Return whether two paths are the same file, including through links, or in another case where the file system
    ignores case."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def local_path(spec: str) -> Path:
    """Return the path that an address is. `~` and `~ann` are home directories; other names may begin with `~` as well,
    as those of Excel's lock files do.
    """
    return Path(os.path.expanduser(spec))  # noqa: PTH111  (Path.expanduser raises for an unknown user)


def own_path(text: str) -> str:
    """Return the path of files of Tranship's own, such as the state directory. Raises ValueError for a URL.

    It is absolute where a library could take it for something else: `a:b` for a URL, `~a` for a home directory.
    """
    if "://" in text:
        raise ValueError("is a URL; give a path on this machine")
    path = local_path(text)
    return str(path.absolute() if ":" in str(path) or str(path).startswith("~") else path)


def resolved_path(path: Path) -> Path:
    """Return one path for all spellings of it: absolute and without links, whether or not the file exists."""
    try:
        return local_path(str(path)).resolve()
    except (OSError, RuntimeError, ValueError):
        # A loop of links: opening the file fails with a message.
        return path.absolute()
