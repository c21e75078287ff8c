"""The journal: on disk before anybody goes on, whole after a kill, cheap by writing those who wait together."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.errors import ConfigError
from connectors.journal import Intent, Journal, Past, Result, digest

ROOT = Path(__file__).resolve().parent.parent.parent
CONTENT = digest("create", '{"a":1}')


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite", "run")
    yield opened
    opened.close()


def intents(*rows: int, attempt: int = 1) -> list[Intent]:
    return [Intent(row, attempt, "create", CONTENT) for row in rows]


def test_what_was_intended_and_what_came_of_it(journal: Journal) -> None:
    asyncio.run(journal.intend(intents(1, 2, 3)))
    asyncio.run(journal.intend(intents(2, attempt=2)))
    done = Result(3, "done", None, "id-3")
    journal.settle([done])
    journal.close()
    again = Journal(journal.file, "run")
    known = {1: Past(1, CONTENT, None), 2: Past(2, CONTENT, None), 3: Past(1, CONTENT, done)}
    assert again.past([1, 2, 3, 4]) == known
    assert again.past([4]) == {}
    assert again.past([]) == {}
    again.close()


def test_each_row_has_an_outcome(journal: Journal) -> None:
    asyncio.run(journal.intend(intents(5, 9)))
    journal.settle([Result(9, "refused", "refused: no")])
    journal.flush()
    assert journal.results([9, 7, 5]) == [
        ("refused", "refused: no", None),
        ("left", None, None),
        ("unknown", "sent, and not answered", None),
    ]


def test_an_intent_of_which_nothing_was_sent_is_withdrawn(journal: Journal) -> None:
    asyncio.run(journal.intend([*intents(1, 2), *intents(2, attempt=2)]))
    journal.withdraw([*intents(1), *intents(2, attempt=2)])
    assert [one[0] for one in journal.results([1, 2])] == ["left", "unknown"]
    journal.close()
    again = Journal(journal.file, "run")
    assert again.past([1, 2]) == {2: Past(1, CONTENT, None)}
    again.close()


def test_those_who_wait_are_written_together(journal: Journal) -> None:
    async def many() -> None:
        await asyncio.gather(*(journal.intend(intents(row)) for row in range(1000)))

    asyncio.run(many())
    assert {one[0] for one in journal.results(range(1000))} == {"unknown"}
    assert journal.groups < 200


def test_who_went_away_while_waiting_holds_up_nobody(journal: Journal) -> None:
    async def some() -> None:
        waiting = [asyncio.create_task(journal.intend(intents(row))) for row in range(100)]
        await asyncio.sleep(0)
        for task in waiting[:50]:
            task.cancel()
        await asyncio.wait(waiting)
        await journal.intend(intents(200))

    asyncio.run(some())
    found = journal.results(range(201))
    assert {row for row, one in enumerate(found) if one[0] == "unknown"} >= {*range(50, 100), 200}


def test_it_survives_a_kill(tmp_path: Path) -> None:
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from connectors.journal import Intent, Journal, Result
journal = Journal(Path(sys.argv[1]), "run")
for row in range(50):
    asyncio.run(journal.intend([Intent(row, 1, "create", "d")]))
    if row < 25:
        journal.settle([Result(row, "done", None, str(row))])
os.kill(os.getpid(), signal.SIGKILL)
"""
    file = tmp_path / "journal.sqlite"
    process = subprocess.run([sys.executable, "-c", program, str(file)], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL
    journal = Journal(file, "run")
    past = journal.past(range(60))
    journal.close()
    assert sorted(past) == list(range(50)), "every intent that was waited for is there"
    assert [row for row, one in past.items() if one.result] == list(range(25)), "an intent takes earlier outcomes along"


def test_intents_reach_the_disk_and_not_only_the_system(journal: Journal) -> None:
    full = 2
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (full,)
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_no_journal_is_said(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match=r"journal\.sqlite: the journal of this run cannot be written"):
        Journal(file)


def test_a_journal_that_breaks_lets_nobody_go_on(journal: Journal, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    other.execute("DROP TABLE entries")
    other.commit()
    other.close()
    with pytest.raises(ConfigError, match="no such table"):
        asyncio.run(journal.intend(intents(1)))
    with pytest.raises(ConfigError, match="no such table"):
        journal.settle([Result(1, "done")])


def test_content_is_told_apart() -> None:
    assert len({digest("create", "{}"), digest("update", "{}"), digest("create", "{ }"), digest("delete", None)}) == 4
    assert digest("create", "{}") == digest("create", "{}")
