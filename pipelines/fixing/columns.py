"""The columns of a file of rejects to be corrected, beside those of the source."""

from __future__ import annotations

from typing import Final

ACTION: Final = "_action"
"""What is to be done with a row: one of ACTIONS; blank: load it if it was changed."""
RECORD: Final = "_record"
"""The id of the run and the number of the record among its rejects: `20261130T093000-3fa9c1#7`."""
NUMBER: Final = "_number"
"""That number, from 1. It is no column of the file."""
FIXABLE: Final = "_fixable"
"""Whether the values of a record are those from which it is read. It is no column of the file."""
FATE: Final = "_fate"
"""What has become of a reject. It is no column of the file."""

ADDED: Final = (ACTION, "_source", "_line", "_codes", "_reasons", "_text", RECORD)
"""The columns behind those of the source, in order."""

CODES_SHEET: Final = "Codes"
"""The hidden sheet of a workbook with the codes to choose from."""

LOAD, DROP, OPEN = "load", "drop", "leave open"
ACTIONS: Final = (LOAD, DROP, OPEN)
