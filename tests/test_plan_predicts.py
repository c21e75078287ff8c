"""A plan predicts the account: whatever source and destination contain, `apply` carries out the plan, row by row and
field by field, and nothing else.

`TRANSHIP_EXAMPLES` is the number of random pairs of source and account for each provider.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import moving
from support.accounts import PROVIDERS, Account, opened
from support.long_tests import some
from support.moving import customer, held, moved, outcomes, planned, writes, written
from support.sandboxes import sandboxes
from tranship.pipelines import run as flow

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("TRANSHIP_EXAMPLES", "2"))
IDS = [None, *(f"id-{number}" for number in range(8))]
MAILS = [None, *(f"{letter}@x.example" for letter in "abcdef")]
WORDS = ["Ada", "Émile & Söhne", "株式会社", 'O\'Neill, "Bob"', "x" * 150]
COMPARED = ("external_id", "email", "name", "customer_type", "country", "phone", "city", "net_terms", "metadata")

texts = st.sampled_from(WORDS)
maybe = st.none() | texts
metadata = st.dictionaries(
    st.sampled_from(["tier", "n", "deep", "ä"]), st.none() | st.booleans() | st.integers(-5, 5) | texts, max_size=3
)


def records(mail: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Generate a customer; `mail`: it always has an e-mail."""
    return st.fixed_dictionaries(
        {
            "external_id": st.sampled_from(IDS),
            "email": st.sampled_from(MAILS[1:] if mail else MAILS),
            "name": texts,
            "customer_type": st.sampled_from([None, "BUSINESS", "INDIVIDUAL"]),
            "country": st.sampled_from([None, "DE", "FR"]),
            "created_at": st.sampled_from([None, "2024-01-02T03:04:05Z"]),
            "phone": st.sampled_from([None, "+49301234567"]),
            "city": maybe,
            "net_terms": st.sampled_from([None, "0", "30"]),
            "metadata": st.none() | metadata.map(lambda value: json.dumps(value, ensure_ascii=False)),
        }
    )


@st.composite
def states(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Generate customers of others at the destination, customers of the source, and settings. Some customers of the
    source exist already, unchanged or slightly changed.
    """
    there = draw(st.lists(records(mail=True), max_size=12))
    new = draw(st.lists(records(mail=False), max_size=8))
    known = [{**one, **draw(st.sampled_from([{}, {"name": "New"}, {"city": None}, {"email": "new@x.example"}]))}
             for one in there if draw(st.booleans())]  # fmt: skip
    options = {"mode": draw(st.sampled_from(["upsert", "upsert", "insert", "update"]))}
    return there, [*known, *new], {**options, "nulls": draw(st.sampled_from(["keep", "keep", "overwrite"]))}


@contextmanager
def emptied(there: Account) -> Iterator[Path]:
    there.sandbox.clear()
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module", params=some(PROVIDERS, 3))
def there(request: pytest.FixtureRequest) -> Iterator[Account]:
    with sandboxes() as start, pytest.MonkeyPatch.context() as patch:
        account = opened(start, request.param)
        for name, value in account.environment.items():
            patch.setenv(name, value)
        moving.hurry(patch.setattr)
        yield account


def put(folder: Path, there: Account, customers: list[dict[str, Any]]) -> None:
    """Prepare the account: as many of these customers as the provider accepts, including metadata of others."""
    if customers:
        moved(folder / "others", written(folder / "there.csv", customers), there, max_rejects="100%")


def same(one: Any, other: Any) -> bool:
    """Return whether two canonical values are equivalent."""
    if one is None or other is None:
        return one in (None, "{}") and other in (None, "{}")
    if str(one).startswith("{"):
        return dict(json.loads(one)) == dict(json.loads(other))
    return str(one) == str(other)


def laid_over(source: str | None, found: str | None) -> str:
    return json.dumps({**json.loads(found or "{}"), **json.loads(source or "{}")})


def expected(
    row: dict[str, Any], found: dict[str, Any] | None, changed: list[str] | None, *, nulls: bool
) -> dict[str, Any]:
    """Return the customer that the plan predicts, in the compared fields."""
    if found is None:
        return {name: row[name] for name in COMPARED}
    will = {name: found[name] for name in COMPARED}
    for name in changed or []:
        if name in will:
            over = name == "metadata" and not (nulls and row[name] is None)
            will[name] = laid_over(row[name], found[name]) if over else row[name]
    return will


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(state=states())
def test_what_the_plan_says_is_what_comes_about(there: Account, state: tuple[Any, Any, Any]) -> None:
    others, ours, options = state
    with emptied(there) as folder:
        put(folder, there, others)
        before, raw = held(there), {str(one[there.usual.id]): one for one in there.sandbox.state()}
        there.sandbox.record()
        source = written(folder / "ours.csv", ours or [dict.fromkeys(COMPARED)])
        run = moving.given(folder, source, there, **options, max_rejects="100%", allow_empty=True)
        plan = flow.plan(run, folder / "plan")
        assert writes(there) == [], "planning has written"
        rows = planned(plan)

        report = flow.apply(folder / "plan")
        came = {one["row"]: one for one in outcomes(report)}
        after, now = held(there), {str(one[there.usual.id]): one for one in there.sandbox.state()}
        survivors = pl.concat(
            [pl.read_parquet(file) for file in [*(folder / "plan" / "stage").glob("*.parquet"), *(folder / "plan" / "identity").glob("patched.parquet")]]
        )  # fmt: skip
        said = {row["_row"]: row for row in survivors.to_dicts()}
        touched = set()
        for row in rows:
            if row["action"] == "ambiguous":
                continue
            outcome = came[row["row"]]
            if row["action"] in ("unchanged", "refused"):
                assert outcome["outcome"] == row["action"]
                continue
            assert outcome["outcome"] == "done", (row, outcome, said[row["row"]])
            its_id = outcome["provider_id"]
            touched.add(its_id)
            assert (its_id in before) == (row["action"] == "update")
            record, found = said[row["row"]], before.get(its_id)
            record = {**record, "net_terms": record["net_terms"]}
            wanted = expected(record, found, row["changed"], nulls=options["nulls"] == "overwrite")
            got = {name: after[its_id][name] for name in COMPARED}
            assert {name for name in COMPARED if not same(got[name], wanted[name])} == set(), (got, wanted)
        assert {its_id: one for its_id, one in now.items() if its_id not in touched} == {
            its_id: one for its_id, one in raw.items() if its_id not in touched
        }, "a customer that the plan does not touch is another one now"
        assert len(after) == len(before) + plan.counts.created

        if options["mode"] == "insert":
            return
        there.sandbox.record()
        second = moved(folder, source, there, **options, max_rejects="100%", allow_empty=True)
        acted = {one["row"] for one in planned(second) if one["action"] in ("create", "update")}
        # A value given up in the first run is free only now.
        freed = {one["row"] for one in rows if one["reason"] == "taken: email"}
        assert acted <= freed
        assert freed or writes(there) == []


def test_what_moved_between_plan_and_apply_is_stale_and_nothing_else(there: Account) -> None:
    with emptied(there) as folder:
        moved(folder, written(folder / "first.csv", [customer(at) for at in range(12)]), there)
        later = [customer(at, city="Bonn") for at in range(8)] + [customer(at) for at in range(8, 16)]
        run = moving.given(folder, written(folder / "later.csv", later), there)
        plan = flow.plan(run, folder / "plan")
        assert (plan.counts.created, plan.counts.updated, plan.counts.unchanged) == (4, 8, 4)

        moved_on = next(one for one in there.sandbox.state() if one[there.usual.name] == "Customer 3")
        there.sandbox.add({**moved_on, there.usual.name: "Others' doing"})
        report = flow.apply(folder / "plan")
        assert report.exit_code == 4
        stale = [one for one in outcomes(report) if one["outcome"] not in ("done", "unchanged")]
        assert [(one["row"], one["outcome"], one["provider_id"]) for one in stale] == [
            (3, "stale", str(moved_on[there.usual.id]))
        ]
        assert "changed: " in stale[0]["reason"]
        cities = {row["name"]: row["city"] for row in held(there).values()}
        assert cities.pop("Others' doing") == "Köln"
        assert sorted(cities.values()) == ["Bonn"] * 7 + ["Köln"] * 8
