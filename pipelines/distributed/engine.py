"""The session of an engine: an embedded server, a server elsewhere, or Spark on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from msgspec import Struct

from tranship.connectors import known_secrets
from tranship.connectors.errors import ConfigError, MissingDriver, Unreachable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client import ChannelBuilder

    from tranship.pipelines.settings_model import Settings

_CLIENTS: Final = ("pyspark", "grpc", "py4j")
_HERE: Final = ("localhost", "127.0.0.1", "::1")
_SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    # Spark writes another type by default, which has no time zone for other readers.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
_OTHER_JAVA: Final = "Install it, point JAVA_HOME to it, or use --engine sail, which needs none."
_SECONDS: Final = 10
"""Seconds until a connection is open."""
_SECONDS_TO_GREET: Final = 20
"""Seconds until the server has agreed on a protocol."""


class Engine(Struct, frozen=True):
    """A session, whether its tasks run on this machine, and what is to be stopped with it."""

    session: SparkSession
    is_here: bool
    closing: ExitStack

    def close(self) -> None:
        """End the session and the server, if this process started them."""
        self.closing.close()


def start(settings: Settings) -> Engine:
    """Open the session that the settings name. Raises MissingDriver, and Unreachable."""
    with ExitStack() as stack, failures():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if settings.remote is not None or "SPARK_REMOTE" in os.environ:
                    session, is_here = _remote(settings.remote or os.environ["SPARK_REMOTE"], stack)
                elif settings.engine == "sail":
                    session, is_here = _embedded(stack), True
                else:
                    session, is_here = _local(stack)
        except ImportError as error:
            raise needs_extra(settings) from error
        for name, value in _SETTINGS.items():
            session.conf.set(name, value)
        return Engine(session, is_here, stack.pop_all())


def needs_extra(settings: Settings) -> MissingDriver:
    """Return the error for an engine that is not installed."""
    return MissingDriver(f"--engine {settings.engine}: needs an extra: pip install 'tranship[{settings.engine}]'")


def _embedded(stack: ExitStack) -> SparkSession:
    os.environ.setdefault("RUST_LOG", "error")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start(background=True)
    stack.callback(server.stop)
    host, port = server.listening_address
    session, _ = _remote(f"sc://{host}:{port}", stack)
    # The server ends by itself on Ctrl-C, and with this process anyway.
    session.release_session_on_close = False
    return session


def _remote(address: str, stack: ExitStack) -> tuple[SparkSession, bool]:
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client import DefaultChannelBuilder

    try:
        builder = DefaultChannelBuilder(address)
        host, port = urlsplit(address.partition(";")[0]).hostname or "", int(builder.endpoint.rpartition(":")[2])
        _must_answer(builder, host, port)
    except (PySparkException, ValueError) as error:
        # The address may have a token.
        raise ConfigError("--remote, SPARK_REMOTE: is no address of an engine. Write sc://HOST:15002.") from error
    session = SparkSession.builder.remote(address).create()
    stack.callback(_stop, session)
    return session, host in _HERE


def _must_answer(builder: ChannelBuilder, host: str, port: int) -> None:
    """Raise Unreachable if nothing answers at an address, or not like a server of gRPC: the client of Spark would try
    for ten minutes.
    """
    import grpc

    try:
        socket.create_connection((host, port), _SECONDS).close()
        with builder.toChannel() as channel:
            grpc.channel_ready_future(channel).result(_SECONDS_TO_GREET)
    except OSError as error:
        reason = error.strerror or str(error)
    except grpc.FutureTimeoutError:
        reason = "what listens there does not speak its protocol; a server with TLS needs ;use_ssl=true"
    else:
        return
    raise Unreachable(f"sc://{host}:{port}: no engine answers there ({reason}). Check address and network.")


def _stop(session: SparkSession) -> None:
    """End a session. A server that does not answer any more is not asked again and again for ten minutes."""
    session.client.set_retry_policies([])
    session.stop()


def _local(stack: ExitStack) -> tuple[SparkSession, bool]:
    """Return a session within the one that this process has, or one of its own: by default on this machine."""
    from pyspark.sql import SparkSession
    from pyspark.util import is_remote_only

    if is_remote_only():
        raise MissingDriver(
            "--engine spark: only the client of Spark is installed. Name a server, --remote sc://HOST:15002, or start "
            "Spark on this machine: pip install 'tranship[spark]'"
        )
    active = SparkSession.getActiveSession()
    if active is None:
        _must_have_java()
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        stack.enter_context(_silent_on_interrupt())
        builder = SparkSession.builder.config("spark.executorEnv.POLARS_MAX_THREADS", "1")
        active = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
        stack.callback(active.stop)
    with contextlib.suppress(AttributeError):  # a session of Spark Connect
        active = active.newSession()
    return active, str(active.conf.get("spark.master", "")).startswith("local")


@contextmanager
def _silent_on_interrupt() -> Iterator[None]:
    """Keep the client of Java from logging Ctrl-C in the block, with a traceback."""
    root = logging.getLogger()

    def is_wanted(record: logging.LogRecord) -> bool:
        return record.msg != "KeyboardInterrupt while sending command."

    root.addFilter(is_wanted)
    try:
        yield
    finally:
        root.removeFilter(is_wanted)


def _must_have_java() -> None:
    """Raise MissingDriver if Spark would find no Java; its own words would not say so."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else "java"
    if "PYSPARK_GATEWAY_PORT" not in os.environ and shutil.which(program) is None:
        where = f"JAVA_HOME={home} has none" if home else "there is none on the PATH"
        raise MissingDriver(f"--engine spark: needs Java 17 or newer, and {where}. {_OTHER_JAVA}")


@contextmanager
def failures() -> Iterator[None]:
    """Raise an error of the engine in the block as Unreachable."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(_CLIENTS):
            raise
        text = str(error)
        if "No module named 'tranship'" in text:
            raise ConfigError(
                "Tranship is not installed on the machines of the cluster. Install it there in this version."
            ) from error
        if "JAVA_GATEWAY_EXITED" in text:
            raise MissingDriver(
                f"--engine spark: Java did not start; java -version must show 17 or newer. {_OTHER_JAVA}"
            ) from error
        raise Unreachable(f"The engine failed: {_reason(text) or type(error).__name__}. See its logs.") from error


def _reason(text: str) -> str:
    """Return the first line of an error of an engine, and the error of Python in it without its values: they may be
    those of customers.
    """
    first = next(iter(text.strip().splitlines()), "").rstrip(".:")
    within = re.search(r"^Traceback \(most recent call last\):\n(?:\s.*\n)+([\w.]+)", text, re.MULTILINE)
    return known_secrets.safe_message(first)[:300] + (f", {within[1]}" if within else "")
