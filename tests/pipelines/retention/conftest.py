"""Runs of all kinds, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support import left_behind
from support.made_once import shared_folder


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with runs of all kinds, to be read only."""
    return shared_folder(tmp_path_factory, "left_behind", left_behind.runs) / ".tranship"


@pytest.fixture
def own_state(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(state, tmp_path / ".tranship")
    return tmp_path / ".tranship"
