"""What a stream can show: colours, links, and characters."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tranship.pipelines.cli import terminal
from tranship.pipelines.cli.main import main


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "CI"),
        *("FORCE_HYPERLINK", "VTE_VERSION", "WT_SESSION", "DOMTERM", "TMUX", "STY", "TEAMCITY_VERSION"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal.choose_colour("auto")


@pytest.mark.parametrize(
    ("variables", "on_a_terminal", "in_a_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"CLICOLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colours_follow_the_environment(
    variables: dict[str, str], on_a_terminal: bool, in_a_pipe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (terminal.has_colours(Screen()), terminal.has_colours(io.StringIO())) == (on_a_terminal, in_a_pipe)


def test_the_option_decides_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.choose_colour("always")
    assert terminal.has_colours(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal.choose_colour("never")
    assert not terminal.has_colours(Screen())


def test_the_option_is_one_of_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("id,name\n1,Ann\n")
    words = ("run", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--state-dir", str(tmp_path / "state"))
    assert main([*words, "--color", "always"]) == 0
    assert "\x1b[32m\x1b[1mdone\x1b[0m in" in capfd.readouterr().err
    assert main([*words, "--overwrite"]) == 0, "the option of one command is not that of the next"
    assert "\x1b" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"VTE_VERSION": "7006"}, True),
        ({"VTE_VERSION": "5000"}, False),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.5.0"}, True),
        ({"TERM_PROGRAM": "iTerm.app", "TERM_PROGRAM_VERSION": "3.0.9"}, False),
        ({"TERM_PROGRAM": "vscode", "TERM_PROGRAM_VERSION": "1.95.2"}, True),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, False),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, False),
        ({"FORCE_HYPERLINK": "1"}, True),
        ({"TERM": "xterm-kitty", "FORCE_HYPERLINK": "0"}, False),
    ],
)
def test_links_are_for_terminals_that_have_them(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert terminal.has_links(Screen()) is expected
    terminal.choose_colour("always")
    assert not terminal.has_links(io.StringIO()), "never in a pipe"


def test_sentences_are_wrapped_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Screen()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("COLUMNS", "20")
    terminal.tell("\x1b[31mError:\x1b[0m 10 of 46 re\nwere rejected, more than allowed")
    assert out.getvalue() == "\x1b[31mError:\x1b[0m 10 of 46 re\nwere rejected, more\n  than allowed\n"


def test_a_path_is_a_link_to_the_file() -> None:
    shown = terminal.Look(links=True).path("a b/report.html")
    assert re.fullmatch(r"\x1b]8;;file://\S+/a%20b/report\.html\x1b\\a b/report\.html\x1b]8;;\x1b\\", shown)
    assert terminal.Look(links=True).path("s3://lake/report.html") == "s3://lake/report.html"


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_signs_that_the_locale_lacks_have_stand_ins(locale: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,name,status\n1,Ann,läuft\n2,Bob,active\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    ran = subprocess.run(
        [sys.executable, "-m", "tranship", "inspect", "in.csv"],
        cwd=tmp_path,
        env=kept | {"LC_ALL": locale},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (b"l\\xe4uft" if locale == "C" else "läuft".encode()) in ran.stdout
    assert locale != "C" or ran.stdout.isascii()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("run", "missing.csv", "out.jsonl"), "Error: missing.csv: no such file or directory. Check the path."),
        (("run", "dirty.csv", "out.jsonl", "--max-rejects", "0"), "Error: 1 of 2 records rejected, more than"),
        (("run", "dirty.csv", "out.jsonl", "--quiet"), "done, with rejects, exit code 4: dirty.csv"),
        (("run", "dirty.csv", "out.jsonl", "--bogus"), "Error: No such option '--bogus'."),
    ],
)
def test_errors_are_wrapped_between_words(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dirty.csv").write_text("Customer ID,E-mail,Name\nc1,jane@acme.com,Acme\nc2,not an address,Gamma\n")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(arguments)
    lines = screen.getvalue().splitlines()
    assert reason in re.sub(r"\s+", " ", screen.getvalue())
    # A path that fits no line stays whole, at the end of one.
    assert [line for line in lines if " " in line[40:]] == []


def test_errors_in_a_pipe_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["run", "missing.csv", "out.jsonl"]) == 2
    assert capsys.readouterr().err.splitlines() == ["Error: missing.csv: no such file or directory. Check the path."]
