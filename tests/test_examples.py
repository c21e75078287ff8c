"""The examples that no test can run here: their syntax, and the names in them. `tests/pipelines/distributed` runs the
others.
"""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.engines import ROOT

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
JOB_OPTIONS = {"--source", "--results", "--work"}
RECORDER = '#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@" >> "$RECORDED"\n'


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((EXAMPLES / "compose" / "compose.yaml").read_text(encoding="utf-8"))


def test_the_page_lists_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        if path.name != "README.md":
            assert f"`{path.name}{'/' if path.is_dir() else ''}`" in text, (
                f"examples/README.md does not name {path.name}"
            )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_gives_the_job_its_options(script: Path, tmp_path: Path) -> None:
    """The programs of the services are replaced by one that writes down its arguments."""
    for name in ("aws", "gcloud"):
        (tmp_path / name).write_text(RECORDER)
        (tmp_path / name).chmod(0o755)
    recorded = tmp_path / "recorded"
    settings = {"CLUSTER": "c-1", "REGION": "europe-west3", "BUCKET": "my-lake", "RECORDED": str(recorded)}
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run([script], env={"PATH": path} | settings, check=True, capture_output=True)
    words = set(re.split(r"[\s,\[\]]+", recorded.read_text()))
    assert words >= JOB_OPTIONS
    assert "c-1" in words
    assert any(word.endswith("/tranship/environment.tar.gz#environment") for word in words)
    assert any(word.endswith("PYSPARK_PYTHON=./environment/bin/python") for word in words)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_says_what_it_needs(script: Path) -> None:
    ran = subprocess.run([script], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "Set CLUSTER to" in ran.stderr


def test_the_job_has_these_options() -> None:
    text = (EXAMPLES / "clean_customers.py").read_text(encoding="utf-8")
    assert set(re.findall(r'add_argument\("(--\w+)"', text)) == JOB_OPTIONS


def test_the_cluster_has_two_workers_that_share_a_folder(compose: dict[str, Any]) -> None:
    services = compose["services"]
    workers = [name for name, service in services.items() if service["command"][1].endswith(".worker.Worker")]
    assert len(workers) == 2
    assert {tuple(service["volumes"]) for service in services.values()} == {("./data:/data",)}
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert service["build"] == {"context": "../..", "dockerfile": "examples/compose/Dockerfile"}
    masters = {word for service in services.values() for word in service["command"] if word.startswith("spark://")}
    assert masters == {"spark://master:7077"}
    [published] = services["connect"]["ports"]
    assert published.startswith("127.0.0.1:"), "whoever reaches this port runs programs in the cluster"


def test_the_classes_of_the_cluster_are_those_of_apache_spark(compose: dict[str, Any]) -> None:
    jars = ROOT / "build" / "spark" / "pyspark" / "jars"
    if not jars.is_dir():
        pytest.skip("make spark installs Apache Spark")
    known: set[str] = set()
    for pattern in ("spark-core_*.jar", "spark-connect_*.jar"):
        [jar] = jars.glob(pattern)
        known |= set(zipfile.ZipFile(jar).namelist())
    for service in compose["services"].values():
        for word in service["command"]:
            if word.startswith("org.apache.spark."):
                assert word.replace(".", "/") + ".class" in known


def test_the_image_installs_an_extra_that_exists() -> None:
    text = (EXAMPLES / "compose" / "Dockerfile").read_text(encoding="utf-8")
    [extra] = re.findall(r"/tranship\[(\w+)\]", text)
    assert (
        extra
        in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    )
