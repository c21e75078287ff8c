"""The commands prune and erase: what is kept of earlier runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from tranship.connectors.errors import ConfigError
from tranship.pipelines.cli.command_help import LOOK_BACK, Command
from tranship.pipelines.cli.crash import CrashContext
from tranship.pipelines.cli.options import OwnPath, identity_option, json_option, state_dir_option
from tranship.pipelines.cli.output import print_json
from tranship.pipelines.cli.terminal import say, tell
from tranship.schemas.counted import counted
from tranship.schemas.visible import visible

if TYPE_CHECKING:
    from tranship.pipelines.retention.erase import Erased
    from tranship.pipelines.retention.person import Person


_ASK: Final = "?"
"""The value of an option that was given without one."""


@click.command(
    "prune",
    cls=Command,
    job=LOOK_BACK,
    common=("keep", "keep_last", "keep_failed", "values", "dry_run"),
    examples=("tranship prune --keep 30d --keep-last 10 --dry-run", "tranship prune --keep 90d --values 7d"),
    short_help="Remove old runs",
)
@click.option("--keep", metavar="AGE", help="Keep runs younger than this: 30d, 12h or 8w.")
@click.option("--keep-last", metavar="N", help="Keep the last N runs of each pipeline.")
@click.option("--keep-failed", is_flag=True, help="Keep runs that did not end well.")
@click.option("--values", metavar="AGE", help="Remove the files with records of all runs older than this.")
@click.option("--pipeline", "pipelines", metavar="PIPELINE", multiple=True, help="Only this pipeline. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")
@state_dir_option
@json_option
@click.pass_obj
def prune_command(
    context: CrashContext,
    /,
    keep: str | None,
    keep_last: str | None,
    keep_failed: bool,
    values: str | None,
    pipelines: tuple[str, ...],
    dry_run: bool,
    state_dir: Path,
    as_json: bool,
) -> None:
    """Remove the runs that none of the options keeps. A run that is running, that can be continued, or that an open
    plan needs always stays.

    With --values, reports and counts stay, and the files with records go.
    """
    from tranship.pipelines.retention import prune
    from tranship.pipelines.retention.rules import rules_of

    context.state_dir = state_dir
    given = {"keep": keep, "keep_last": keep_last, "values": values, "keep_failed": "true" if keep_failed else ""}
    rules = rules_of({name: text or "" for name, text in given.items()}, "tranship prune")
    pruned = prune.prune(state_dir, rules, pipelines=pipelines, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **msgspec.to_builtins(pruned), "bytes_freed": pruned.bytes_freed})
        return
    if pruned.completed:
        say(f"completed the interrupted removal of {counted(pruned.completed, 'run')}")
    for removal in pruned.removals:
        say(visible(prune.described(removal, dry_run=dry_run)))
    for run_id, reason in pruned.kept.items():
        say(visible(f"kept {run_id}: {reason}"))
    for name, problem in pruned.damaged.items():
        tell(visible(f"damaged, not removed: {name}: {problem}"))
    if not pruned.removals:
        tell("Nothing to remove.")


@click.command(
    "erase",
    cls=Command,
    job=LOOK_BACK,
    common=("email", "external_id", "destination", "out", "dry_run"),
    examples=("tranship erase --external-id 0017 --dry-run", "tranship erase --external-id 0017"),
    short_help="Erase one customer",
)
@click.option(
    "--email",
    metavar="ADDRESS",
    is_flag=False,
    flag_value=_ASK,
    help="The customer with this address; - reads it from standard input, no value asks for it.",
)
@click.option(
    "--external-id", metavar="ID", is_flag=False, flag_value=_ASK, help="The customer with this id; likewise."
)
@click.option(
    "--plan",
    "folders",
    metavar="FOLDER",
    type=OwnPath(),
    multiple=True,
    help="Also the plan in this folder outside the state directory. Repeatable.",
)
@click.option(
    "--and-destination",
    "destination",
    metavar="ADDRESS",
    help="Also write what is to be done at this table or provider to the file --out. Nothing is done there.",
)
@click.option(
    "--out",
    metavar="LIST",
    type=OwnPath(),
    help="With --and-destination: a new file for this. It has the address or the id.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")
@identity_option
@state_dir_option
@json_option
@click.pass_obj
def erase_command(
    context: CrashContext,
    /,
    email: str | None,
    external_id: str | None,
    folders: tuple[Path, ...],
    destination: str | None,
    out: Path | None,
    dry_run: bool,
    identity: Path | None,
    state_dir: Path,
    as_json: bool,
) -> int:
    """Erase one customer from the files of all runs and plans: every record with the address or the id, and every
    other record of the customers that have it. Sources and destinations are left as they are.

    An address given as an argument is kept in the history of the shell. The exit code is 4 if a file could not be read.
    """
    from tranship.pipelines.retention import erase

    context.state_dir = state_dir
    person = _person(email, external_id)
    if not state_dir.is_dir():
        raise ConfigError(f"{state_dir}: there is no state directory. Check --state-dir.")
    if missing := next((folder for folder in folders if not (folder / "manifest.json").is_file()), None):
        raise ConfigError(f"--plan {missing}: there is no plan in this folder.")
    _check_plan(destination, out, state_dir)
    done = erase.erase(
        *(state_dir, person),
        folders=folders,
        destination=destination,
        out=out,
        dry_run=dry_run,
        identity=identity,
    )
    if as_json:
        print_json({"dry_run": dry_run, **msgspec.to_builtins(done), "total": done.total})
        return 4 if done.unreadable else 0
    for file, entries in done.entries.items():
        say(visible(f"{file}: {counted(entries, 'entry', 'entries')}"))
    for file in done.deleted:
        say(visible(f"{file}: deleted as a whole; it can be downloaded again"))
    for file, problem in done.unreadable.items():
        tell(visible(f"{file}: {problem}."))
    tell(_sentence(done, dry_run=dry_run))
    return 4 if done.unreadable else 0


def _check_plan(destination: str | None, out: Path | None, state_dir: Path) -> None:
    """Raise ConfigError unless both or none are given, and the file is new and outside the state directory."""
    if (destination is None) != (out is None):
        raise ConfigError("erase: --and-destination ADDRESS and --out FILE belong together. Give both.")
    if out is not None and out.exists():
        raise ConfigError(f"--out {out}: exists already. Name a new file.")
    if out is not None and out.resolve().is_relative_to(state_dir.resolve()):
        raise ConfigError(f"--out {out}: is in the state directory, from which the customer is erased. Name another.")


def _person(email: str | None, external_id: str | None) -> Person:
    """Return the customer of the options. Raises ConfigError, which never contains a value."""
    from tranship.pipelines.retention import person

    if (email is None) == (external_id is None):
        raise ConfigError("erase: give --email or --external-id. Without a value, you are asked for it.")
    if email is not None:
        return person.from_email(_value(email, "E-mail address"))
    return person.from_id(_value(external_id or "", "External id"))


def _value(given: str, name: str) -> str:
    if given == "-":
        return sys.stdin.readline().strip()
    return str(click.prompt(name, err=True)) if given == _ASK else given


def _sentence(done: Erased, *, dry_run: bool) -> str:
    found = f"{counted(done.total, 'entry', 'entries')} in {counted(len(done.entries), 'file')}"
    nothing = "Nothing was found in the files that could be searched." if done.unreadable else "Nothing to erase."
    parts = [f"{'Would erase' if dry_run else 'Erased'} {found}." if done.entries else nothing]
    if done.earlier:
        parts.append(f"The same value was erased on {done.earlier[:10]}.")
    if done.shared_addresses:
        others = counted(done.shared_addresses, "other address", "other addresses")
        parts.append(f"Not erased: {others} of this customer that other customers have, too.")
    return " ".join(parts)


COMMANDS: Final[tuple[click.Command, ...]] = (prune_command, erase_command)
