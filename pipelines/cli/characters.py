"""Characters that the encoding of a stream lacks: signs of Tranship get a stand-in in ASCII, letters are spelled out.

Printing must never fail because of the locale, and a question mark would not say what was there.
"""

from __future__ import annotations

import codecs
import locale
import os
import sys
from typing import Final, TextIO

STAND_INS: Final = {
    "→": "->",
    "·": "|",
    "…": "...",
    "×": "x",
    "–": "-",
    "—": "-",
    "≈": "~",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "„": '"',
}
ERRORS: Final = "tranship.stand_ins"
"""The name under which `codecs` knows the handler."""


def encoding(stream: TextIO | None) -> str:
    """Return the encoding for a standard stream.

    In the locale C, Python writes UTF-8 unless told otherwise. Whoever sets LC_ALL=C says that the terminal, or the
    reader of a pipe, understands ASCII only.
    """
    said = "PYTHONUTF8" in os.environ or "PYTHONIOENCODING" in os.environ or "utf8" in sys._xoptions
    if sys.flags.utf8_mode and not said and codecs.lookup(locale.getencoding()).name == "ascii":
        return "ascii"
    return stream.encoding if stream else "utf-8"


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(STAND_INS.get(sign) or ascii(sign)[1:-1] for sign in missing), error.end


codecs.register_error(ERRORS, _stand_in)
