"""Grouping records into customers: the rules on keys, and the values that a survivor takes over."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import oracle
from tranship.pipelines import identify
from tranship.pipelines.identify import MERGES, Identity, SurvivorRule
from tranship.schemas.customer import ADDRESS, COLUMNS, INSTANT

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = {
    **{"row": pl.UInt64, "source": pl.String, "line": pl.UInt64},
    **{"external_id": pl.String, "email": pl.String, "name": pl.String, "updated_at": INSTANT},
}

Key = tuple[str | None, str | None, int | None] | tuple[str | None, str | None, int | None, str]
"""External id, e-mail, the day of `updated_at`, and the name, `Acme` if it does not matter."""


def candidates(*keys: Key) -> pl.DataFrame:
    """Return the keys of records on lines 2, 3, … of `in.csv`; row n is the n-th record."""
    rows = [{"row": row, "source": "in.csv", "line": row + 2, **_values(key)} for row, key in enumerate(keys)]
    return pl.DataFrame(rows, schema=KEYS)


def customers(decided: Identity) -> set[tuple[int, ...]]:
    """Return the resulting customers, each as its rows."""
    grouped = decided.members.group_by("survivor").agg(pl.col("row").sort())
    return {tuple(rows) for rows in grouped["row"]}


def merges(decided: Identity) -> list[tuple[int, int, str]]:
    return sorted(decided.merges.select("loser_line", "survivor_line", "rule").iter_rows())


# Candidates ------------------------------------------------------------------------------------------------


def looked_at(*files: pl.DataFrame) -> list[int]:
    frames = [file.select(pl.col("row").alias("_row"), "external_id", "email") for file in files]
    return sorted(identify.rows_to_look_at(frames))


def test_a_record_that_shares_nothing_is_not_looked_at() -> None:
    assert looked_at(candidates(("1", "a", 0), ("2", "b", 0), (None, "c", 0), ("3", None, 0))) == []


def test_records_that_share_an_id_or_an_e_mail_are_looked_at() -> None:
    assert looked_at(candidates(("1", "a", 0), ("1", "b", 0), ("2", "c", 0), (None, "c", 0), ("3", "d", 0))) == [
        0,
        1,
        2,
        3,
    ]


def test_nulls_are_not_shared() -> None:
    assert looked_at(candidates(("1", None, 0), ("2", None, 0), (None, "a", 0), (None, "b", 0))) == []


def test_an_id_and_an_equal_e_mail_are_two_things() -> None:
    assert looked_at(candidates(("a@b.co", "x@b.co", 0), ("2", "a@b.co", 0))) == []


def test_records_are_looked_at_across_files() -> None:
    first, second = candidates(("1", "a", 0), ("2", "b", 0)), candidates(("3", "b", 0))
    assert looked_at(first, second.with_columns(row=pl.lit(9, pl.UInt64))) == [1, 9]


def test_without_records_nobody_is_looked_at() -> None:
    assert looked_at() == []
    assert looked_at(candidates()) == []


# Customers ---------------------------------------------------------------------------------------------


def test_the_same_id_is_the_same_customer() -> None:
    decided = identify.decide(candidates(("1", "a", 0), ("1", "b", 1), ("2", "a", 0)), "newest")

    assert customers(decided) == {(0, 1), (2,)}


def test_a_record_without_id_belongs_to_the_one_customer_with_its_e_mail() -> None:
    decided = identify.decide(candidates((None, "a", 1), ("1", "a", 0)), "newest")

    assert customers(decided) == {(0, 1)}
    assert decided.members["owner"].to_list() == ["1", "1"]


def test_records_without_id_that_share_an_e_mail_are_one_customer() -> None:
    decided = identify.decide(candidates((None, "a", 1), (None, "a", 0)), "newest")

    assert customers(decided) == {(0, 1)}
    assert decided.members["owner"].to_list() == [None, None]


def test_different_ids_that_share_an_e_mail_are_different_customers_and_warned_of() -> None:
    decided = identify.decide(candidates(("1", "a", 1), ("2", "a", 0)), "newest")

    assert customers(decided) == {(0,), (1,)}
    assert decided.shared.rows() == [("in.csv", 2, "email.shared", "a"), ("in.csv", 3, "email.shared", "a")]


def test_a_record_without_id_whose_e_mail_fits_two_customers_is_ambiguous() -> None:
    decided = identify.decide(candidates(("1", "a", 1), ("2", "a", 0), (None, "a", 5)), "newest")

    assert decided.ambiguous["row"].to_list() == [2]
    assert customers(decided) == {(0,), (1,)}


def test_the_e_mail_of_a_customer_is_that_of_its_newest_record() -> None:
    decided = identify.decide(
        candidates(("1", "old", 0), ("1", "new", 1), (None, "old", 2), (None, "new", 3)), "newest"
    )

    assert customers(decided) == {(0, 1, 3), (2,)}


def test_an_id_is_not_taken_for_an_e_mail() -> None:
    decided = identify.decide(candidates(("a", "x", 0), ("a", "x", 0), (None, "a", 0), (None, "a", 1)), "newest")

    assert customers(decided) == {(0, 1), (2, 3)}


# Survivors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "survivor"),
    [("newest", 1), ("first", 0), ("last", 3)],
)
def test_the_survivor_is_chosen_by_the_rule(rule: SurvivorRule, survivor: int) -> None:
    decided = identify.decide(candidates(("1", None, 3), ("1", None, 5), ("1", None, 4), ("1", None, None)), rule)

    assert set(range(4)) - set(decided.losers) == {survivor}


def test_a_null_is_the_oldest() -> None:
    decided = identify.decide(candidates(("1", None, 0), ("1", None, None)), "newest")

    assert decided.losers.to_list() == [1]


def test_a_tie_goes_to_the_record_read_last() -> None:
    decided = identify.decide(candidates(("1", None, 0), ("1", None, 0)), "newest")

    assert decided.losers.to_list() == [0]


@pytest.mark.parametrize(
    ("rule", "email"),
    [("newest", "b"), ("first", "a"), ("last", "c")],
)
def test_the_e_mail_of_a_customer_follows_the_rule(rule: SurvivorRule, email: str) -> None:
    keys: list[Key] = [("1", "a", 0), ("1", "b", 9), ("1", "c", 1)]
    for sought in "abc":
        decided = identify.decide(candidates(*keys, (None, sought, 5)), rule)
        assert (len(customers(decided)) == 1) == (sought == email)


def test_a_merge_names_loser_survivor_and_rule() -> None:
    decided = identify.decide(candidates(("1", "a", 0), ("1", "a", 2), (None, "a", 1)), "newest")

    assert dict(decided.merges.schema) == MERGES
    assert decided.merges.rows() == [
        ("in.csv", 2, "in.csv", 3, "external_id"),
        ("in.csv", 4, "in.csv", 3, "email"),
    ]


def test_a_merge_into_a_survivor_without_id_is_by_e_mail() -> None:
    decided = identify.decide(candidates(("1", "a", 0), ("1", "a", 1), (None, "a", 2)), "newest")

    assert merges(decided) == [(2, 4, "email"), (3, 4, "email")]


keys_that_collide = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from(["1", "2", "a", "email:a"])),
        st.one_of(st.none(), st.sampled_from(["a", "b", "c", "1"])),
        st.one_of(st.none(), st.integers(0, 3)),
        st.sampled_from(["Acme", "ACME ", "Birch", "Bir ch", "Cole"]),
    ).filter(lambda key: key[0] is not None or key[1] is not None),
    max_size=12,
)


@pytest.mark.slow
@given(keys_that_collide)
def test_the_oracle_decides_the_same(keys: list[Key]) -> None:
    decided = identify.decide(candidates(*keys), "newest")
    records = [
        oracle.Record(row, row + 2, dict.fromkeys(oracle.FIELDS) | _values(key), [], []) for row, key in enumerate(keys)
    ]
    _, expected = oracle.identify(records)

    assert merges(decided) == sorted(expected)
    assert sorted(decided.ambiguous["row"]) == [record.order for record in records if record.codes]
    for code, found in (("email.shared", decided.shared), ("external_id.conflict", decided.conflicts)):
        assert sorted(found["line"]) == sorted(record.line for record in records if code in record.warnings)


@pytest.mark.slow
@given(keys_that_collide, st.sampled_from(["newest", "first", "last"]), st.randoms(use_true_random=False))
def test_conflicts_depend_on_neither_rule_nor_order(keys: list[Key], rule: SurvivorRule, dice: Any) -> None:
    def conflicts(keys: list[Key], rule: SurvivorRule) -> list[Key]:
        lines = identify.decide(candidates(*keys), rule).conflicts["line"]
        return sorted((keys[line - 2] for line in lines), key=repr)

    assert conflicts(dice.sample(keys, len(keys)), rule) == conflicts(keys, "newest")


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ([("1", "a", None, "Ann"), ("1", "b", None, "Bob"), ("1", "c", None, "Cyd")], [2, 3, 4]),
        ([("1", "a", 5, "Ann"), ("1", "b", 5, "Bob")], [2, 3]),
        ([("1", "a", 5, "Ann"), ("1", "b", None, "Bob")], [2, 3]),
        ([("1", "a", 5, "Ann"), ("1", "b", 6, "Bob")], []),
        ([("1", "a", None, "Ann"), ("1", "b", None, "ANN ")], []),
        ([("1", "a", None, "Ann"), ("1", "a", None, "Bob")], []),
        ([("1", "a", None, "Ann"), ("1", None, None, "Bob")], []),
        ([("1", "a", None, "Ann"), ("2", "b", None, "Bob")], []),
        ([("1", "a", None, "Ann"), ("1", "b", None, "Ann"), ("1", "a", None, "Bob")], [3, 4]),
        ([("1", "a", 1, "Ann"), ("1", "b", 1, "Bob"), ("1", "c", 2, "Cyd")], [2, 3]),
    ],
)
def test_records_of_one_id_that_look_like_several_people_are_in_conflict(keys: list[Key], lines: list[int]) -> None:
    conflicts = identify.decide(candidates(*keys), "newest").conflicts

    assert conflicts["line"].to_list() == lines
    assert conflicts["code"].unique().to_list() == (["external_id.conflict"] if lines else [])


def _values(key: Key) -> dict[str, Any]:
    external_id, email, day, *name = key
    updated = None if day is None else START + timedelta(days=day)
    return {"external_id": external_id, "email": email, "name": (*name, "Acme")[0], "updated_at": updated}


@pytest.mark.slow
@given(keys_that_collide)
def test_only_records_that_are_looked_at_can_merge(keys: list[Key]) -> None:
    whole = candidates(*keys)
    some = whole.filter(pl.col("row").is_in(looked_at(whole)))
    decided = identify.decide(whole, "newest")

    assert merges(identify.decide(some, "newest")) == merges(decided)
    assert sorted(identify.decide(some, "newest").ambiguous["row"]) == sorted(decided.ambiguous["row"])


@pytest.mark.slow
@given(keys_that_collide, st.sampled_from(["newest", "first", "last"]))
def test_every_record_has_one_fate(keys: list[Key], rule: SurvivorRule) -> None:
    decided = identify.decide(candidates(*keys), rule)

    survivors = decided.members.filter(~pl.col("row").is_in(decided.losers.implode()))
    assert sorted([*survivors["row"], *decided.losers, *decided.ambiguous["row"]]) == list(range(len(keys)))
    assert survivors["survivor"].is_unique().all()
    assert decided.merges.height == len(decided.losers)


@pytest.mark.slow
@given(keys_that_collide, st.randoms(use_true_random=False))
def test_the_order_does_not_matter_where_times_differ(keys: list[Key], dice: Any) -> None:
    timed: list[Key] = [(external_id, email, row) for row, (external_id, email, *_) in enumerate(keys)]
    order = dice.sample(range(len(timed)), len(timed))

    def decided(keys: list[Key]) -> tuple[Any, Any, Any]:
        """Return the decisions in days instead of lines, which identify a record in any order."""
        whole = identify.decide(candidates(*keys), "newest")
        days = {row + 2: day for row, (_, _, day, *_) in enumerate(keys)}
        return (
            sorted((days[loser], days[survivor], rule) for loser, survivor, rule in merges(whole)),
            sorted(days[row + 2] for row in whole.ambiguous["row"]),
            sorted(days[line] for line in whole.shared["line"]),
        )

    assert decided([timed[at] for at in order]) == decided(timed)


# Values taken over by survivors --------------------------------------------------------------------------------------


def records(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return staged records; row n is the n-th, updated on day n."""
    places = {"_row": pl.UInt64, "_source": pl.String, "_line": pl.UInt64, "_email_blocked": pl.Boolean}
    whole = [
        {
            "_row": n,
            "_source": "in.csv",
            "_line": n + 2,
            "_email_blocked": False,
            "updated_at": START + timedelta(days=n),
        }
        | row
        for n, row in enumerate(rows)
    ]
    return pl.DataFrame(whole, schema={**places, **COLUMNS})


def patched(*rows: dict[str, Any], fill: bool) -> list[dict[str, Any]]:
    staged = records(*rows)
    matching = pl.when(~pl.col("_email_blocked")).then("email").alias("email")
    keys = staged.select("_row", "_source", "_line", "external_id", matching, "name", "updated_at")
    known = keys.rename({"_row": "row", "_source": "source", "_line": "line"})
    decided = identify.decide(known, "newest")
    wanted = identify.rows_to_patch(decided, fill=fill)
    whole = identify.patched(staged.filter(pl.col("_row").is_in(wanted.implode())), decided.members, fill=fill)
    assert whole.columns == staged.columns
    if fill:
        some = identify.givers(staged.filter(pl.col("_row").is_in(wanted.implode())), decided)
        assert identify.patched(some, decided.members, fill=True).sort("_row").equals(whole.sort("_row"))
    return whole.sort("_row").to_dicts()


def test_a_survivor_without_id_takes_over_its_customer_s() -> None:
    [survivor] = patched(
        {"external_id": "1", "email": "a", "name": "Old", "city": "Rome"}, {"email": "a", "name": "New"}, fill=False
    )

    assert (survivor["_row"], survivor["external_id"], survivor["name"], survivor["city"]) == (1, "1", "New", None)


def test_a_survivor_with_id_needs_no_patch() -> None:
    assert patched({"external_id": "1", "name": "Old"}, {"external_id": "1", "name": "New"}, fill=False) == []


def test_fill_takes_each_null_from_the_next_newest() -> None:
    [survivor] = patched(
        {"external_id": "1", "name": "Oldest", "legal_name": "L0", "phone": "P0"},
        {"external_id": "1", "name": "Older", "legal_name": "L1", "aliases": ["x"]},
        {"external_id": "1", "name": "Newest"},
        fill=True,
    )

    assert {name: survivor[name] for name in ("name", "legal_name", "phone", "aliases")} == {
        **{"name": "Newest", "legal_name": "L1", "phone": "P0", "aliases": ["x"]}
    }
    assert survivor["_row"] == 2


def test_only_the_newest_record_and_those_that_fill_a_field_are_needed() -> None:
    staged = records(
        {"external_id": "1", "name": "Oldest", "phone": "P0", "tax_id": "T0"},
        {"external_id": "1", "name": "Older", "phone": "P1"},
        {"external_id": "1", "name": "Old", "phone": "P2"},
        {"external_id": "1", "name": "Newest"},
        {"external_id": "2", "name": "Other"},
    )
    known = staged.select(
        *("external_id", "email", "name", "updated_at"),
        **{"row": "_row", "source": "_source", "line": "_line"},
    )
    assert identify.givers(staged, identify.decide(known, "newest"))["_row"].to_list() == [0, 2, 3, 4]


def test_fill_takes_an_address_whole_or_not_at_all() -> None:
    whole = {"address_line1": "1 Main St", "city": "Rome", "country": "IT"}
    [survivor] = patched(
        {"external_id": "1", "state": "RM", "zip_code": "00100", "address_line2": "B"},
        {"external_id": "1", **whole},
        {"external_id": "1", "name": "Newest"},
        fill=True,
    )

    assert {name: survivor[name] for name in ADDRESS} == dict.fromkeys(ADDRESS) | whole


def test_fill_leaves_an_address_alone_of_which_a_part_is_there() -> None:
    [survivor] = patched(
        {"external_id": "1", "address_line1": "1 Main St", "city": "Rome"},
        {"external_id": "1", "city": "Bonn"},
        fill=True,
    )

    assert (survivor["city"], survivor["address_line1"]) == ("Bonn", None)


def test_fill_takes_over_the_id_too() -> None:
    [survivor] = patched({"external_id": "1", "email": "a", "city": "Rome"}, {"email": "a"}, fill=True)

    assert (survivor["external_id"], survivor["city"], survivor["_row"]) == ("1", "Rome", 1)


def test_a_filled_e_mail_stays_blocked() -> None:
    [survivor] = patched(
        {"external_id": "1", "email": "noreply@acme.com", "_email_blocked": True}, {"external_id": "1"}, fill=True
    )

    assert (survivor["email"], survivor["_email_blocked"]) == ("noreply@acme.com", True)


def test_fill_touches_nobody_who_is_alone() -> None:
    assert patched({"external_id": "1", "email": "a"}, {"external_id": "2", "email": "b"}, fill=True) == []


@pytest.mark.slow
def test_a_look_is_the_same_after_nfkc_and_case_folding():
    """For all characters, except a few of old scripts that fold to several, to capitals or to modern letters."""
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    looks = identify.look(pl.Series(every, dtype=pl.String)).to_list()
    folded = [oracle.folded(character) for character in every]
    differing = [c for c, look, fold in zip(every, looks, folded, strict=True) if look != fold]
    # A character without a name is newer than this Python.
    scripts = {unicodedata.name(c).split(" ")[0] for c in differing if unicodedata.name(c, "")}
    assert scripts <= {"GREEK", "CHEROKEE", "CYRILLIC", "COMBINING", "LATIN"}
    assert not [c for c in differing if ord(c) < 0x300]
