"""The help of commands: the overview fits one screen, every command has its place, its commonest options and examples."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

import tranship
from support.commands import told
from tranship.pipelines import help_topics
from tranship.pipelines.cli.command_help import (
    JOBS,
    LONGEST_SHORT_HELP,
    Command,
    Commands,
    Group,
    every_command,
)
from tranship.pipelines.cli.main import cli
from tranship.pipelines.exit_codes import EXIT_CODES

ROOT = Path(__file__).resolve().parents[3]
ADVICE = "See 'A command' in CONTRIBUTING.md."
EVERY = every_command(cli)
ENDS = [words for words, command in EVERY.items() if not isinstance(command, click.Group)]
MOST_COMMON = 5
FEWEST_ROWS = 24


def context(words: tuple[str, ...]) -> click.Context:
    """Return the context of a command, which its help is made for."""
    found = click.Context(cli, info_name="tranship", **cli.context_settings)
    for word in words:
        group = found.command
        assert isinstance(group, click.Group)
        found = click.Context(group.commands[word], parent=found, info_name=word)
    return found


def helped(words: tuple[str, ...]) -> Command:
    command = EVERY[words]
    assert isinstance(command, Command), f"{words}: give it cls=Command or cls=SettingsCommand. {ADVICE}"
    return command


# The overview ---------------------------------------------------------------------------------------------------


def test_the_overview_fits_one_screen_with_the_next_prompt() -> None:
    code, shown, _ = told("--help")
    lines = shown.splitlines()
    assert code == 0
    assert len(lines) < FEWEST_ROWS
    assert max(map(len, lines)) <= 80


def test_the_overview_lists_every_command_under_its_job() -> None:
    shown = told("--help")[1]
    assert [line[:-1] for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")] == list(JOBS)
    for name in cli.commands:
        assert re.search(rf"^  (.{{39}})?{name} ", shown, re.MULTILINE), name


def test_a_narrow_terminal_gets_one_command_on_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = told("--help")[1]
    assert re.search(r"^  run +Check and load customers$", shown, re.MULTILINE)


@pytest.mark.parametrize("words", [[], ["help"], ["-h"]])
def test_the_overview_is_shown_by_help_and_without_a_command(words: list[str]) -> None:
    code, shown, error = told(*words)
    assert (shown or error) == told("--help")[1]
    assert code == (0 if words else 2)


# Every command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_its_place_its_options_and_examples(words: tuple[str, ...]) -> None:
    command, ctx = helped(words), context(words)
    name = f"tranship {' '.join(words)}"
    assert len(words) > 1 or command.job in JOBS, f"{name}: give it a job, one of JOBS. {ADVICE}"
    assert command.examples, f"{name}: give it an example. {ADVICE}"
    assert command.help, f"{name}: give it a docstring. {ADVICE}"
    assert len(command.get_short_help_str(200)) <= LONGEST_SHORT_HELP or len(words) > 1, (
        f"{name}: short_help has more than {LONGEST_SHORT_HELP} characters, and two commands share a line. {ADVICE}"
    )
    known = {option.name for option in command.visible_options(ctx)}
    assert set(command.common) <= known, f"{name}: common names options that it does not have. {ADVICE}"
    assert command.common or len(known - {"color"}) <= 2, f"{name}: name its commonest options in common. {ADVICE}"
    assert len(command.common) <= MOST_COMMON, f"{name}: at most {MOST_COMMON} options are the commonest. {ADVICE}"


@pytest.mark.parametrize("words", ENDS, ids=" ".join)
def test_options_and_arguments_say_what_they_take(words: tuple[str, ...]) -> None:
    command, ctx = helped(words), context(words)
    for param in command.get_params(ctx):
        if isinstance(param, click.Argument):
            assert param.help, f"{words}: the argument {param.name} has no text. {ADVICE}"
        elif isinstance(param, click.Option) and not param.hidden and "--help" not in param.opts:
            names, text = param.get_help_record(ctx) or ("", "")
            assert not re.search(r" (TEXT|INTEGER|FLOAT|PATH|FILENAME|FILE_PATH|<.*>)", names), (
                f"{words}: {names} does not say what it takes: give it a metavar. {ADVICE}"
            )
            assert text, f"{words}: {names} has no text"


def test_options_of_several_commands_have_one_wording() -> None:
    texts: dict[str, dict[str, list[str]]] = {}
    for words in ENDS:
        ctx = context(words)
        for option in helped(words).visible_options(ctx):
            names, _ = option.get_help_record(ctx) or ("", "")
            # An option that means something else, such as undo --only, takes something else, as its metavar says.
            text = re.sub(r"  \[default: .*", "", option.help or "")
            texts.setdefault(names, {}).setdefault(text, []).append(" ".join(words))
    different = {names: wordings for names, wordings in texts.items() if len(wordings) > 1}
    assert not different


@pytest.mark.parametrize("words", ENDS, ids=" ".join)
def test_the_short_form_fits_a_screen_and_the_full_form_has_every_option(words: tuple[str, ...]) -> None:
    command, ctx = helped(words), context(words)
    short, full = command.answer(ctx, ""), command.answer(context(words), "all")
    options = [option.opts[0] for option in command.visible_options(ctx)]
    shown = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", short, re.MULTILINE)) - {"--help"}
    assert len(shown) <= MOST_COMMON
    assert len(short.splitlines()) < 36
    assert set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", full, re.MULTILINE)) == {*options, "--help"}
    assert all(example in full for example in command.examples)
    assert (f"tranship {' '.join(words)} --help all" in short) == (len(options) > len(shown))


def test_the_short_form_has_the_first_sentence_of_each_option() -> None:
    short, full = (" ".join(told("run", *words)[1].split()) for words in (("--help",), ("--help", "all")))
    assert 'Build a field from columns: "Company | First Name + Last Name". ' in short
    assert "The first alternative" not in short
    assert "The first alternative" in full
    assert "Which customers may be created, updated or removed. [default: upsert]" in short


def test_the_full_form_is_grouped_and_ends_with_the_exit_codes() -> None:
    full = told("run", "--help", "all")[1]
    titles = re.findall(r"^([A-Z].*):$", full, re.MULTILINE)
    assert titles[:4] == ["Arguments", "Options", "Columns and values", "CSV files and Excel workbooks"]
    assert titles[-2:] == ["Output", "Examples"]
    assert "Exit codes:" in full.partition("Examples:")[2]
    assert all(meaning in full for meaning in EXIT_CODES.values())


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        ("plan", {"dry_run", "limit", "on_failure"}),
        ("verify", {"dry_run", "mode", "max_rejects", "alert"}),
        ("backfill", {"full", "new_files", "lookback", "max_deletes"}),
    ],
)
def test_what_makes_no_sense_for_a_command_is_no_option_of_it(words: str, absent: set[str]) -> None:
    names = {option.name for option in helped((words,)).visible_options(context((words,)))}
    assert not names & absent


def test_a_mistyped_option_gets_a_suggestion() -> None:
    code, _, error = told("verify", "a.csv", "b.csv", "--crosswlak", "x")
    assert code == 2
    assert "'--crosswalk'" in error


# A command that somebody adds ------------------------------------------------------------------------------------


OPTIONS = [click.Option([f"--{name}"], metavar="N", help="Some number.") for name in ("a", "b", "c")]


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"examples": ["tranship new"]}, "give it a job, one of JOBS"),
        ({"job": JOBS[0]}, "give it an example"),
        ({"job": JOBS[0], "examples": ["tranship new"], "params": OPTIONS}, "name its commonest options in common"),
        (
            {"job": JOBS[0], "examples": ["tranship new"], "params": OPTIONS, "common": ["d"]},
            "common names options that it does not have",
        ),
        (
            {"job": JOBS[0], "examples": ["tranship new"], "short_help": "Do something with a file"[:20] * 2},
            "27 characters",
        ),
    ],
)
def test_a_command_that_lacks_something_fails_with_advice(
    given: dict[str, Any], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command("new", help="Do something.", **given)
    monkeypatch.setitem(EVERY, ("new",), command)
    monkeypatch.setitem(cli.commands, "new", command)
    with pytest.raises(AssertionError, match=rf"tranship new: .*{advice}.* See 'A command' in CONTRIBUTING"):
        test_every_command_has_its_place_its_options_and_examples(("new",))


def test_contributing_says_how_to_add_one() -> None:
    assert "**A command**" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


# tranship help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("help", "run"), ("run", "--help")),
        (("help", "run", "all"), ("run", "--help", "all")),
        (("--help", "run"), ("run", "--help")),
        (("help", "state", "list"), ("state", "list", "--help")),
        (("help", "SHOPIFY"), ("help", "shopify-customers")),
    ],
)
def test_help_of_a_command_or_topic(words: tuple[str, ...], same: tuple[str, ...]) -> None:
    code, shown, _ = told(*words)
    assert code == 0
    assert shown == told(*same)[1]
    assert len(shown) > 100


def test_help_of_a_system_leads_to_its_page() -> None:
    pages = " ".join(told("help", "hubspot")[1].partition("Documentation: ")[2].split()).split(", ")
    assert len(pages) == 2
    assert all((ROOT / page).is_file() for page in pages)
    assert "tranship run customers_export.csv" in told("help", "shopify")[1]


def test_help_of_everything_has_every_command() -> None:
    shown = told("help", "all")[1]
    assert all(f"Usage: tranship {' '.join(words)} " in shown for words in ENDS)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("help", "inspct"), "inspct: is not a command or topic. Did you mean inspect?"),
        (("help", "xyzzy"), "The topics are exports, schedule, migrate"),
        (("help", "identity.ambiguous_email"), "type: tranship explain identity.ambiguous_email"),
        (("help", "5"), "type: tranship explain 5"),
        (("run", "--help", "more"), "Type tranship run --help or, for all options, tranship run --help all."),
    ],
)
def test_an_unknown_topic_is_answered_by_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    code, shown, error = told(*words)
    assert (code, shown) == (2, "")
    assert sentence in error
    assert error.startswith("Error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", help_topics.TOPICS)
def test_topics_lead_to_a_page(name: str) -> None:
    topic = help_topics.TOPICS[name]
    assert (ROOT / topic.page).is_file()
    assert f"Documentation: {topic.page}" in told("help", name)[1]
    for line in topic.commands:
        if command := re.match(r"(?:.*&& )?tranship (?!\|)(.*)", line):
            words = shlex.split(command[1])
            cli.commands[words[0]].make_context(words[0], words[1:])


# Examples --------------------------------------------------------------------------------------------------------

CUSTOMERS = "Account No,E-mail,Name,Updated At\n" + "".join(
    f"{number},a{number}@acme.example,Acme {number},2026-01-0{number % 2 + 1}T10:00:00Z\n" for number in range(1, 13)
)
TABLE = "duckdb:///warehouse.duckdb?table=customers"
NOTHING_LEFT = ("retry", "resume", "fix")
RUNS_UNTIL_STOPPED = ("sandbox",)
ORDER = (
    *("inspect", "run", "runs", "report", "changes", "verify", "backfill", "state", "plan", "doctor", "apply"),
    *("undo", "retry", "resume"),
)


@pytest.mark.slow
def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exports").mkdir()
    for name in ("customers.csv", "january.csv", "february.csv", "exports/a.csv"):
        Path(name).write_text(CUSTOMERS, encoding="utf-8")
    ends = '[pipelines.{0}]\nsource = "customers.csv"\ndestination = "{0}.csv"\n'
    Path("pipelines.toml").write_text(ends.format("crm") + ends.format("shop"), encoding="utf-8")
    ordered = sorted(EVERY, key=lambda words: ORDER.index(words[0]) if words[0] in ORDER else len(ORDER))
    with tranship.sandbox("metronome") as account:
        found = re.search(r"//([\d.:]+)", account.address)
        assert found
        monkeypatch.setenv("METRONOME_BASE_URL", f"http://{found[1]}")
        for words in ordered:
            for example in helped(words).examples:
                _check(words[0], example)
            if words == ("run",):
                assert told("run", "customers.csv", TABLE, "--since", "last")[0] == 0


def _check(name: str, example: str) -> None:
    typed = shlex.split(example.partition(" > ")[0])
    assert typed[0] == "tranship"
    if name in RUNS_UNTIL_STOPPED:
        cli.commands[name].make_context(name, typed[2:])
        return
    code, _, error = told(*typed[1:])
    if name == "inspect" and "--write" in typed:
        pipeline = Path("pipeline.toml")
        pipeline.write_text(pipeline.read_text().replace("# destination", "destination"), encoding="utf-8")
    assert code == (2 if name in NOTHING_LEFT else 0), f"{example}: {error}"
    assert name not in NOTHING_LEFT or "nothing" in error, error


def test_groups_are_helped_too() -> None:
    assert isinstance(cli, Commands)
    assert isinstance(cli.commands["state"], Group)
