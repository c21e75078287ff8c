"""The tables that Tranship keeps beside the tables of customers. Messages that list tables leave them out."""

from __future__ import annotations

from typing import Final

from tranship.connectors.databases.history_table import HISTORIES
from tranship.connectors.databases.ledger import LEDGER
from tranship.connectors.databases.quoting import literal
from tranship.connectors.databases.table_mapping import CHANGES, WRITTEN
from tranship.connectors.databases.watermarks import FILES, STATE

OWN_TABLES: Final = ", ".join(map(literal, (LEDGER, WRITTEN, CHANGES, HISTORIES, STATE, FILES)))
"""Their names, as SQL."""
