"""The wheel does the main job in an environment of its own, away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("connectors", "schemas", "pipelines")


@dataclass(frozen=True)
class Installed:
    wheel: Path
    python: Path

    def run(
        self, folder: Path, arguments: Sequence[str | Path], **environment: str
    ) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRANSHIP"))}
        return subprocess.run(
            [self.python, *arguments],
            cwd=folder,
            env=clean | environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built from a copy of the sources and installed alone; its dependencies are borrowed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "tranship.py"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")

    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(pip, check=True, capture_output=True)
    paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    own = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    # A folder named in a .pth comes last, and .pth files within it (an editable install) are not followed.
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(wheel, python)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    return tmp_path


def test_the_wheel_holds_code_tables_and_licence(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
    expected = [
        "tranship.py",
        *(path.relative_to(ROOT).as_posix() for room in PACKAGES for path in (ROOT / room).rglob("*.py")),
        *(f"{room}/py.typed" for room in PACKAGES),
        *(f"schemas/data/{path.name}" for path in (ROOT / "schemas" / "data").glob("*.csv")),
    ]
    assert set(expected) <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "sample_data/"))]


def test_the_api_runs_outside_the_checkout(installed: Installed, elsewhere: Path) -> None:
    code = "import tranship; print(tranship.run('sample_data/crm_export.csv', 'duckdb:///x.duckdb').counts)"
    ran = installed.run(elsewhere, ["-c", code])
    assert ran.returncode == 0, ran.stderr
    assert "read=46, skipped=0, rejected=15, merged=7, created=24" in ran.stdout


def test_the_command_runs_outside_the_checkout(installed: Installed, elsewhere: Path) -> None:
    command = installed.python.with_name("tranship")
    ran = subprocess.run(
        [command, "run", "sample_data/nightly", "duckdb:///x.duckdb", "--max-rejects", "5"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (elsewhere / "x.duckdb").exists()


def test_somebody_elses_package_of_the_same_name_is_told_in_words(installed: Installed, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs" / "pipelines"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").write_text("")
    ran = installed.run(tmp_path, ["-m", "tranship", "--version"], PYTHONPATH=str(theirs.parent))
    assert ran.returncode == 2
    assert str(theirs) in ran.stderr
    assert "environment" in ran.stderr
    assert "Traceback" not in ran.stderr
