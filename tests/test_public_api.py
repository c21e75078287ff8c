"""The Python API: names, types, keyword arguments, what it accepts and refuses, progress, and how results look."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from inspect import getdoc, isclass, isfunction, signature
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

import pytest

import tranship
from support import api_script
from support.wheels import Environment, shared_environment
from tranship.connectors.registry import PROVIDERS
from tranship.connectors.sandbox.session import WeatherOptions
from tranship.connectors.sandbox.weather import Weather
from tranship.pipelines import settings
from tranship.pipelines.arguments import LockOptions, RunOptions, SourceOptions
from tranship.pipelines.settings_model import Reading, Settings

ENDS = {"source": "a.csv", "destination": "b.csv"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("TRANSHIP_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("id,email,name\n1,ada@example.org,Ada\n2,bo@example.org,<b>Bo</b>\n3,,\n")
    return tmp_path


# Names and types -------------------------------------------------------------------------------------------------


def test_every_name_is_there_and_says_what_it_is() -> None:
    assert tranship.__all__ == sorted(tranship.__all__)
    for name in tranship.__all__:
        value = getattr(tranship, name)
        assert (not isclass(value) and not isfunction(value)) or getdoc(value), name
    assert set(tranship.__all__) <= set(dir(tranship))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        tranship.runn  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_imports_nothing_that_is_installed() -> None:
    code = (
        "import sys; before = set(sys.modules); import tranship; dir(tranship); "
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names), tranship.__version__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\['tranship'\] \d+\.\d+\.\d+\n", ran.stdout), ran.stdout


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (RunOptions, set(Settings.model_fields) - {"source", "destination"}),
        (SourceOptions, set(Reading.model_fields) - {"source"}),
        (WeatherOptions, set(Weather.__struct_fields__)),
    ],
)
def test_the_options_are_the_settings(options: type, names: set[str]) -> None:
    assert set(get_type_hints(options)) == names


def choices(annotation: Any) -> set[Any]:
    """Return the choices of a Literal, including None if it is optional."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {found for part in get_args(annotation) for found in choices(part)}


@pytest.mark.parametrize("name", get_type_hints(RunOptions))
def test_an_option_is_typed_as_its_setting(name: str) -> None:
    option, setting = get_type_hints(RunOptions)[name], Settings.model_fields[name].annotation
    assert choices(option) == choices(setting)
    assert (type(None) in get_args(option)) == (type(None) in get_args(setting))
    if setting is bool:
        assert option is bool
    if name in get_type_hints(LockOptions):
        assert get_type_hints(LockOptions)[name] == option


PATHS = [name for name, option in get_type_hints(RunOptions).items() if os.PathLike[str] in get_args(option)]


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_accepted_where_its_type_is(name: str) -> None:
    engine = {"engine": "spark", "remote": "sc://localhost"} if name == "work" else {}
    made = settings.from_command("a.csv", "b.csv", {name: Path("x.prom"), **engine}, {})
    assert str(getattr(made, name)) == "x.prom"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return shared_environment(tmp_path_factory)


SCRIPT = Path(api_script.__file__).read_text(encoding="utf-8")
WRONG = {
    number
    for number, line in enumerate(SCRIPT.splitlines(), 1)
    if number > SCRIPT[: SCRIPT.index("def errors")].count("\n") and "# " in line
}


def test_the_script_calls_every_function() -> None:
    functions = {name for name in tranship.__all__ if isfunction(getattr(tranship, name))} - {"main"}
    assert len(functions) > 10
    assert functions <= set(re.findall(r"tranship\.(\w+)\(", SCRIPT))


def mypy(folder: Path, python: Path) -> set[int]:
    (folder / "mypy.ini").write_text("[mypy]\nstrict = true\n[mypy-script]\ndisallow_any_expr = true\n")
    words = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-executable", python, "script.py"]
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    return {int(line) for line in re.findall(r"^script\.py:(\d+): error", ran.stdout, re.MULTILINE)}


def pyright(folder: Path, python: Path) -> set[int]:
    (folder / "pyrightconfig.json").write_text('{"include": ["script.py"], "typeCheckingMode": "strict"}')
    words = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", python, "-p", "."]
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    found = json.loads(ran.stdout)["generalDiagnostics"]
    return {problem["range"]["start"]["line"] + 1 for problem in found if problem["severity"] == "error"}


@pytest.mark.slow
@pytest.mark.parametrize("check", [mypy, pyright])
def test_type_checkers_see_the_types_of_the_installed_wheel(
    check: Callable[[Path, Path], set[int]], installed: Environment, folder: Path
) -> None:
    (folder / "script.py").write_text(SCRIPT)
    assert len(WRONG) > 10
    assert check(folder, installed.python) == WRONG


# What is accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "setting"),
    [
        ("max_rejects", 0.4, "40%"),
        ("max_rejects", 0.0001, "0.01%"),
        ("max_rejects", 1.0, "100%"),
        ("max_rejects", 20, "20"),
        ("lock_timeout", timedelta(minutes=1.5), "90000ms"),
        ("lock_timeout", timedelta(microseconds=1), "1ms"),
        ("lock_timeout", timedelta(), "0"),
        ("timezone", ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
        ("timezone", UTC, "UTC"),
        ("date_format", "%d/%m/%Y", ("%d/%m/%Y",)),
        ("date_format", ["%d/%m/%Y"], ("%d/%m/%Y",)),
        ("blocked", {"x"}, ("x",)),
        ("ignore", {"A"}, ("A",)),
        ("values", {"net_terms": {"a month": 30}}, {"net_terms": {"a month": "30"}}),
        ("defaults", {"net_terms": 30}, {"net_terms": "30"}),
        ("defaults", {"created_at": date(2024, 1, 2)}, {"created_at": "2024-01-02"}),
        ("defaults", {"created_at": datetime(2024, 1, 2, tzinfo=UTC)}, {"created_at": "2024-01-02T00:00:00+00:00"}),
        ("state_dir", "here", Path("here")),
        ("crosswalk", Path("x.csv"), Path("x.csv")),
    ],
)
def test_types_of_python_are_accepted(name: str, given: Any, setting: Any) -> None:
    made = settings.from_command("a.csv", "b.csv", {name: given}, {})
    assert getattr(made, name) == setting
    assert settings.load(made.model_dump(), {}) == made  # as a run directory keeps it


@pytest.mark.parametrize("source", ["a.csv", Path("a.csv"), ["a.csv"], (Path("a.csv"),)])
def test_source_and_destination_may_be_named(source: Any, folder: Path) -> None:
    report = tranship.run(source=source, destination=folder / "b.csv", max_rejects=0.4)
    assert (report.status, report.counts.created) == ("done", 2)


def test_a_settings_file_may_be_a_path(folder: Path) -> None:
    (folder / "p.toml").write_text('source = "a.csv"\ndestination = "b.csv"\nmax_rejects = 0.5\n')
    assert tranship.run(Path("p.toml")).status == "done"
    assert tranship.inspect(Path("p.toml")).records == 3


# What is refused -------------------------------------------------------------------------------------------------

ANY: Any = tranship
"""Calls that a type checker rejects."""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ANY.run(**ENDS, max_reject=3), "max_reject: unknown setting. Did you mean max_rejects?"),
        (lambda: ANY.run(**ENDS, max_rejects=[3]), "max_rejects: list is not a limit. Give a count (20) or a"),
        (lambda: ANY.run(**ENDS, max_rejects=True), "max_rejects: bool is not a limit."),
        (lambda: ANY.run(**ENDS, max_rejects=20.0), "20.0 is not a share. Give a count (20) or a share from 0 to 1"),
        (lambda: ANY.run(**ENDS, max_rejects=float("nan")), "nan is not a share."),
        (lambda: ANY.run(**ENDS, lock_timeout=1.5), 'lock_timeout: float is not a duration. Give a number with'),
        (lambda: ANY.run(**ENDS, lock_timeout=-timedelta(1)), "a negative timedelta is not a duration."),
        (lambda: ANY.run(**ENDS, mode="replace"), "mode='replace': is not valid; use upsert, insert, update or"),
        (lambda: ANY.run(**ENDS, date_format=3), "date_format=3: is not a list of texts."),
        (lambda: ANY.run(**ENDS, fields=["A"]), "fields: is not a table"),
        (lambda: ANY.run(**ENDS, fields={"name": 1, "city": 2}), "fields['name']=1: is not text."),
        (lambda: ANY.run(**ENDS, defaults={"net_terms": 1.5}), "defaults['net_terms']=1.5: is not text."),
        (lambda: ANY.run(**ENDS, timezone=3), "timezone=3: is not text."),
        (lambda: ANY.run(**ENDS, state_dir=3), "state_dir=3: is not a path."),
        (lambda: ANY.run(**ENDS, limit="many"), "limit='many': is not a whole number"),
        (lambda: ANY.run(**ENDS, observer="me"), "observer: str is not accepted. Give a function"),
        (lambda: ANY.run(destination="b.csv"), "source: is missing."),
        (lambda: ANY.run("a.csv"), "destination: is missing."),
        (lambda: ANY.run(["a.csv", ""], "b.csv"), "source: is empty: give a value"),
        (lambda: ANY.run("a.csv", ""), "destination: is empty: give a value"),
        (lambda: ANY.undo(""), "run: is empty: give a value"),
        (lambda: ANY.run(3, "b.csv"), "source: int is not a source. Give a path, a URL or a list of them, or in Python"),
        (lambda: ANY.run([3, "a.csv"], "b.csv"), "source: is not text."),
        (lambda: ANY.run("a.csv", 3), "destination=3: is not text."),
        (lambda: ANY.inspect("a.csv", dry_run=True), "dry_run: unknown setting of a source."),
        (lambda: ANY.inspect("a.csv", delimitr=";"), "Did you mean delimiter?"),
        (lambda: ANY.inspect("a.csv", rows="all"), "rows: 'all' is not accepted. Give a whole number, 1 or more."),
        (lambda: ANY.inspect(None), "source: is missing."),
        (lambda: ANY.plan(**ENDS, out=3), "out: int is not accepted. Give a string or a path."),
        (lambda: ANY.apply(3), "folder: int is not accepted."),
        (lambda: ANY.apply("plan", limit=0), "limit: 0 is not accepted. Give a whole number, 1 or more."),
        (lambda: ANY.apply("nowhere"), "nowhere: there is no plan in this folder."),
        (lambda: ANY.verify(**ENDS, run="last"), "source: cannot be combined with run"),
        (lambda: ANY.verify(run="last", mode="insert"), "mode: cannot be combined with run"),
        (lambda: ANY.verify(run=3), "run: int is not accepted."),
        (lambda: ANY.resume("last"), "contains no run"),
        (lambda: ANY.resume(3), "run: int is not accepted."),
        (lambda: ANY.resume("last", lock_timeot="3s"), "Did you mean lock_timeout?"),
        (lambda: ANY.retry("last", max_rejects=3), "Its options are: overlap, lock_timeout, locks, memory."),
        (lambda: ANY.retry("last", state_dir=3), "state_dir: int is not accepted."),
        (lambda: ANY.runs(remove_older_than=30), "remove_older_than: int is not accepted. Give a timedelta"),
        (lambda: ANY.sandbox("metronom").__enter__(), "metronom: there is no such sandbox. Use one of: blackwalnut"),
        (lambda: ANY.sandbox(3), "provider: int is not accepted. Give a string."),
        (lambda: ANY.sandbox("metronome", weather={"rain": 1}), "unknown field `rain`"),
        (lambda: ANY.sandbox("metronome", weather=3), "weather: int is not accepted. Give a dict."),
        (lambda: ANY.sandbox("metronome", port="x"), "port: 'x' is not accepted."),
        (lambda: ANY.sandbox("metronome", port=2**16), "port: 65536 is not accepted. Give a whole number, from 0 to"),
        (lambda: ANY.sandbox("metronome", seed=[1]), "seed: list is not accepted."),
        (lambda: ANY.run(**ENDS, blocked={"\ud800"}), "blocked: contains bytes that are not valid UTF-8."),
        (lambda: ANY.run(**ENDS, values={"status": {"\udcff": "active"}}), "values: contains bytes that are not"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(call: Callable[[], object], said: str) -> None:
    with pytest.raises(tranship.ConfigError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


LONG = "x" * 300


@pytest.mark.parametrize(
    "call",
    [
        lambda: tranship.run(LONG, "b.csv"),
        lambda: tranship.apply(LONG),
        lambda: tranship.verify(run=LONG),
        lambda: tranship.retry(LONG),
        lambda: tranship.resume(state_dir=LONG),
        lambda: tranship.runs(state_dir=LONG),
        lambda: tranship.changes(LONG),
        lambda: tranship.undo(LONG),
    ],
)
def test_a_failure_of_the_machine_is_one_error_wherever_it_occurs(call: Callable[[], object]) -> None:
    with pytest.raises(tranship.LocalFailure, match="File name too long"):
        call()


# Progress --------------------------------------------------------------------------------------------------------


def test_an_observer_is_told_how_far_a_run_is() -> None:
    seen: list[tranship.Progress] = []
    tranship.run("a.csv", "duckdb:///w.duckdb", observer=seen.append)
    assert list(dict.fromkeys(progress.step for progress in seen)) == ["read", "identify", "plan", "write"]
    last = [progress for progress in seen if progress.step == "read"][-1]
    assert last.share == 1
    assert last.records == 3
    tranship.run("a.csv", "duckdb:///w.duckdb", observer=seen.append)
    assert any(progress.note for progress in seen)


def test_what_an_observer_raises_stops_the_run_which_can_be_continued() -> None:
    def stop(progress: tranship.Progress) -> None:
        if progress.step == "plan":
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        tranship.run("a.csv", "duckdb:///w.duckdb", observer=stop)
    assert tranship.resume().counts.created == 2


# What comes back -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_plan_is_carried_out_and_verified(folder: Path) -> None:
    planned = tranship.plan("a.csv", "duckdb:///w.duckdb", out=folder / "plan")
    assert (planned.dry_run, planned.counts.created) == (True, 2)
    assert tranship.apply(folder / "plan", lock_timeout=timedelta(seconds=1)).counts.created == 2
    assert tranship.verify(run=folder / "plan").counts["equal"] == 2
    assert not tranship.verify("a.csv", "duckdb:///w.duckdb?table=other").equal


def test_the_state_directory_of_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSHIP_STATE_DIR", "elsewhere")
    report = tranship.run("a.csv", "duckdb:///w.duckdb")
    assert [run.run_id for run in tranship.runs()] == [report.run_id]
    assert tranship.verify(run="last").equal
    assert len(tranship.runs(state_dir=".tranship")) == 0


def test_runs_are_listed_and_removed() -> None:
    reports = [tranship.run("a.csv", f"{name}.parquet") for name in "bc"]
    runs = tranship.runs()
    assert [run.run_id for run in runs] == [report.run_id for report in reversed(reports)]
    assert runs[0].counts == reports[1].counts
    assert runs[0].started_at <= datetime.now(UTC)
    assert runs[:1] == (runs[0],)
    assert tranship.runs(remove_older_than=timedelta(days=1)).removed == ()
    assert len(tranship.runs(remove_older_than=timedelta()).removed) == 2


def test_results_show_themselves_in_a_line_without_data_of_customers() -> None:
    report = tranship.run("a.csv", "duckdb:///w.duckdb", dry_run=True)
    assert repr(report) == (
        f"<Report {report.run_id}: done_with_rejects, dry run; 3 read, 1 rejected, 2 created; "
        "a.csv → duckdb:///w.duckdb>"
    )
    inspection = tranship.inspect("a.csv")
    assert repr(inspection) == ("<Inspection of a.csv: 3 records, 3 columns, 3 of them mapped, 1 would be rejected>")
    verification = tranship.verify(run=report.run_id)
    assert repr(verification) == (
        f"<Verification {report.run_id}: 0 equal, 2 only_in_source; a.csv → duckdb:///w.duckdb>"
    )
    runs = tranship.runs()
    assert repr(runs) == f"<RunList: 1 run, newest: {report.run_id} (done_with_rejects)>"
    for result in (report, inspection, verification, runs, inspection.columns, inspection.rejects, runs[0]):
        assert not re.search("ada|Ada|Bo", repr(result))


def test_results_show_themselves_in_notebooks() -> None:
    report = tranship.run("a.csv", "duckdb:///w.duckdb")
    results: list[Any] = [report, tranship.inspect("a.csv"), tranship.verify(run="last"), tranship.runs()]
    odd = [dataclasses.replace(result, source="<i>&") for result in results[:3]]
    for result in [*results, *odd]:
        page = result._repr_html_()
        assert page.startswith("<div>")
        assert page.count("<table>") == page.count("</table>") == 1
        assert not re.search(r"ada|Ada|Bo|<i>|<script|https?:", page)
    assert all("&lt;i&gt;&amp;" in result._repr_html_() for result in odd)
    assert ">3</td>" in report._repr_html_()


# Sandboxes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_sandbox_is_read_with_what_it_gives(provider: str) -> None:
    with tranship.sandbox(provider, seed=2) as there:
        assert there.address.startswith(f"{provider}://127.0.0.1:")
        (variable,) = there.environment
        assert os.environ[variable] == there.environment[variable]
        assert tranship.run(there.address, "b.csv").counts.read == 2
    assert variable not in os.environ


@pytest.mark.slow
def test_a_key_of_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRONOME_BEARER_TOKEN", "mine")
    with tranship.sandbox("metronome", seed=3) as first, tranship.sandbox("metronome") as second:
        assert first.address != second.address
        assert os.environ["METRONOME_BEARER_TOKEN"] == "mine"
        assert tranship.run(first.address, second.address).counts.created == 3
    assert os.environ["METRONOME_BEARER_TOKEN"] == "mine"


@pytest.mark.slow
def test_failed_records_are_sent_again() -> None:
    with tranship.sandbox("metronome") as there:
        tranship.run("a.csv", there.address)
        with pytest.raises(tranship.ConfigError, match="nothing failed"):
            tranship.retry()


def test_the_functions_take_their_options_by_name() -> None:
    for name in ("run", "plan", "apply", "verify", "retry", "resume", "inspect", "runs", "sandbox"):
        parameters = signature(getattr(tranship, name)).parameters.values()
        assert all(
            it.default is not it.empty or it.kind is it.VAR_KEYWORD for it in list(parameters)[2:] if it.name != "out"
        )
