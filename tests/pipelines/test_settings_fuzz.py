"""Settings files with any value in any place, and damaged ones: a run does what they say or one sentence says why not.

`TRANSHIP_EXAMPLES` is the number of files of each kind, usually a few.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.commands import told
from support.fuzzing import seeds
from tranship.pipelines.settings_model import Settings

pytestmark = pytest.mark.fuzz("settings")

CODES = {0: "followed", 2: "refused", 4: "followed with rejects", 5: "stopped at a limit"}

FILES = int(os.environ.get("TRANSHIP_EXAMPLES", "10"))

GIVEN = {
    "source": '"in.csv"',
    "destination": '"out.csv"',
    "ignore": '["Notes"]',
    "blocked": '["a@x.co"]',
    "date_format": '["%d.%m.%Y"]',
    "where": '"Notes is null"',
    "timezone": '"Europe/Berlin"',
    "extra": '"keep"',
    "max_rejects": '"50%"',
    "max_conflicts": "5",
    "memory": '"600MB"',
    "workers": "2",
    "overwrite": "true",
    "lock_timeout": '"5s"',
    "fields": '{ name = "Name | id", city = "Town" }',
    "values": '{ status = { "on hold" = "suspended" } }',
    "defaults": '{ country = "DE" }',
    "set": '{ state = "upper(Town)" }',
    "on_invalid": '{ country = "reject" }',
    "options": "{}",
}
"""A settings file that works."""
VALUES = (
    *("true", "-1", "0", "7", "9" * 30, "0.5", "nan", "-inf", "1e400", "0x1f", "1979-05-27", "07:32:00"),
    *("1979-05-27T00:32:00-07:00", '""', '" "', '"x"', '"\\u0000"', '"\\u202e\\u001b[31m"', '"in.csv"', '"-5%"'),
    *('"101%"', '"1e9"', '"a=b"', '"%"', '"%q"', '"*"', '"' + "x" * 5000 + '"', "'select 1'", '"(("', '"| + |"'),
    *('"id / 0"', '"strftime(id)"', '"none"', '"../x"', '"é"', "[]", "[[]]", '[""]', "[1]", '["a", "a"]', "{}"),
    *('{ "" = "" }', "{ name = 1 }", "{ name = {} }", '{ a = { b = { c = "d" } } }', '{ email = "nothing" }'),
    *('{ name = "Name + Name + Name" }', '{ updated_at = "Town" }', "[" * 300 + "]" * 300),
    *('"999999999h"', '"9999999999h"', '"' + "9" * 400 + 's"', '"last"', '"2026-01-01"'),
    *("[" * 5000 + "]" * 5000, "9" * 5000, '"a\\u0000.csv"', '["in.csv", "\\u0000"]'),
)
PIECES = (b'"', b"'", b"=", b"[", b"]", b"{", b"}", b"\n", b".", b"#", b"\0", b"\xff", b"\xef\xbb\xbf", b"\\", b'"""')


def with_a_value(chance: random.Random) -> bytes:
    """The file with one to three settings that have another value, of these or of the other settings."""
    given = dict(GIVEN)
    for _ in range(chance.choice((1, 1, 2, 3))):
        given[chance.choice([*Settings.model_fields, *GIVEN, "nothing"])] = chance.choice(VALUES)
    return "".join(f"{name} = {value}\n" for name, value in given.items()).encode()


def damaged(chance: random.Random) -> bytes:
    """The file with bytes changed, put in, removed or repeated."""
    file = bytearray("".join(f"{name} = {value}\n" for name, value in GIVEN.items()).encode())
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(file))
        how = chance.random()
        if how < 0.3:
            file[at] = chance.choice(b"abcxyz019 ,|+:%")
        elif how < 0.6:
            file[at:at] = chance.choice(PIECES)
        elif how < 0.8:
            del file[at : at + chance.choice((1, 1, 6))]
        else:
            file[at:at] = file[at : at + 40]
    return bytes(file)


@pytest.mark.parametrize("make", [with_a_value, damaged])
def test_any_settings_file_is_followed_or_refused_in_words(
    make: type[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Counter[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    for number in seeds(FILES):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        people = "id,Name,email,Town,status,country,Notes\n1,Ann,a@x.co,Bonn,on hold,DE,\n2,Bob,b@x.co,Köln,active,,x\n"
        Path("in.csv").write_text(people, encoding="utf-8")
        Path("pipeline.toml").write_bytes(make(random.Random(number)))
        code, out, err = told("run", "pipeline.toml", "--json")
        assert code in CODES, (number, err)
        tried[CODES[code]] += 1
        assert "Traceback" not in err, number
        if code == 2:
            assert json.loads(out)["error"], number
            assert not Path("out.csv").exists(), number
        if code in {0, 4} and "created" in out:
            counts = json.loads(out)["counts"]
            fates = ("skipped", "rejected", "merged", "created", "updated", "unchanged", "refused", "stale")
            assert counts["read"] == sum(counts.get(fate, 0) for fate in fates), number
        shutil.rmtree(folder)
    assert tried[CODES[2]] > 0
    # Of a few files, each may be refused.
    assert FILES < 100 or tried[CODES[0]] + tried[CODES[4]] > 0
