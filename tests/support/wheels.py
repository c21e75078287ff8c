"""Build the wheel from the checkout, and install it into a separate environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.made_once import shared_folder

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("connectors", "pipelines", "schemas")
"""They are at the root of the repository, and are imported below `tranship`."""


@dataclass(frozen=True)
class Environment:
    python: Path

    def run(self, folder: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments in `folder`, without the settings of the tests' own Python."""
        return self._run(folder, self.python, *words, **variables)

    def command(self, folder: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command `tranship` in the same way."""
        return self._run(folder, self.python.with_name("tranship"), *words, **variables)

    @staticmethod
    def _run(folder: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRANSHIP"))}
        return subprocess.run(words, cwd=folder, env=clean | variables, capture_output=True, text=True, check=False)


def sources(folder: Path) -> Path:
    """Copy the sources of the package, so that nothing is left in the checkout."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("tranship", *FOLDERS):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def built(source: Path, to: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", to, *options, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = to.glob("*.whl")
    return wheel


def shared_wheel(factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this checkout, built from its sdist by one worker for all."""
    folder = shared_folder(factory, "wheel", lambda folder: built(sources(folder / "source"), folder))
    (wheel,) = folder.glob("*.whl")
    return wheel


def shared_environment(factory: pytest.TempPathFactory) -> Environment:
    """Return an environment in which that wheel is installed; for reading only."""
    wheel = shared_wheel(factory)
    folder = shared_folder(factory, "installed", lambda folder: environment(folder / "venv", wheel))
    return Environment(folder / "venv" / "bin" / "python")


def environment(folder: Path, *install: str | Path) -> Environment:
    """Create an environment with only the packages that these arguments install; their dependencies are borrowed."""
    venv.create(folder, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    # A folder named in a .pth comes last, and .pth files within it (an editable install) are not followed.
    lender = find_spec("polars")
    assert lender
    assert lender.origin
    (own / "borrowed.pth").write_text(f"{Path(lender.origin).parent.parent}\n")
    python = folder / "bin" / "python"
    pip = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([sys.executable, *pip, *install], check=True, capture_output=True)
    return Environment(python)
