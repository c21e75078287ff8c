"""The installed package: the wheel in a separate environment, outside of the checkout, beside other packages."""

from __future__ import annotations

import shutil
import sys
import tomllib
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

import tranship
from support.long_tests import some
from support.made_once import shared_folder
from support.toys import FORMAT_FILES, PROVIDER_FILES
from support.wheels import FOLDERS, ROOT, Environment, built, environment, shared_environment, shared_wheel, sources

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist."""
    return shared_wheel(tmp_path_factory)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return shared_environment(tmp_path_factory)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    return tmp_path


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as file:
        return sorted(file.namelist())


# What is in it ---------------------------------------------------------------------------------------------------


def test_these_tests_are_of_this_checkout() -> None:
    assert Path(tranship.__file__).parent == ROOT / "tranship", "Install it: pip install --editable ."


def test_every_folder_of_code_is_named_in_pyproject() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    found = {
        f"tranship.{'.'.join(file.parent.relative_to(ROOT).parts)}": file.parent.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("__init__.py")
    }
    assert setuptools["package-dir"] == {"tranship": "tranship", **found}
    assert setuptools["packages"] == sorted(setuptools["package-dir"])


@pytest.mark.parametrize("folder", FOLDERS)
def test_type_checkers_find_the_folders_where_they_are_imported(folder: str) -> None:
    link = ROOT / "tranship" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..", folder)


def test_the_wheel_holds_code_tables_and_licence(wheel: Path) -> None:
    code = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if path.parent.name not in ("data", "exports")
    ]
    tables = (ROOT / "schemas" / "data").glob("*.csv")
    profiles = [path for path in (ROOT / "schemas" / "exports").iterdir() if path.suffix in (".toml", ".json")]
    expected = {f"tranship/{path.relative_to(ROOT).as_posix()}" for path in (*code, *tables, *profiles)}
    assert expected | {"tranship/__init__.py", "tranship/__main__.py"} <= set(names(wheel))
    assert [name for name in names(wheel) if name.endswith("py.typed")] == ["tranship/py.typed"]
    assert any(name.endswith("licenses/LICENSE") for name in names(wheel))
    assert {name.split("/")[0].partition("-")[0] for name in names(wheel)} == {"tranship"}


def test_the_wheel_is_the_same_without_an_sdist_and_without_links(wheel: Path, tmp_path: Path) -> None:
    source = sources(tmp_path / "source")
    for folder in FOLDERS:
        (source / "tranship" / folder).unlink()
    assert names(built(source, tmp_path, "--wheel")) == names(wheel)


# What it does ----------------------------------------------------------------------------------------------------


def test_the_api_runs_outside_the_checkout(installed: Environment, elsewhere: Path) -> None:
    code = "import tranship; print(tranship.run('sample_data/crm_export.csv', 'duckdb:///x.duckdb').counts)"
    ran = installed.run(elsewhere, "-c", code)
    assert ran.returncode == 0, ran.stderr
    assert "read=46, skipped=0, rejected=10, merged=8, created=28" in ran.stdout


def test_the_command_runs_outside_the_checkout(installed: Environment, elsewhere: Path) -> None:
    ran = installed.command(elsewhere, "run", "sample_data/nightly", "duckdb:///x.duckdb", "--max-rejects", "5")
    assert ran.returncode == 0, ran.stderr
    assert (elsewhere / "x.duckdb").exists()


@pytest.mark.parametrize("links", some([True, False], 1))
def test_it_is_installed_for_editing(links: bool, elsewhere: Path) -> None:
    source = sources(elsewhere / "source")
    for folder in FOLDERS if not links else ():
        (source / "tranship" / folder).unlink()
    there = environment(elsewhere / "venv", "--editable", source)
    ran = there.command(elsewhere, "run", "sample_data/nightly", "x.csv", "--max-rejects", "5")
    assert ran.returncode == 0, ran.stderr
    code = "import tranship.pipelines.run as run, importlib.util as u; print(run.__file__, u.find_spec('connectors'))"
    file, found = there.run(elsewhere, "-c", code).stdout.split()
    assert (Path(file).resolve(), found) == (source / "pipelines" / "run.py", "None")


# Beside modules of the same names -------------------------------------------------------------------------------------


THEIRS = {
    "connectors/errors.py": "MINE = 'errors'",
    "connectors/acme.py": "from connectors.errors import MINE",
    "pipelines/run.py": "import schemas.customer, connectors.acme\n\ndef run():\n    return connectors.acme.MINE",
    "schemas/customer.py": "COLUMNS = ['mine']",
}
BOTH = {
    "theirs first": """
        from pipelines.run import run
        from schemas import customer
        import tranship
    """,
    "ours first": """
        import tranship
        import tranship.pipelines.run, tranship.schemas.customer
        from schemas import customer
        from pipelines.run import run
    """,
}
THEN = """
    report = tranship.run("sample_data/crm_export.csv", "duckdb:///x.duckdb")
    print(report.counts.created, run(), customer.COLUMNS, len(tranship.schemas.customer.COLUMNS) > 9)
"""


@pytest.mark.alternating("packages")
@pytest.mark.parametrize("packages", [True, False], ids=["with __init__", "without __init__"])
@pytest.mark.parametrize("order", BOTH)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_project_keeps_its_own_folders(
    place: str, order: str, packages: bool, installed: Environment, elsewhere: Path
) -> None:
    project = elsewhere / "project"
    for name, code in THEIRS.items():
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
        if packages:
            (file.parent / "__init__.py").touch()
    if place == "first":
        (project / "main.py").write_text(dedent(BOTH[order]) + dedent(THEN))
        ran = installed.run(elsewhere, "project/main.py")
    else:
        path = f"import sys\nsys.path.append({str(project)!r})\n"
        ran = installed.run(elsewhere, "-c", path + dedent(BOTH[order]) + dedent(THEN))
    assert ran.stdout == "28 errors ['mine'] True\n", ran.stderr
    ran = installed.run(elsewhere, "-m", "tranship", "--version", PYTHONPATH=str(project))
    assert ran.returncode == 0, ran.stderr


OURS = sorted({path.stem for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path.stem != "__init__"})
ALIKE = {*FOLDERS, *OURS, *sys.stdlib_module_names, "polars", "click", "duckdb", "pydantic", "msgspec", "rich"}
BY_PYTHON = "import __future__, runpy, sys; print(*sys.modules)"
"""Prints what Python itself imports for `python -m`, before it reads the first line of a module."""


@pytest.mark.parametrize("way", ["command", "module"])
def test_it_runs_in_a_folder_of_files_called_like_modules(way: str, installed: Environment, elsewhere: Path) -> None:
    for name in ALIKE - set(installed.run(elsewhere, "-c", BY_PYTHON).stdout.split() if way == "module" else ()):
        (elsewhere / f"{name}.py").write_text("raise SystemExit('this is no business of tranship')")
    words = ("run", "sample_data/nightly", "duckdb:///x.duckdb", "--max-rejects", "5")
    if way == "command":
        ran = installed.command(elsewhere, *words)
    else:
        ran = installed.run(elsewhere, "-m", "tranship", *words)
    assert ran.returncode == 0, ran.stderr
    assert (elsewhere / "x.duckdb").exists()


def test_only_tranship_is_imported(installed: Environment, elsewhere: Path) -> None:
    code = f"""
        import importlib, pkgutil, sys, tranship
        tranship.run("sample_data/crm_export.csv", "duckdb:///x.duckdb")
        found = [found.name for found in pkgutil.walk_packages(tranship.__path__, "tranship.")]
        for name in found:
            try:
                if name != "tranship.__main__":
                    importlib.import_module(name)
            except ModuleNotFoundError as error:
                assert error.name == "pyspark", error
        print(len(found) > 70, sorted({{*{FOLDERS}}} & {{name.split(".")[0] for name in sys.modules}}))
    """
    ran = installed.run(elsewhere, "-c", dedent(code))
    assert ran.stdout == "True []\n", ran.stderr


# With connectors of other packages --------------------------------------------------------------------------------


SHOP = """
from dataclasses import dataclass

import polars as pl

from tranship.connectors.contract import Abilities, ArrowPart, Connector, Layout

CONNECTOR = Connector(
    "toyshop", "The customers of a toy shop", "toyshop://", Abilities(writes=False),
    schemes=("toyshop",), source=f"{__name__}:ShopSource", options=f"{__name__}:ShopOptions",
)


@dataclass
class ShopOptions:
    customers: int = 3
    shouting: bool = False


class ShopSource:
    def __init__(self, spec, options):
        self._spec = spec
        names = ["Ann", "Bob", "Cleo"][: options.customers]
        names = [name.upper() for name in names] if options.shouting else names
        self._frame = pl.DataFrame({"external_id": ["s1", "s2", "s3"][: len(names)], "name": names})
        self.size = len(names)

    def layouts(self):
        return [Layout(self._spec, tuple(self._frame.columns))]

    def fingerprint(self):
        return [{"name": self._spec, "size": self._frame.height}]

    def parts(self, _keep):
        [batch] = self._frame.to_arrow().to_batches()
        yield ArrowPart(self._spec, batch, 1, batch.num_rows)

    def close(self):
        pass
"""
SHOP_TESTS = """
import pytest
from tranship.connectors.testing import SourceContract


class TestShop(SourceContract):
    @pytest.fixture
    def address(self):
        return "toyshop://"
"""


def package(folder: Path, entries: dict[str, str], modules: dict[str, str]) -> Path:
    """Build the wheel of another package, with these entry points and files."""
    folder.mkdir()
    packages = sorted({Path(name).parent.as_posix().replace("/", ".") for name in modules} - {"."})
    listed = "\n".join(f'{name} = "{value}"' for name, value in entries.items())
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{folder.name}"\nversion = "1"\n[project.entry-points."tranship.connectors"]\n{listed}\n'
        f"[tool.setuptools]\npackages = {packages}\n"
        f"py-modules = {[Path(name).stem for name in modules if '/' not in name]}\n"
    )
    for name, code in modules.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(code)
    return built(folder, folder.parent / f"{folder.name}-built", "--wheel")


@pytest.fixture(scope="module")
def with_toys(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    entries = {
        "toy": "tranship_toys.connectors.files.toy:CONNECTOR",
        "toybill": "tranship_toys.connectors.providers.toybill",
        "toyshop": "tranship_shop:CONNECTOR",
    }
    toys = {f"tranship_toys/{name}": code for name, code in (PROVIDER_FILES | FORMAT_FILES).items()}
    broken = {
        **{"absent": "no_such_module:CONNECTOR", "raises": "tranship_broken", "mine": "tranship_thief:CONNECTOR"},
        "number": "tranship_thief:NUMBER",
    }
    thief = (
        "from tranship.connectors.contract import Abilities, Connector\nNUMBER = 1\n"
        "CONNECTOR = Connector('mine', '', 'x.csv', Abilities(), suffixes=('.csv',), source='tranship_thief:NUMBER')\n"
    )
    bad = {"tranship_broken.py": "raise SystemExit('no\\nlicence')", "tranship_thief.py": thief}

    def fill(folder: Path) -> None:
        shop = package(folder / "toys", entries, toys | {"tranship_shop.py": SHOP})
        environment(folder / "venv", wheel, shop, package(folder / "broken", broken, bad))

    return Environment(shared_folder(tmp_path_factory, "toys", fill) / "venv" / "bin" / "python")


def test_connectors_of_other_packages_are_listed_and_used(with_toys: Environment, tmp_path: Path) -> None:
    listed = with_toys.command(tmp_path, "connectors")
    assert listed.returncode == 0, listed.stderr
    [line] = [line for line in listed.stdout.splitlines() if "The customers of a toy shop" in line]
    assert "upsert" not in line, "it can only be read"
    assert "Toy files" in listed.stdout
    assert "Toybill, a toy provider" in listed.stdout
    for source, destination in (("toyshop://", "a.toy"), ("a.toy", "duckdb:///x.duckdb"), ("a.toy", "b.csv")):
        ran = with_toys.command(tmp_path, "run", source, destination)
        assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "b.csv").read_text(encoding="utf-8").count("\n") == 4
    refused = with_toys.command(tmp_path, "run", "a.toy", "toyshop://")
    assert (refused.returncode, "can only be read" in refused.stderr) == (2, True)


def test_options_of_a_connector_of_another_package_are_set(with_toys: Environment, tmp_path: Path) -> None:
    written = []
    for number, (words, variables) in enumerate(
        [
            (["--option", "customers=2", "--option", "shouting=true"], {}),
            (["--option", "customers=2"], {"TRANSHIP_OPTIONS": "customers=1,shouting=yes"}),
        ]
    ):
        ran = with_toys.command(tmp_path, "run", "toyshop://", f"{number}.csv", *words, **variables)
        assert ran.returncode == 0, ran.stderr
        written.append((tmp_path / f"{number}.csv").read_text(encoding="utf-8"))
    (tmp_path / "p.toml").write_text(
        'source = "toyshop://"\ndestination = "p.csv"\n[options]\ncustomers = 2\nshouting = true\n'
    )
    assert with_toys.command(tmp_path, "run", "p.toml").returncode == 0
    code = "import tranship; tranship.run('toyshop://', 'q.csv', options={'customers': 2, 'shouting': True})"
    assert with_toys.run(tmp_path, "-c", code).returncode == 0
    written += [(tmp_path / name).read_text(encoding="utf-8") for name in ("p.csv", "q.csv")]
    assert "BOB" in written[0]
    assert "CLEO" not in written[0]
    assert len(set(written)) == 1
    refused = with_toys.command(tmp_path, "run", "toyshop://", "r.csv", "--option", "custmers=2")
    assert (refused.returncode, "Did you mean customers?" in refused.stderr) == (2, True), refused.stderr


def test_a_provider_of_another_package_is_read_from_and_written_to(with_toys: Environment, tmp_path: Path) -> None:
    code = """
        import os, subprocess, sys
        from pathlib import Path
        from tranship_toys.connectors.sandbox.toybill import running

        def run(source, destination):
            subprocess.run([Path(sys.executable).with_name("tranship"), "run", source, destination], check=True)

        with running(3) as first, running() as second:
            os.environ["TOYBILL_API_KEY"] = "toy-key"
            addresses = [f"toybill://127.0.0.1:{server.server_port}" for server in (first, second)]
            run(addresses[0], "a.csv")
            run("a.csv", addresses[1])
            run("a.csv", addresses[1])
            print(sorted(one["externalId"] for one in second.customers.values()), second.methods.count("POST"))
    """
    ran = with_toys.run(tmp_path, "-c", dedent(code))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("['c1', 'c2', 'c3'] 3\n"), ran.stdout


def test_a_broken_plug_in_is_a_line_of_the_list(with_toys: Environment, tmp_path: Path) -> None:
    listed = with_toys.command(tmp_path, "connectors")
    lines = {line.partition(":")[0]: line for line in listed.stdout.splitlines()}
    assert "cannot be loaded (ModuleNotFoundError" in lines["absent"]
    assert "cannot be loaded (SystemExit: no licence)" in lines["raises"]
    assert ".csv belongs to the connector csv" in lines["mine"]
    assert "neither a Connector nor" in lines["number"]
    assert "Traceback" not in listed.stderr
    unknown = with_toys.command(tmp_path, "run", "oracle://x", "a.csv")
    assert (unknown.returncode, "The schemes are" in unknown.stderr, "toyshop://" in unknown.stderr) == (2, True, True)


def test_other_packages_run_the_contract_suites(with_toys: Environment, tmp_path: Path) -> None:
    tests = {name: code for name, code in (PROVIDER_FILES | FORMAT_FILES).items() if name.startswith("tests/")}
    for name, code in (tests | {"test_shop.py": SHOP_TESTS}).items():
        (tmp_path / Path(name).name).write_text(code)
    ran = with_toys.run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path))
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr


def test_built_in_connectors_need_no_entry_points(installed: Environment, elsewhere: Path) -> None:
    code = """
        import importlib.metadata
        from tranship.connectors import lookup, plug_ins
        plug_ins.entry_points = None
        print(*map(lookup.kind_of, ("a.csv", "a.parquet", "-", "metronome://", "postgres://h/d", "sample_data/nightly")))
    """
    ran = installed.run(elsewhere, "-c", dedent(code))
    assert ran.stdout == "csv parquet csv metronome postgresql csv\n", ran.stderr
