"""A cluster of Apache Spark on this machine, started with the commands of `examples/compose`: a master, two workers and a
server for Spark Connect, each a process of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from support.engines import BRIEF_JAVA, PACKAGES, ROOT

PATIENCE = 600
"""Seconds for a process to say that it is ready."""
WORKERS = ("worker-1", "worker-2")


@dataclass(frozen=True)
class Cluster:
    """The address of the server, and the folders of the workers, which have the logs of their executors."""

    address: str
    workers: tuple[Path, ...]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster on free ports; its files are in a folder."""
    text = (ROOT / "examples" / "compose" / "compose.yaml").read_text(encoding="utf-8")
    services = yaml.safe_load(text)["services"]
    here = ["--host", "127.0.0.1", "--webui-port", "0"]
    with ExitStack() as running:
        command = [
            word.replace("master", "127.0.0.1").replace("7077", "0") for word in services["master"]["command"][2:]
        ]
        start = [*services["master"]["command"][:2], *command, "--webui-port", "0"]
        master = running.enter_context(_started(start, r"spark://127\.0\.0\.1:\d+", folder / "master.log"))
        for name in WORKERS:
            *start, _ = services[name]["command"]
            start += [*here, "--work-dir", str(folder / name), master]
            running.enter_context(_started(start, "Successfully registered", folder / f"{name}.log"))
        *start, resource = services["connect"]["command"]
        start = [master if word.startswith("spark://") else word for word in start]
        settings = {"spark.connect.grpc.binding.port": 0, "spark.connect.grpc.binding.address": "127.0.0.1"}
        settings |= {"spark.ui.enabled": "false", "spark.cores.max": 2, "spark.executor.cores": 1}
        settings |= {f"spark.{of}.extraJavaOptions": BRIEF_JAVA for of in ("driver", "executor")}
        start += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        ready = r"started at: 127\.0\.0\.1:\d+"
        told = running.enter_context(_started([*start, resource], ready, folder / "connect.log"))
        workers = tuple(folder / name for name in WORKERS)
        yield Cluster(f"sc://{told.removeprefix('started at: ')}", workers)


@contextmanager
def _started(command: list[str], ready: str, log: Path) -> Iterator[str]:
    """Run a command of Apache Spark; yield what the pattern `ready` finds in its log."""
    home = PACKAGES / "pyspark"
    environment = os.environ | {
        **{"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(PACKAGES)},
        **{"SPARK_LOCAL_IP": "127.0.0.1", "PYTHONHASHSEED": "0"},
    }
    command = [str(home / "bin" / command[0]), *command[1:]]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
        try:
            until = time.monotonic() + PATIENCE
            while not (found := re.search(ready, log.read_text(errors="replace"))):
                assert process.poll() is None, log.read_text(errors="replace")[-2000:]
                assert time.monotonic() < until, log.read_text(errors="replace")[-2000:]
                time.sleep(0.2)
            yield found[0]
        finally:
            process.terminate()
