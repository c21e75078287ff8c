"""Identity in partitions: the same decisions as on all candidates at once, whatever the partitions."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tranship.pipelines import identify
from tranship.pipelines.identify import Identity, SurvivorRule
from tranship.pipelines.identity_partitions import Candidates, decisions
from tranship.schemas.customer import INSTANT

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = {
    **{"row": pl.UInt64, "source": pl.String, "line": pl.UInt64},
    **{"external_id": pl.String, "email": pl.String, "name": pl.String, "updated_at": INSTANT},
}
RULES: tuple[SurvivorRule, ...] = ("newest", "first", "last")

Key = tuple[str | None, str | None, int | None, str]

keys_that_collide = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from(["1", "2", "a", "A", "ａ"])),
        st.one_of(st.none(), st.sampled_from(["a", "b", "c", "1"])),
        st.one_of(st.none(), st.integers(0, 2)),
        st.sampled_from(["Acme", "ACME ", "Birch", "Cole"]),
    ).filter(lambda key: key[0] is not None or key[1] is not None),
    max_size=14,
)


def candidates(keys: list[Key]) -> pl.DataFrame:
    """Candidates whose rows have gaps, as those of a stage have."""
    return pl.DataFrame(
        [
            {
                **{"row": 5 + 3 * n, "source": f"{n // 5}.csv", "line": n + 2, "external_id": key[0], "email": key[1]},
                **{"name": key[3], "updated_at": None if key[2] is None else START + timedelta(days=key[2])},
            }
            for n, key in enumerate(keys)
        ],
        schema=KEYS,
    )


def partitioned(whole: pl.DataFrame, rule: SurvivorRule, at_once: int, *, fill: bool) -> list[Identity]:
    def read(rows: pl.Series) -> pl.DataFrame:
        return whole.filter(pl.col("row").is_in(rows.implode()))

    with tempfile.TemporaryDirectory() as folder:
        given = Candidates(whole["row"], read)
        return list(decisions(given, rule, Path(folder) / "identity", fill=fill, at_once=at_once))


def to_patch(decided: Identity, *, fill: bool) -> set[tuple[int, int, str | None]]:
    """The rows needed as whole records, with the survivor of each and the external id that a survivor takes over."""
    rows = identify.rows_to_patch(decided, fill=fill)
    heirs = (pl.col("row") == pl.col("survivor")) & ~pl.col("has_id")
    found = decided.members.filter(pl.col("row").is_in(rows.implode()))
    return set(found.select("row", "survivor", pl.when(heirs).then("owner")).iter_rows())


@pytest.mark.slow
@given(keys_that_collide, st.sampled_from(RULES), st.integers(1, 5), st.booleans())
def test_partitions_decide_what_is_decided_at_once(
    keys: list[Key], rule: SurvivorRule, at_once: int, fill: bool
) -> None:
    whole = candidates(keys)
    expected = identify.decide(whole, rule)
    found = partitioned(whole, rule, at_once, fill=fill)

    assert [row for piece in found for row in piece.losers] == expected.losers.to_list()
    for name in ("merges", "ambiguous", "shared", "alike", "conflicts"):
        pieces = [getattr(piece, name) for piece in found]
        if pieces:
            assert_frame_equal(pl.concat(pieces), getattr(expected, name))
    assert {row for piece in found for row in to_patch(piece, fill=fill)} == to_patch(expected, fill=fill)
    for piece in found if fill else ():
        ranks = expected.members.select("row", expected="rank")
        both = piece.members.join(ranks, on="row").sort("survivor", "rank")
        assert both["row"].to_list() == both.sort("survivor", "expected")["row"].to_list()
