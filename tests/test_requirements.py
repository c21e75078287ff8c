"""The exact versions in requirements/ satisfy pyproject.toml; `make lock` rewrites them."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    rest = re.sub(r"^\s*#.*$|^[\w.-]+==\S+ \\$|^    --hash=sha256:[0-9a-f]{64}( \\)?$", "", text, flags=re.MULTILINE)
    assert not rest.strip(), f"requirements/{name}: holds more than versions and hashes: {rest.strip()[:200]}"
    return {canonicalize_name(package): version for package, version, _ in pins}


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("run.txt", PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"]),
        (
            "dev.txt",
            PROJECT["project"]["dependencies"]
            + EXTRAS["cloud"]
            + EXTRAS["postgres"]
            + EXTRAS["notify"]
            + EXTRAS["dev"],
        ),
        ("docs.txt", EXTRAS["docs"]),
        ("sail.txt", EXTRAS["sail"]),
        ("spark.txt", EXTRAS["spark"]),
    ],
)
def test_the_lock_has_what_is_asked_for(name: str, asked: list[str]) -> None:
    versions = locked(name)
    for requirement in map(Requirement, asked):
        if requirement.name != "tranship":
            locked_version = versions.get(canonicalize_name(requirement.name))
            assert locked_version, f"{requirement} is required and not locked: make lock"
            assert locked_version in requirement.specifier, f"{requirement} is required: make lock"


def test_what_runs_is_tested_in_the_same_version() -> None:
    run, dev = locked("run.txt"), locked("dev.txt")
    assert run.items() <= dev.items()


@pytest.mark.parametrize("name", ["sail.txt", "spark.txt"])
def test_what_only_an_engine_needs_is_kept_apart(name: str) -> None:
    engine, dev = locked(name), locked("dev.txt")
    assert not engine.keys() & locked("run.txt").keys()
    assert all(dev[package] == version for package, version in engine.items() if package in dev)


@pytest.mark.parametrize("engine", ["sail", "spark"])
def test_an_engine_can_be_installed_with_hashes_beside_what_every_run_needs(engine: str) -> None:
    found = [*metadata.distributions(path=[str(ROOT / "build" / engine)])]
    if not found:
        pytest.skip(f"make build/{engine}/stamp installs it")
    known = locked("run.txt") | locked(f"{engine}.txt")
    asked = [Requirement(text) for one in found for text in one.requires or ()]
    needed = {canonicalize_name(one.name) for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})}
    assert "python-dateutil" in needed
    assert not needed - known.keys()


def test_both_engines_are_tested_with_the_same_other_packages() -> None:
    sail, spark = locked("sail.txt"), locked("spark.txt")
    assert {name: sail[name] for name in sail.keys() & spark.keys()} == {
        name: spark[name] for name in sail.keys() & spark.keys()
    }


def test_an_installation_without_extras_stays_as_small_as_it_is() -> None:
    """546 MB with the versions of November 2026, of which polars has 178 and pyarrow 171. An engine would add hundreds."""
    size = 0
    for name in locked("run.txt"):
        files = metadata.distribution(name).files or []
        size += sum(file.size or 0 for file in files if file.suffix != ".pyc")
    assert size < 600_000_000
