"""The journal: on disk before anything continues, intact after a kill, and cheap, as waiting entries are written
together."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fuzzing import seeds
from tranship.connectors.api.journal import Intent, Journal, Past, Result, digest
from tranship.connectors.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent.parent.parent
EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "40"))
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
from tranship.connectors.api.journal import Intent, Journal, Result
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


# A journal that is lost -----------------------------------------------------------------------------------------------

BEGUN = 40
"""Rows that were begun when the process died; one in two of them is done."""
FILES = ("journal.sqlite", "journal.sqlite-wal", "journal.reached")


def killed(folder: Path, run_id: str = "run", rows: int = BEGUN) -> Path:
    """Make the journal of a process that was killed while it was sending; an earlier copy is in `earlier`."""
    alive = Journal(folder / "alive" / "journal.sqlite", run_id)
    for row in range(rows):
        asyncio.run(alive.intend(intents(row), row + 1))
        if row % 2:
            alive.settle([Result(row, "done", None, f"id-{row}")])
        if row == rows // 2:
            alive.flush()
            shutil.copytree(folder / "alive", folder / "earlier")
    alive.flush()
    shutil.copytree(folder / "alive", folder / "dead")
    alive.close()
    return folder / "dead"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    for name, run_id in (("this", "run"), ("other", "another")):
        (folder / name / "alive").mkdir(parents=True)
        killed(folder / name, run_id)
    return folder


def known(folder: Path, *, begun: bool = True) -> dict[int, Past]:
    journal = Journal(folder / "journal.sqlite", "run", begun=begun)
    past = {**journal.past(range(BEGUN)), **journal.past(range(BEGUN, BEGUN + 10))}
    journal.close()
    return past


def _flips(folder: Path) -> Iterator[tuple[str, int]]:
    for name in FILES:
        size = (folder / name).stat().st_size
        yield from ((name, place) for place in range(0, size, max(1, size // 50)))


def test_of_a_journal_that_is_whole_each_row_is_known(left: Path, tmp_path: Path) -> None:
    shutil.copytree(left / "this" / "dead", tmp_path / "it")
    past = known(tmp_path / "it")
    assert sorted(past) == list(range(BEGUN))
    assert {one.attempts for one in past.values()} == {1}
    assert sum(one.result is not None for one in past.values()) == BEGUN // 2


@pytest.mark.parametrize(
    "harm", ["removed", "emptied", "truncated", "earlier", "another run's", "a folder", "all gone"]
)
@pytest.mark.parametrize("name", FILES)
def test_each_row_of_a_lost_journal_may_have_been_sent(left: Path, tmp_path: Path, harm: str, name: str) -> None:
    folder = tmp_path / "it"
    shutil.copytree(left / "this" / "dead", folder)
    file = folder / name
    match harm:
        case "removed":
            file.unlink()
        case "emptied":
            file.write_bytes(b"")
        case "truncated":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case "earlier":
            shutil.copy(left / "this" / "earlier" / name, file)
        case "another run's":
            shutil.copy(left / "other" / "dead" / name, file)
        case "a folder":
            file.unlink()
            file.mkdir()
        case "all gone":
            for each in folder.iterdir():
                each.unlink()
    if harm == "a folder" and name.endswith("-wal"):
        with pytest.raises(ConfigError, match="Nothing more is sent without it"):
            known(folder)
        return
    past = known(folder)
    assert set(past) >= set(range(BEGUN))
    assert all(one.result is None or one.result.outcome == "done" for one in past.values())


@pytest.mark.slow
def test_no_flipped_bit_makes_a_row_unsent_or_another_one_done(left: Path, tmp_path: Path) -> None:
    for at, (name, place) in enumerate(_flips(left / "this" / "dead")):
        folder = tmp_path / str(at)
        shutil.copytree(left / "this" / "dead", folder)
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1 << (place % 8)
        (folder / name).write_bytes(content)
        past = known(folder)
        assert set(past) >= set(range(BEGUN)), (name, place)
        for row, one in past.items():
            assert one.result is None or one.result == Result(row, "done", None, f"id-{row}"), (name, place)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The file with bytes changed, put in or removed, pages exchanged, or its end cut off."""
    file = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(file)) if file else 0
        match chance.randrange(5):
            case 0:
                file[at : at + 1] = chance.randbytes(1)
            case 1:
                file[at:at] = chance.randbytes(chance.choice((1, 8, 4096)))
            case 2:
                del file[at : at + chance.choice((1, 8, 4096))]
            case 3:
                page, other = (chance.randrange(len(file) // 4096 + 1) * 4096 for _ in range(2))
                file[page : page + 4096], file[other : other + 4096] = (
                    file[other : other + 4096],
                    file[page : page + 4096],
                )
            case _:
                del file[at:]
    return bytes(file)


@pytest.mark.fuzz("journal")
def test_no_damage_makes_a_row_unsent_or_another_one_done(left: Path, tmp_path: Path, tried: Counter[str]) -> None:
    """`TRANSHIP_EXAMPLES` is the number of damaged journals. Each of the two records makes up for the other: only one of
    them is damaged, the database and its log, or the number of rows begun.
    """
    for number in seeds(EXAMPLES):
        chance = random.Random(number)
        folder = tmp_path / str(number)
        shutil.copytree(left / "this" / "dead", folder)
        for name in chance.choice((FILES[:1], FILES[1:2], FILES[:2], FILES[2:])):
            (folder / name).write_bytes(damaged((folder / name).read_bytes(), chance))
        past = known(folder)
        assert set(past) >= set(range(BEGUN)), number
        for row, one in past.items():
            assert one.result is None or one.result == Result(row, "done", None, f"id-{row}"), number
        doubtful = sum(one.result is None for one in past.values()) > BEGUN // 2
        tried["outcomes in doubt" if doubtful else "as before"] += 1
        shutil.rmtree(folder)


def test_rows_that_may_have_been_sent_stay_so_until_each_has_an_entry(left: Path, tmp_path: Path) -> None:
    """Even if a process that found the journal lost ends normally before it reaches these rows."""
    folder = tmp_path / "it"
    shutil.copytree(left / "this" / "dead", folder)
    for name in FILES[:2]:
        (folder / name).unlink()
    journal = Journal(folder / "journal.sqlite", "run", begun=True)
    assert len(journal.past(range(10))) == 10
    asyncio.run(journal.intend(intents(*range(5)), 5))
    journal.close()
    assert set(known(folder)) == set(range(BEGUN))


def test_of_a_journal_that_was_closed_nothing_is_looked_up(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", "run")
    journal.past(range(10))
    asyncio.run(journal.intend(intents(*range(10)), 10))
    journal.settle([Result(3, "done")])
    journal.withdraw(intents(*range(4, 10)))
    journal.close()
    assert sorted(known(tmp_path)) == [0, 1, 2, 3]


def test_a_file_that_is_no_journal_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no database" * 100)
    assert set(known(tmp_path, begun=False)) == set(range(BEGUN + 10))
    assert (tmp_path / "journal.sqlite-damaged").read_bytes() == b"no database" * 100


def test_a_journal_that_breaks_lets_nobody_go_on(journal: Journal, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    other.execute("DROP TABLE entries")
    other.commit()
    other.close()
    with pytest.raises(ConfigError, match="no such table"):
        asyncio.run(journal.intend(intents(1)))
    with pytest.raises(ConfigError, match="no such table"):
        journal.settle([Result(1, "done")])


def test_content_is_distinguished() -> None:
    assert len({digest("create", "{}"), digest("update", "{}"), digest("create", "{ }"), digest("delete", None)}) == 4
    assert digest("create", "{}") == digest("create", "{}")
