"""What every test stands on: an environment without settings of ours, and hypothesis without a clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRANSHIP_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of sample exports."""
    return ROOT / "sample_data"
