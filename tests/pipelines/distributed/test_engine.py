"""The session of an engine: messages about a wrong address, another program there, and a machine without Java."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.engines import IS_SPARK
from support.served import nobody
from tranship.connectors.errors import ConfigError, MissingDriver, Unreachable
from tranship.pipelines.distributed import engine
from tranship.pipelines.settings import load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.skipif(IS_SPARK, reason="one client of Spark Connect is enough")


def start(remote: str | None) -> None:
    given = {"source": "in.csv", "destination": "out", "engine": "sail", "remote": remote}
    engine.start(load(given, {})).close()


@pytest.mark.parametrize("address", ["sc://", "sc://h:abc", "sc://h:99999", "sc://h/path", "sc://h/;x", "sc://[::1"])
def test_what_is_no_address_is_refused(spark: SparkSession, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_REMOTE", address)
    with pytest.raises(
        ConfigError, match=r"^--remote, SPARK_REMOTE: is no address of an engine\. Write sc://HOST:15002"
    ):
        start(None)


def test_the_token_of_an_address_is_not_repeated(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    with nobody() as url:
        absent = url.replace("http", "sc")
        for address, kind in (("sc://h/x;token=s3cret", ConfigError), (f"{absent}/;token=s3cret", Unreachable)):
            monkeypatch.setenv("SPARK_REMOTE", address)
            with pytest.raises(kind) as refused:
                start(None)
            assert "s3cret" not in str(refused.value)


def test_another_program_that_answers_is_no_engine(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_SECONDS_TO_GREET", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        message = f"sc://{host}:{port}: no engine answers there (what listens there does not speak its protocol;"
        with pytest.raises(Unreachable, match=re.escape(message)):
            start(f"sc://{host}:{port}")


@pytest.mark.parametrize(
    ("home", "message"),
    [(None, "there is none on the PATH"), ("{}", "JAVA_HOME={} has none"), ("", "none on the PATH")],
)
def test_a_machine_without_java_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None, message: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("JAVA_HOME", home.format(tmp_path))
    with pytest.raises(MissingDriver, match=re.escape(message.format(tmp_path))):
        engine._must_have_java()
    # A program that Spark has started has its Java already.
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    engine._must_have_java()


def test_java_that_does_not_start_is_named() -> None:
    kind = type("PySparkRuntimeError", (Exception,), {"__module__": "pyspark.errors.exceptions.base"})
    with pytest.raises(MissingDriver, match="Java did not start; java -version must show 17"), engine.failures():
        raise kind("[JAVA_GATEWAY_EXITED] Java gateway process exited before sending its port number.")
    with pytest.raises(Unreachable, match=r"^The engine failed: It broke\. See its logs\.$"), engine.failures():
        raise kind("It broke.")
    text = "An exception was thrown from the Python worker:\nTraceback (most recent call last):\n  File x\n    y\n"
    with (
        pytest.raises(Unreachable, match=r"^The engine failed: .* the Python worker, pl\.Oops\. See its logs\.$"),
        engine.failures(),
    ):
        raise kind(f"{text}pl.Oops: jane@acme.com\n\nJVM stacktrace:\n")


def test_ctrl_c_is_not_logged_by_the_client_of_java(caplog: pytest.LogCaptureFixture) -> None:
    words = "KeyboardInterrupt while sending command."
    with engine._silent_on_interrupt():
        logging.getLogger().error(words)
        logging.getLogger().error("another one")
    assert caplog.messages == ["another one"]
