"""Real runs of all kinds in one state directory, for tests of what they leave behind."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from unittest import mock

import tranship
from support.accounts import opened
from support.sandboxes import sandboxes
from support.workbooks import workbook
from tranship.connectors.errors import TranshipError

PERSON = "Ana.O'Hara+Shop@Example.com"
"""The e-mail of the customer that tests look for, as one of the sources spells it."""
PERSON_ID = "C&7 <42>"
_HEAD = "external_id,email,name,status,country,phone,updated_at,Team\n"


def _lines(*rows: str) -> str:
    return _HEAD + "".join(f"{row}\n" for row in rows)


def sources(folder: Path) -> None:
    """Write the files that the runs read: records of the person in several spellings among those of others."""
    others = [
        f"K{n},user{n}@example.org,User {n} Ltd,active,DE,+49 30 12345{n:02},2026-01-01T00:00:00Z,Ops"
        for n in range(30)
    ]
    person = f"{PERSON_ID},{PERSON},Ana Müller,active,DE,,2026-01-01T00:00:00Z,Ops"
    (folder / "first.csv").write_text(
        _lines(
            *others,
            person,
            ",ana.o'hara+shop@example.com,Ana M.,active,DE,,2025-01-01T00:00:00Z,Ops",
            f"B1, {PERSON.upper()} ,N/A,active,DE,,2026-01-01T00:00:00Z,Ops",
            "B2,broken@,Broken Ltd,active,DE,,2026-01-01T00:00:00Z,Ops",
            f"{PERSON_ID},{PERSON},Ana Müller,onhold,Atlantis,,2026-01-01T00:00:00Z,Ops",
        )
    )
    (folder / "second.csv").write_text(
        _lines(
            *(other.replace("Ltd", "Limited") for other in others[:3]),
            person.replace("Ana Müller", "Ana Meyer"),
            f'B3,"x, {PERSON}",Third Ltd,active,DE,,2026-01-01T00:00:00Z,"mail {PERSON}"',
        )
    )
    workbook(
        folder / "book.xlsx",
        {"Sheet1": [["external_id", "email", "name"], ["W1", PERSON, "N/A"], ["W2", "w2@example.org", "Work Ltd"]]},
    )


def runs(folder: Path, database_url: str | None = None) -> Path:
    """Do runs of all kinds in this folder and return their state directory."""
    sources(folder)
    state = folder / ".tranship"
    common = {"state_dir": state, "max_rejects": 100, "max_conflicts": "100%"}

    def file(name: str) -> str:
        return str(folder / name)

    tables = [f"duckdb:///{file('own.duckdb')}?table=customers"]
    if database_url:
        tables.append(f"{database_url}{'&' if '?' in database_url else '?'}table=customers")
    for table in tables:
        tranship.run(file("first.csv"), table, history=True, **common)
        tranship.run(file("second.csv"), table, history=True, **common)
        tranship.undo("last", state_dir=state)
    tranship.run(file("book.xlsx"), file("out.jsonl"), **common)
    tranship.run(file("first.csv"), file("out.csv"), **common)
    tranship.run(file("first.csv"), file("out.csv"), **{**common, "max_rejects": None}, overwrite=True)
    tranship.verify(file("first.csv"), file("out.csv"), **common)
    folder.joinpath("drop").mkdir(exist_ok=True)
    (folder / "drop" / "a.csv").write_text((folder / "first.csv").read_text())
    tranship.run(file("drop"), tables[0].replace("customers", "fresh"), new_files=True, **common)
    tranship.run(file("first.csv"), tables[0].replace("customers", "late"), since="last", **common)
    with contextlib.suppress(TranshipError):
        tranship.run(file("first.csv"), tables[0].replace("customers", "stopped"), **{**common, "max_rejects": 0})
    with sandboxes() as start:
        account = opened(start, "metronome", seed=5)
        with mock.patch.dict(os.environ, account.environment):
            tranship.run(file("first.csv"), account.address, **common)
            run_id = tranship.run(file("second.csv"), account.address, **common).run_id
            tranship.verify(file("second.csv"), account.address, **common)
            tranship.undo(run_id, state_dir=state, max_changes="100%", max_deletes="100%", remove_for_good=True)
            tranship.plan(file("first.csv"), account.address, out=state / "plans" / "move", **common)
            tranship.run(account.address, tables[0].replace("customers", "fetched"), **common)
    tranship.plan(file("second.csv"), tables[0], out=state / "plan", **common)
    return state
