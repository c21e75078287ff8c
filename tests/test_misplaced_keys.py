"""A key that is given in the wrong place, to any command: it is never repeated, and the message says where it belongs.

Keys within addresses are the subject of `test_echoes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import tranship
from support.artefacts import texts
from tranship.pipelines.cli import main as command_line
from tranship.pipelines.settings_model import Settings

KEYS = {
    "sk": "sk_live_Zx0123456789qRsT",
    "mf": "mf_sk_test_Zx0123456789",
    "hexadecimal": "0123456789abcdef" * 4,
    "web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTIzNDU2Nzg5In0.0123456789-abc",
}
KEY = KEYS["sk"]
PARTS = ("0123456789", "Zx012", "eyJhbGciOiJIUzI1NiJ9")


def commands(group: click.Group = command_line.cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words that start each command, also those of groups in groups."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def _command(path: tuple[str, ...]) -> click.Command:
    found: click.Command = command_line.cli
    for name in path:
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


def uses(path: tuple[str, ...], key: str) -> Iterator[list[str]]:
    """The command with a key in place of each argument and as the value of each option, and where none belongs."""
    command = _command(path)
    params = command.get_params(click.Context(command))
    yield [*path, key]
    yield [*path, "customers.csv", "out.csv", key]
    yield [*path, "--api-key", key]
    yield [*path, f"--api-key={key}"]
    yield [key, *path]
    for option in params:
        if isinstance(option, click.Option) and not option.is_flag:
            yield [*path, option.opts[-1], *[key] * option.nargs]
            yield [*path, option.opts[-1], *[f"name={key}"] * option.nargs]


def said(folder: Path, arguments: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, list[str]]:
    """Run a command; return its exit code, what it printed, and the places that hold a part of a key."""
    capfd.readouterr()
    code = command_line.main(arguments)
    out, err = capfd.readouterr()
    found = [("printed", out + err), *texts(folder)]
    return code, out + err, [f"{where}: {arguments}" for where, text in found for part in PARTS if part in text]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "customers.csv").write_text("external_id,name,email\n1,Ann,ann@example.com\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_a_key_as_an_argument_of_any_command_is_nowhere(
    path: tuple[str, ...], kind: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments in uses(path, KEYS[kind]):
        code, printed, leaks = said(folder, arguments, capfd)
        assert (code, leaks) == (2, [])
        assert "_TOKEN" in printed, arguments


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_the_key_of_the_environment_as_an_argument_is_nowhere(
    path: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "account.0123456789.of.any.form"
    monkeypatch.setenv("GROWPANEL_API_KEY", key)
    for arguments in uses(path, key):
        code, printed, leaks = said(folder, arguments, capfd)
        assert (code, leaks) == (2, [])
        assert "GROWPANEL_API_KEY" in printed


LINES = (
    *(
        f"{name} = {value}"
        for name in Settings.model_fields
        for value in (f'"{KEY}"', f'["{KEY}"]', f'{{a = "{KEY}"}}')
    ),
    f'api_key = "{KEY}"',
    f'[api]\nkey = "{KEY}"',
    f"{KEY} = 1",
    f'"{KEY}" = 1\n"{KEY}" = 2',
    f'[fields]\n"{KEY}" = "Name"',
    f'[values.status]\n"{KEY}" = "active"',
    f"mode = {KEY}",
)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "inspect"])
def test_a_key_in_a_settings_file_is_nowhere(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for line in LINES:
        usual = [f'{name} = "{value}"' for name, value in (("source", "customers.csv"), ("destination", "out.csv"))]
        lines = [text for text in usual if not line.startswith(text[:6])]
        file = folder / "pipeline.toml"
        file.write_text("\n".join([*lines, line]))
        capfd.readouterr()
        code = command_line.main([command, "pipeline.toml"])
        printed = "".join(capfd.readouterr())
        file.unlink()
        assert code == 2, line
        assert not [line for _, text in [("", printed), *texts(folder)] for part in PARTS if part in text], line
        assert "_TOKEN" in printed or "is not valid TOML" in printed, line


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_key_in_a_variable_of_settings_is_nowhere(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for value in (KEY, f"name={KEY}"):
        monkeypatch.setenv(f"TRANSHIP_{name.upper()}", value)
        code, printed, leaks = said(folder, ["run", "customers.csv", "out.csv"], capfd)
        assert (code, leaks) == (2, [])
        assert "_TOKEN" in printed


CALLS: dict[str, Any] = {
    "run": lambda: tranship.run(KEY, "out.csv"),
    "run to": lambda: tranship.run("customers.csv", KEY),
    "plan": lambda: tranship.plan("customers.csv", "out.csv", out=KEY),
    "apply": lambda: tranship.apply(KEY),
    "verify": lambda: tranship.verify(KEY, "out.csv"),
    "retry": lambda: tranship.retry(KEY),
    "resume": lambda: tranship.resume(KEY),
    "inspect": lambda: tranship.inspect(KEY),
    "an option": lambda: tranship.run("customers.csv", "out.csv", pace=KEY),
    "an unknown option": lambda: tranship.run("customers.csv", "out.csv", **{KEY: 1}),
    "a sandbox": lambda: tranship.sandbox(KEY).__enter__(),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("folder")
def test_a_key_as_an_argument_in_python_is_not_repeated(name: str) -> None:
    with pytest.raises(tranship.ConfigError) as caught:
        CALLS[name]()
    assert not [part for part in PARTS if part in str(caught.value)]
    assert "_TOKEN" in str(caught.value)
