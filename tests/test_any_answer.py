"""Providers that answer with any JSON value in any place: a one-sentence message, or an outcome of the record, never a
crash.

Each recorded answer of a provider's sandbox (lists, look-ups, creates, changes, removals, bulk, errors) gets each value
in each of its places. TRANSHIP_MISBEHAVIOUR=N tries N of these for each provider; by default a few.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from support.accounts import PROVIDERS
from support.fuzzing import FIRST_SEED
from support.mutation import VALUES, intercepted, look, misbehaved, places, read, refill, with_value, write

INPUTS = int(os.environ.get("TRANSHIP_MISBEHAVIOUR") or 12)
WORKS = {"read": read, "look": look, "write": write, "write begun": write}


@pytest.mark.slow
@pytest.mark.fuzz("answer")
@pytest.mark.parametrize("provider", PROVIDERS)
def test_any_value_in_any_place_is_explained(provider: str, tmp_path: Path, tried: Counter[str]) -> None:
    with intercepted(provider) as (writer, interceptor):
        cases = []
        for name, work in WORKS.items():
            refill(writer)
            interceptor.seen.clear()
            assert misbehaved(work, writer, tmp_path / name) is None
            for kind, answer in interceptor.seen.items():
                cases += [(name, kind, keys, value) for keys in places(answer) for value in VALUES]
        assert len(cases) > 3_000
        random.Random(FIRST_SEED).shuffle(cases)
        for number, (name, kind, keys, value) in enumerate(cases[:INPUTS]):
            interceptor.kind = None
            if WORKS[name] is write:
                refill(writer)
            interceptor.kind, interceptor.change = kind, with_value(keys, value)
            folder = tmp_path / f"{number} {name}"
            error = misbehaved(WORKS[name], writer, folder)
            assert error is None, f"TRANSHIP_SEED={FIRST_SEED}, {name}, {kind}, {keys}, {value[:40]}: {error!r}"
            tried[provider] += 1
            shutil.rmtree(folder, ignore_errors=True)  # not every use makes one
