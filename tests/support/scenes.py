"""Commands on a machine that fails them, and what must be true afterwards."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from support import moving
from support.accounts import Account
from support.artefacts import texts
from support.failing_disk import FailingDisk
from support.postgres_server import Database

DONE = (0, 4)
DUCKDB = "duckdb:///w.duckdb?table=customers"
OPTIONS = ("--fill", "--max-warnings", "100%")

Words = tuple[str, ...]


@dataclass
class Scene:
    """A command, what is done before it, and what its destination holds."""

    words: Words
    look: Callable[[Path], Any]
    before: tuple[Words, ...] = ()
    prepare: Callable[[Path], None] = lambda _: None
    """What a person does after these commands."""
    completed: Callable[[Path], str] = lambda _: ""
    """What is missing at the end of what the command does besides."""
    keep: Callable[[], Callable[[], None]] = lambda: lambda: None
    """Take a copy of a destination outside of the folder, and return what brings it back."""
    begun: Words = ()
    """A command before it that the disk breaks off when two thirds of its writes are done."""
    only: str = ""
    """Of the writes, those to files of this name fail."""
    piecemeal: bool = False
    """The destination is written customer by customer."""
    environment: Mapping[str, str] = field(default_factory=dict)
    named: str = r"\.tranship|\bw\.duckdb|\bout\.|\bplan\b"
    """A pattern of what the message names."""


def in_duckdb(folder: Path) -> Any:
    """Its customers; null if there is no file."""
    if not (folder / "w.duckdb").exists():
        return None
    with duckdb.connect(folder / "w.duckdb", read_only=True) as connection:
        if not connection.sql("FROM duckdb_tables() WHERE table_name = 'customers'").fetchall():
            return []
        return connection.sql("SELECT customer_key, email, name, city FROM customers ORDER BY ALL").fetchall()


def in_file(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).read_bytes() if (folder / name).exists() else None


def _kept_files_with(value: str) -> Callable[[Path], bool]:
    """Whether any file of the runs has this value."""
    return lambda folder: any(value in text for _, text in texts(folder / ".tranship" / "runs"))


def _kept_runs(folder: Path) -> int:
    """The number of runs."""
    return len([path for path in (folder / ".tranship" / "runs").iterdir() if (path / "manifest.json").exists()])


def loading(destination: str, source: str = "in.csv") -> Words:
    return ("run", source, destination, *OPTIONS)


def writing(name: str) -> Scene:
    return Scene(loading(name), in_file(name), (loading(name, "old.csv"),))


RECIPIENT = "age1ug0hvdjy2ryu6zpkzh3xld20vu2p03ruj0vjm22504na24w3uews3ft79n"
_IDENTITY = "AGE-SECRET-KEY-18Y4YQWJX3W5YRPUJ695ATNCDJZ2GCZ7FNT6JT3LCHQ7674S6YV0QX5MT27"


def _key(folder: Path) -> None:
    """The key with which encrypted runs are continued. Commands that are printed name it `FILE`."""
    (folder / "FILE").write_text(f"{_IDENTITY}\n")


def _readable(folder: Path) -> str:
    """The files of runs in which a customer can be read."""
    # Bytes that are encrypted can be any words.
    plain = ((name, text) for name, text in texts(folder / ".tranship") if not text.startswith("age-encryption"))
    return ", ".join(name for name, text in plain if "@x.example" in text)


def _corrected(folder: Path) -> None:
    file = folder / "rejects.csv"
    assert "Narnia" in file.read_text()
    file.write_text(file.read_text().replace("Narnia", "Denmark"))


def _ruled(folder: Path) -> str:
    file = folder / "rules.toml"
    rules = file.read_text() if file.exists() else ""
    return "" if 'when = "Narnia"\nthen = "Denmark"' in rules else f"no rule in {rules!r}"


_PLAN: Words = ("plan", "in.csv", DUCKDB, *OPTIONS, "--out", "plan")
_OLD = loading(DUCKDB, "old.csv")
SCENES = {
    "a new database": Scene(loading(DUCKDB), in_duckdb),
    "a table": Scene(loading(DUCKDB), in_duckdb, (_OLD,)),
    **{f"a {kind} file": writing(f"out.{kind}") for kind in ("csv", "parquet", "jsonl", "csv.gz", "jsonl.zst")},
    "a plan": Scene(_PLAN, in_duckdb),
    "the application of a plan": Scene(("apply", "plan"), in_duckdb, (_OLD, _PLAN)),
    "a comparison": Scene(("verify", "in.csv", DUCKDB), in_duckdb, (loading(DUCKDB),)),
    "a second comparison": Scene(("verify", "last"), in_duckdb, (loading(DUCKDB),)),
    "a run that is continued": Scene(("resume", "last"), in_duckdb, (_OLD,), begun=loading(DUCKDB)),
    "a workbook of rejects": Scene(
        ("fix", "last", "--out", "rejects.xlsx"),
        in_duckdb,
        ((*loading(DUCKDB), "--strict"),),
        only="rejects.xlsx",
        named=r"rejects\.xlsx",
    ),
    "rejects that were corrected": Scene(
        ("fix", "last", "--from", "rejects.csv", "--always", "country", "--corrections", "rules.toml"),
        in_duckdb,
        ((*loading(DUCKDB), "--strict"), ("fix", "last", "--out", "rejects.csv")),
        prepare=_corrected,
        completed=_ruled,
        named=r"\.tranship|\bw\.duckdb|\brules\.toml",
    ),
    "an encrypted run": Scene(
        (*loading(DUCKDB), "--encrypt-to", RECIPIENT),
        in_duckdb,
        ((*_OLD, "--encrypt-to", RECIPIENT),),
        prepare=_key,
        completed=_readable,
    ),
    "an encrypted run that is compared": Scene(
        ("verify", "last", "--identity", "FILE"),
        in_duckdb,
        ((*loading(DUCKDB), "--encrypt-to", RECIPIENT),),
        prepare=_key,
        completed=_readable,
    ),
    "an encrypted run that is undone": Scene(
        ("undo", "last", "--identity", "FILE"),
        in_duckdb,
        ((*_OLD, "--encrypt-to", RECIPIENT), (*loading(DUCKDB), "--encrypt-to", RECIPIENT)),
        prepare=_key,
        completed=_readable,
    ),
    "an undo": Scene(("undo", "last"), in_duckdb, (_OLD, loading(DUCKDB))),
    "an erasure": Scene(("erase", "--external-id", "cus_00003"), _kept_files_with("cus_00003"), (loading(DUCKDB),)),
    "a removal of runs": Scene(("prune", "--keep-last", "1"), _kept_runs, (_OLD, loading(DUCKDB))),
}


def inputs(folder: Path) -> None:
    """`in.csv`, with something for each file of a run directory, and an older state of it."""
    rows = [moving.customer(number) for number in range(40)]
    rows += [
        moving.customer(3, city=None, phone="12", updated_at="2024-03-01T00:00:00Z"),
        moving.customer(50, country="Narnia"),
        moving.customer(51, external_id=None),
        moving.customer(52, email="c5@x.example"),
        moving.customer(53, email="none"),
    ]
    moving.written(folder / "in.csv", rows)
    moving.written(folder / "old.csv", [moving.customer(number, name=f"Old {number}") for number in range(20)])


def complaints(disk: FailingDisk, scene: Scene, before: Any, after: Any, **limits: int) -> Iterator[str]:
    """Give the command on the failing disk or within limits, heal the disk, and continue as the command said."""
    said = disk.run(*scene.words, environment=scene.environment, **limits)
    disk.heal()
    now = scene.look(disk.folder)
    if said.code not in (2, *DONE) or "Traceback" in said.err:
        yield f"exit {said.code}: {said.err}"
    if scene.piecemeal and any(customer not in after for customer in now):
        yield f"the account holds what an undisturbed run does not write: {said.err}"
    if not scene.piecemeal and now not in ((after,) if said.code in DONE else (before, after)):
        yield f"exit {said.code}, and the destination is neither as before nor as after: {said.err}"
    if said.code in DONE:
        if missing := scene.completed(disk.folder):
            yield f"exit {said.code}, but: {missing}"
        return
    message = re.search(r"^Error: .+", said.err, re.MULTILINE)
    continued = re.search(r"^Once this is solved, (?:continue with: (tranship .+)|.*the same command)", said.err, re.M)
    if not message or not continued or not re.search(scene.named, message[0]):
        yield f"no path, or no command to continue with: {said.err}"
        return
    words = shlex.split(continued[1])[1:] if continued[1] else scene.words
    again = disk.run(*words, environment=scene.environment)
    if words[0] != "report" and again.code not in DONE:
        yield f"{words[0]} does not continue: {again.err}"
    elif scene.look(disk.folder) != after:
        yield f"{words[0]} comes to another result"
    elif missing := scene.completed(disk.folder):
        yield f"after {words[0]}: {missing}; it was said: {said.err}"
    if left := [path.name for path in disk.folder.rglob("*.partial")]:
        yield f"left behind: {left}"


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def into(there: Account, verb: str) -> Scene:
    """A command that writes to an account."""
    run: Words = ("run", "in.csv", there.address, "--fill")
    plan: Words = ("plan", *run[1:], "--out", "plan")

    def keep() -> Callable[[], None]:
        left = there.sandbox.state()

        def restore() -> None:
            there.sandbox.clear()
            there.sandbox.add(*left)

        return restore

    words, before, begun = {
        "run": (run, (), ()),
        "apply": (("apply", "plan"), (plan,), ()),
        "resume": (("resume", "last"), (), run),
        "retry": (("retry", "plan"), (plan, ("apply", "plan", "--limit", "10")), ()),
    }[verb]
    look = {"look": lambda _: moving.settable(there), "environment": there.environment, "piecemeal": True}
    return Scene(words, before=before, begun=begun, keep=keep, **look)


def into_postgres(database: Database) -> Scene:
    """A run into a table of a server."""

    def look(_: Path) -> Any:
        if not database.rows("SELECT to_regclass('customers') IS NOT NULL AS it")[0]["it"]:
            return None
        return database.rows("SELECT customer_key, email, name, city FROM customers ORDER BY customer_key")

    def restore() -> None:
        database.do("DROP TABLE IF EXISTS customers, _tranship_ledger, _tranship_changes")

    return Scene(loading(f"{database.url}?table=customers"), look, keep=lambda: restore)
