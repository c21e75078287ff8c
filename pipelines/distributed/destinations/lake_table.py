"""A table of Delta or Iceberg as a destination: `delta://lake/customers`, `iceberg://s3://bucket/customers`.

The customers that change, and no others, are merged into it by one statement: the table has all of a run or nothing.
The log of a Delta table keeps the predicates of that statement, which name the run; in an Iceberg table, its rows do.
So a run that was killed finds out whether it had written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyspark.errors import PySparkException
from pyspark.sql import functions as fn
from pyspark.sql.types import StructType

from tranship.connectors.addresses import redacted, scheme_of
from tranship.connectors.databases.quoting import literal
from tranship.connectors.databases.table_mapping import DELETED, RUN
from tranship.connectors.errors import ConfigError, Interfered, Refused
from tranship.connectors.existing import not_created, will_be_created
from tranship.connectors.files.data_folder import data_folder
from tranship.pipelines.distributed.destinations import comparison, matching, table_columns
from tranship.pipelines.distributed.destinations.comparison import Compared
from tranship.pipelines.distributed.destinations.contract import Planned, Request
from tranship.pipelines.distributed.destinations.table_logs import DeltaLog, IcebergLog, TableLog
from tranship.pipelines.distributed.stage_rows import spark_schema
from tranship.schemas.counted import counted
from tranship.schemas.customer import COLUMNS, KEY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LOGS: Final[Mapping[str, type[TableLog]]] = {"delta": DeltaLog, "iceberg": IcebergLog}
"""Scheme of an address → the log of such a table."""
_ACTION: Final = "_action"
_VIEW: Final = "tranship_changes"
_UNKNOWN: Final = ("DATA_SOURCE_NOT_FOUND", "No data source found")
"""What engines say of a format for which they have no package."""
_CONFLICTS: Final = ("failed to commit transaction", "commit failed", "concurrent", "already exists")
"""What engines say, in lower case, if another program has written the table at the same time."""


def path_of(address: str) -> str:
    """Return the path or URL of the table. A relative path is one of this machine. Raises ConfigError."""
    path = address.partition("://")[2].rstrip("/")
    if not path or "?" in path:
        scheme = scheme_of(address)
        raise ConfigError(
            f"{redacted(address)}: is no address of a table. Write {scheme}:// and its folder: "
            f"{scheme}://lake/customers, {scheme}:///data/customers or {scheme}://s3://bucket/customers"
        )
    return path if scheme_of(path) else str(Path(path).absolute())


def must_be_known(address: str, session: SparkSession) -> None:
    """Raise ConfigError for a table whose format the engine cannot read or write."""
    scheme, shown = scheme_of(address), redacted(address)
    if scheme == "iceberg" and session.conf.get("spark.master", None) is not None:
        raise ConfigError(
            f"{shown}: Apache Spark names Iceberg tables by catalogs, which Tranship does not. Name a table of Delta, "
            "Postgres or a folder of Parquet files, or use --engine sail."
        )
    try:
        session.read.format(scheme).load(path_of(address)).schema  # noqa: B018  (it is asked for)
    except Exception as error:  # errors within Java are none of PySpark
        if any(words in str(error) for words in _UNKNOWN):
            raise ConfigError(
                f"{shown}: this Spark lacks Delta Lake. Start it with the package io.delta:delta-spark of its version, "
                "name a folder of Parquet files, or use --engine sail."
            ) from error
        # A table that does not exist, or is damaged, is another subject.
        if not isinstance(error, PySparkException):
            raise


class LakeTable:
    """One table as a destination. A version that another program has written since the comparison stops the write."""

    def __init__(self, address: str, session: SparkSession, *, create: bool = True) -> None:
        """Raises ConfigError if the engine does not know such tables, or there is none and none may be created."""
        must_be_known(address, session)
        self._where = f"table {redacted(address)}"
        self._path = path_of(address)
        self._session = session
        self._log = LOGS[scheme_of(address)](session, self._path)
        self._format = self._log.format
        self._version: int | None = None
        self._compared: Compared | None = None
        self._fields: tuple[str, ...] = ()
        self._added: list[str] = []
        if not create and self._log.version() is None:
            raise not_created(self._where, "")

    def plan(self, request: Request) -> Planned:
        """Compare the customers with the version of the table that is the newest now."""
        self._compared, self._added = None, []
        self._version = self._log.version()
        if self._version is None:
            self._must_be_free()
            return comparison.all_created(request, (will_be_created(self._where, ""),))
        options = self._log.read_options(self._version)
        table = self._session.read.format(self._format).options(**options).load(self._path)
        table_columns.check_columns(self._where, table)
        missing = table_columns.missing_columns(request, table)
        notes = [f"not stored, no matching column: {', '.join(missing)} (--evolve adds columns)"] if missing else []
        if request.evolve:
            self._added, notes = missing, [f"column {name} is added" for name in missing]
            types = spark_schema(COLUMNS)
            table = table.withColumns({name: fn.lit(None).cast(types[name].dataType) for name in missing})
        self._fields = table_columns.stored(request, table)
        self._compared = comparison.compare(request, table, self._fields, tuple(notes))
        self._must_have_keys(self._compared)
        return self._compared.planned

    def apply(self, request: Request, planned: Planned, /) -> None:
        """Create the table, or merge what changes into it; a plan without changes writes nothing."""
        if self._compared is None:
            self._create(request, planned)
            return
        if self._added:
            self._add_columns()
        if any(planned.counts[action] for action in ("create", "update", "delete")):
            self._merge(request, planned, self._compared)

    def applied(self, run_id: str) -> bool:
        """Return whether the log of the table has this run."""
        return self._log.has_run(run_id)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _must_be_free(self) -> None:
        """Raise ConfigError if the folder of a table that is to be created has other files, which programs that clean
        such tables would remove.
        """
        try:
            names = data_folder(self._path).names()
        except ConfigError:
            # Only the engine reaches it.
            return
        # A run that was killed may have left files of a table.
        strange = [name for name in names if not re.fullmatch(rf"\..*|{self._log.names}", name)]
        if strange:
            raise ConfigError(
                f"{self._where}: its folder has other files, such as {strange[0]}, and no table. Name another folder."
            )

    def _must_have_keys(self, compared: Compared) -> None:
        """Raise Refused if rows cannot be distinguished, since a merge changes all that have a key."""
        odd = compared.repeated_keys()
        if odd:
            raise Refused(
                f"{self._where}: {counted(odd, 'value')} of {KEY} {'occurs' if odd == 1 else 'occur'} in several rows "
                "or is missing. Another program has written it: remove the repeated rows."
            )

    def _create(self, request: Request, planned: Planned) -> None:
        values = {name: fn.col(name) if name in request.columns else fn.lit(None) for name in COLUMNS}
        key = matching.new_key(fn.col("external_id"), fn.col("email"))
        values = {KEY: key, **values, RUN: fn.lit(request.run_id), DELETED: fn.lit(None)}
        rows = request.customers if planned.counts["create"] else request.customers.limit(0)
        created = rows.select(*(table_columns.commented(name, value) for name, value in values.items()))
        with self._telling_conflicts():
            created.write.format(self._format).mode("error").option("userMetadata", request.run_id).save(self._path)

    def _add_columns(self) -> None:
        types = spark_schema(COLUMNS)
        none = self._session.createDataFrame([], StructType([types[name] for name in self._added]))
        with self._telling_conflicts():
            none.write.format(self._format).mode("append").option("mergeSchema", "true").save(self._path)

    def _merge(self, request: Request, planned: Planned, compared: Compared) -> None:
        version = self._log.version()
        expected = (self._version or 0) + (1 if self._added else 0)
        if version != expected:
            raise self._interfered()
        changes = compared.tables.keep("changes", self._changes(request, compared))
        changes.createOrReplaceTempView(_VIEW)
        try:
            with self._telling_conflicts():
                self._session.sql(self._statement(request, planned)).collect()
        finally:
            self._session.catalog.dropTempView(_VIEW)
        self._check_counts(request, planned, self._log.counts(expected + 1, request.run_id))

    def _changes(self, request: Request, compared: Compared) -> DataFrame:
        """Return a line for each row that is created, updated or deleted."""
        written = compared.rows.where(fn.col("action").isin("create", "update"))
        customers = request.customers.select("_row", *self._fields)
        bookkeeping = (fn.lit(request.run_id).alias(RUN), fn.current_timestamp().alias(DELETED))
        both = written.select("_row", "action", "target", "new_key").join(customers, "_row")
        key = fn.coalesce("target", "new_key").alias(KEY)
        brought = both.select(fn.col("action").alias(_ACTION), key, *self._fields, *bookkeeping)
        gone = compared.gone.select(fn.lit("delete").alias(_ACTION), fn.col("target").alias(KEY), *bookkeeping)
        return brought.unionByName(gone, allowMissingColumns=True)

    def _statement(self, request: Request, planned: Planned) -> str:
        run = f"s.{_quoted(RUN)} = {literal(request.run_id)}"
        clauses = {
            "update": f"UPDATE SET {_assigned(self._updated(request, planned))}",
            "delete": f"UPDATE SET {_assigned({name: _of_change(name) for name in (RUN, DELETED)})}",
            "create": _inserted({name: _of_change(name) for name in (KEY, *self._fields, RUN)}),
        }
        if request.hard_delete:
            clauses["delete"] = "DELETE"
        whens = " ".join(
            f"WHEN {'NOT MATCHED' if action == 'create' else 'MATCHED'} AND s.{_ACTION} = {literal(action)} AND {run} "
            f"THEN {clause}"
            for action, clause in clauses.items()
            if planned.counts[action]
        )
        return f"MERGE INTO {self._format}.{_quoted(self._path)} t USING {_VIEW} s ON t.{KEY} = s.{KEY} {whens}"

    def _updated(self, request: Request, planned: Planned) -> dict[str, str]:
        """Return column → its new value, of the columns in which any row changes."""
        changed = [name for name in self._fields if name in planned.changed_fields]
        values = {
            name: _of_change(name) if request.is_erasable(name) else f"coalesce({_of_change(name)}, t.{_quoted(name)})"
            for name in changed
        }
        return values | {RUN: _of_change(RUN), DELETED: "NULL"}

    def _check_counts(self, request: Request, planned: Planned, metrics: Mapping[str, Any] | None) -> None:
        """Raises Interfered if another program wrote a version in between, so that its rows were not compared."""
        if metrics is None:
            raise Interfered(
                f"{self._where}: another program has written it, too, between the comparison and the write. What this "
                "run has written is there; the table is compared again."
            )
        counts, deleted = planned.counts, planned.counts["delete"]
        wanted = {
            "numTargetRowsInserted": counts["create"],
            "numTargetRowsUpdated": counts["update"] + (0 if request.hard_delete else deleted),
            "numTargetRowsDeleted": deleted if request.hard_delete else 0,
        }
        wrong = {name: metrics[name] for name, count in wanted.items() if int(metrics.get(name, count)) != count}
        if wrong:
            raise RuntimeError(f"{wrong} written, {wanted} planned")

    @contextmanager
    def _telling_conflicts(self) -> Iterator[None]:
        try:
            yield
        except PySparkException as error:
            if any(words in str(error).lower() for words in _CONFLICTS):
                raise self._interfered() from error
            raise

    def _interfered(self) -> Interfered:
        return Interfered(f"{self._where}: another program has written it since the comparison.")


def _of_change(name: str) -> str:
    return f"s.{_quoted(name)}"


def _assigned(values: Mapping[str, str]) -> str:
    return ", ".join(f"{_quoted(name)} = {value}" for name, value in values.items())


def _inserted(values: Mapping[str, str]) -> str:
    return f"INSERT ({', '.join(map(_quoted, values))}) VALUES ({', '.join(values.values())})"


def _quoted(identifier: str) -> str:
    return f"`{identifier.replace('`', '``')}`"
