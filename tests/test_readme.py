"""The README is short, and its commands do what it shows, together with those of the page that continues it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import browser, report_picture
from support.postgres_server import Database
from support.shown_commands import NOT_RUN, ROOT, Reader, blocks, readers_folder
from tranship import sandbox

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_the_picture_of_a_report_is_light_for_a_phone_and_for_both_schemes() -> None:
    files = [ROOT / name for name in re.findall(r'(?:srcset|src)="([^"]+)"', TEXT)]
    assert [file.stem for file in files] == ["report-dark", "report-light"]
    for file in files:
        assert file.stat().st_size < 200_000, file
        width = int.from_bytes(file.read_bytes()[16:20])
        assert width <= 900, "wider pictures become unreadable on a phone"


@pytest.mark.slow
def test_the_picture_can_be_made_again(tmp_path: Path) -> None:
    if browser.installed() is None:
        pytest.skip("no browser is installed")
    for file in report_picture.write(tmp_path / "pictures"):
        assert file.read_bytes().startswith(b"\x89PNG")
        assert file.stat().st_size > 50_000


@pytest.mark.slow
def test_commands_do_what_is_shown(tmp_path: Path, postgres_database: Database) -> None:
    with sandbox("growpanel", seed=50) as old, sandbox("metronome") as new:
        accounts = {
            "GROWPANEL_API_URL": _base(old.address),
            "GROWPANEL_API_KEY": "any-key",
            "METRONOME_BASE_URL": _base(new.address),
            "METRONOME_BEARER_TOKEN": "any-key",
        }
        reader = Reader(readers_folder(tmp_path), {"DATABASE_URL": postgres_database.url, **accounts})
        reader.follow([README, ROOT / "docs" / "start.md"])


def _base(address: str) -> str:
    """Return the URL of a sandbox that is addressed as `metronome://host:port`."""
    host = re.search(r"//([\d.:]+)", address)
    assert host
    return f"http://{host[1]}"


def test_what_is_not_run_only_installs() -> None:
    for block in blocks(TEXT, "sh"):
        assert all(line.startswith(NOT_RUN) for line in block.text.splitlines()), f"README.md:{block.line}: use console"
