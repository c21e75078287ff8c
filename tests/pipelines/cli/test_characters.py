"""Characters that an encoding lacks."""

from __future__ import annotations

import pytest

from tranship.pipelines.cli.characters import ERRORS


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "a.csv → b.csv", b"a.csv -> b.csv"),
        ("ascii", "read 2 · created 2…", b"read 2 | created 2..."),
        ("ascii", "Österreich 名", b"\\xd6sterreich \\u540d"),
        ("latin-1", "Ö → b · c", b"\xd6 -> b \xb7 c"),
        ("utf-8", "a → b \udcff", b"a \xe2\x86\x92 b \\udcff"),
    ],
)
def test_signs_have_stand_ins_and_letters_are_spelled_out(encoding: str, text: str, shown: bytes) -> None:
    assert text.encode(encoding, ERRORS) == shown
