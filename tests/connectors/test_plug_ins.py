"""Connectors of other packages that are faulty: each is named with its fault, and the rest works."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from support.commands import told
from support.terminals import EVIL, assert_plain
from tranship.connectors import plug_ins

HEAD = "from tranship.connectors.contract import Abilities, Connector\n"
KEY = "sk_live_Zx0123456789qRsT"
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install(code)` makes the code the only module of another package, whose entry point `crm` is its `C`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CRM_API_KEY", KEY)
    Path("in.csv").write_text("external_id,name,email\n1,Ann,a@x.co\n")
    entry = EntryPoint("crm", "faulty_crm:C", plug_ins.GROUP)
    monkeypatch.setattr(plug_ins, "entry_points", lambda group: [entry])

    def installed(code: str) -> None:
        Path("faulty_crm.py").write_text(HEAD + code)
        plug_ins.plug_ins.cache_clear()

    yield installed
    sys.modules.pop("faulty_crm", None)
    plug_ins.plug_ins.cache_clear()


def declared(changed: str) -> str:
    values = {"name": '"crm"', "summary": '"s"', "example": '"e"', "abilities": "Abilities()", "schemes": '("crm",)'}
    name, _, value = changed.partition("=")
    values[name] = value
    return f"C = Connector({', '.join(f'{name}={value}' for name, value in values.items())})"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"raise ValueError({EVIL!r} + {KEY!r})", "cannot be loaded (ValueError: "),
        ("class Panic(BaseException): pass\nraise Panic('x')", "cannot be loaded (Panic: x)"),
        (
            "class Mute(Exception):\n  def __str__(self): return 1 / 0\nraise Mute",
            "cannot be loaded (Mute: no message)",
        ),
        (declared("name=None"), "invalid value: name: expected str, got null"),
        (declared("abilities=None"), "invalid value: abilities: expected object, got null"),
        (declared("abilities=Abilities(modes=None)"), "invalid value: abilities.modes: expected array, got null"),
        (declared('schemes="crm"'), "invalid value: schemes: expected array, got str"),
        (declared("schemes=(1,)"), "invalid value: schemes[0]: expected str, got int"),
        (declared(f"schemes=({EVIL!r},)"), "has other characters than"),
        (declared('suffixes=("",)'), "the suffix '' is not a dot"),
        (declared('suffixes=(".CRM",)'), "the suffix '.CRM' is not a dot"),
        (declared("title='CRM'"), "has neither a source nor a destination"),
        (declared("source=5"), "invalid value: source: expected str | null, got int"),
    ],
)
def test_a_faulty_connector_is_named_with_its_fault(code: str, reason: str, install: Install) -> None:
    install(code)
    code_of_list, listed, _ = told("connectors")
    line = listed.splitlines()[-1]
    assert (code_of_list, line.startswith("crm: "), reason in line) == (0, True, True), line
    code_of_run, _, said = told("run", "in.csv", "crm://x")
    assert (code_of_run, reason in said) == (2, True), said
    for text in (listed, said, told("connectors", "--json")[1]):
        assert_plain(text)
        assert KEY[8:] not in text
    Path("in.csv").rename("in.unknown")
    assert told("inspect", "in.unknown")[0] == 0


def test_a_connector_reads_and_writes_what_it_has_code_for(install: Install) -> None:
    install(declared("source='faulty_crm:Source'"))
    [line] = [line for line in told("connectors")[1].splitlines() if line.lstrip().startswith("crm ")]
    assert line.split()[1:3] == ["yes", "no"]


@pytest.mark.parametrize("name", ["summary", "example", "key_variable", "title", "abilities"])
def test_words_of_a_connector_are_plain(name: str, install: Install) -> None:
    words = f"Abilities(modes=({EVIL!r},))" if name == "abilities" else repr(EVIL)
    install(declared(f"{name}={words}")[:-1] + ", source='faulty_crm:Source', destination='faulty_crm:Destination')")
    for more in ((), ("--json",)):
        code, listed, said = told("connectors", *more)
        assert code == 0
        assert_plain(listed)
        assert_plain(said)
    assert_plain(told("run", "in.csv", "crm://x")[2])


def test_what_a_module_prints_when_it_is_imported_is_not_output(install: Install) -> None:
    install("print('Welcome to CRM')\n" + declared("source='faulty_crm:Source'"))
    code, listed, said = told("connectors", "--json")
    assert (code, "Welcome" in listed, "Welcome" in said) == (0, False, True)


@pytest.mark.parametrize("fault", ["raise ValueError('x')", "raise SystemExit(0)", "return int('a')"])
def test_an_error_in_the_code_of_another_package_is_not_a_bug_in_tranship(fault: str, install: Install) -> None:
    install(declared("source='faulty_crm:end'") + f"\ndef end(address, **_):\n    {fault}\n")
    code, _, said = told("inspect", "crm://x")
    assert code == 1
    assert "This is a bug in the connector crm of another package (" in said
    assert "bug in Tranship" not in said


def test_a_bug_of_ours_is_one_of_ours_also_beside_other_packages(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(declared("name='crm'"))
    plug_ins.plug_ins()
    monkeypatch.setattr("tranship.pipelines.inspection.inspect", lambda *_, **__: 1 / 0)
    code, _, said = told("inspect", "in.csv")
    assert (code, "This is a bug in Tranship (" in said) == (1, True), said
