"""Open the table behind an address that an engine writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tranship.connectors import opening
from tranship.connectors.addresses import redacted, scheme_of
from tranship.connectors.errors import ConfigError
from tranship.pipelines.distributed.destinations.contract import Destination
from tranship.pipelines.distributed.destinations.lake_table import LOGS, LakeTable
from tranship.pipelines.distributed.destinations.postgres import PostgresOnEngine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_POSTGRES: Final = ("postgresql", "postgres")


def open_table(address: str, session: SparkSession, options: Mapping[str, Any]) -> Destination:
    """Open the table to write to, with the options of `connectors.opening.open_destination`. Raises ConfigError or
    ConnectorError.
    """
    scheme = scheme_of(address)
    if scheme in LOGS:
        return LakeTable(address, session, create=options["create"])
    if scheme in _POSTGRES:
        return PostgresOnEngine(address, opening.open_destination(address, options))
    raise ConfigError(
        f"{redacted(address)}: an engine writes tables of Delta (delta://lake/customers), Iceberg "
        "(iceberg://lake/customers) and Postgres (postgresql://host/database?table=customers). Name one, or write it "
        "from one machine: leave --engine out."
    )
