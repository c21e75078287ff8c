"""Installs the wheel with pipx and with uv, as users do, for every Python that is found, and runs a command.

`python tests/support/clean_installs.py TOOLS`, where TOOLS is the folder with `uv` and `pipx`: `make installs`. The
dependencies are downloaded. The exit code is 0 if every installation works that was possible.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.wheels import ROOT, built, sources

VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
_SECONDS: Final = 600


def pythons(version: str, uv: Path) -> Iterator[Path]:
    """Yield the interpreters of this version: on the path, of pyenv, and of uv, which may download one."""
    names = [shutil.which(f"python{version}")]
    names += sorted(map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")))
    for name in filter(None, names):
        # A shim of pyenv exists also for versions that are not in use.
        if (
            _ran([name, "-c", f"import ssl, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"])[0]
            == 0
        ):
            yield Path(name)
    if _ran([uv, "python", "install", "--no-bin", version])[0] == 0:
        code, out = _ran([uv, "python", "find", "--managed-python", version])
        if code == 0:
            yield Path(out.strip().splitlines()[-1])


def install(tool: str, tools: Path, python: Path, wheel: Path, place: Path) -> str | None:
    """Install the wheel into a new place and load a file with it; return what went wrong."""
    binary = place / "bin"
    variables = {
        **{"UV_TOOL_DIR": place / "tools", "UV_TOOL_BIN_DIR": binary, "UV_PYTHON_DOWNLOADS": "never"},
        **{"PIPX_HOME": place / "pipx", "PIPX_BIN_DIR": binary, "PIPX_MAN_DIR": place / "man"},
    }
    if tool == "uv":
        words = [tools / "uv", "tool", "install", "--python", python, wheel]
    else:
        words = [tools / "pipx", "install", "--python", python, wheel]
    code, out = _ran(words, place, **variables)
    if code:
        return f"cannot be installed\n{out}"
    customers = place / "customers.csv"
    customers.write_text("id,name,email\n1,Ann,ann@acme.example\n2,Bob,bob@acme.example\n")
    destination = place / "customers.parquet"
    code, out = _ran([binary / "tranship", "run", customers, destination], place)
    return None if code == 0 and "created 2" in out and destination.exists() else f"exit code {code}\n{out}"


def _ran(words: list[str | Path], folder: Path = ROOT, **variables: str | Path) -> tuple[int, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TRANSHIP", "VIRTUAL_"))
    }
    environment = kept | {name: str(value) for name, value in variables.items()}
    try:
        ran = subprocess.run(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return ran.returncode, ran.stdout


def main(tools: Path) -> int:
    """Install everywhere, print a line for each installation, and return the exit code."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="tranship-installs-") as folder:
        wheel = built(sources(Path(folder) / "source"), Path(folder))
        for version in VERSIONS:
            python = next(pythons(version, tools / "uv"), None)
            if python is None:
                print(f"Python {version}: not found, and could not be downloaded", flush=True)
                continue
            for tool in ("pipx", "uv"):
                place = Path(folder) / f"{tool}-{version}"
                place.mkdir()
                problem = install(tool, tools, python, wheel, place)
                failed = failed or problem is not None
                print(f"Python {version}, {tool}: {problem or 'works'}", flush=True)
                shutil.rmtree(place)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
