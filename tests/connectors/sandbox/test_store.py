"""The contents of a sandbox: order, unique values, lists, and the file that outlives the process."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.connectors.errors import ConfigError
from tranship.connectors.sandbox.contract import UUID
from tranship.connectors.sandbox.store import Collection, Store, Taken, decode, following, numbered


def people(store: Store) -> Collection:
    return store.collection(
        "people",
        unique={
            "email": lambda one: [one["email"].lower()] if one.get("email") else [],
            "alias": lambda one: one.get("aliases", []),
        },
        lists=lambda one: [f"city:{one.get('city')}"],
        text=lambda one: str(one.get("name")).lower(),
    )


def open_store(path: Path | None = None, provider: str = "marginfront") -> tuple[Store, Collection]:
    store = Store(provider, path)
    collection = people(store)
    store.open()
    return store, collection


@pytest.fixture
def folk() -> Collection:
    return open_store()[1]


def ids(collection: Collection, ranks: Any = None) -> list[str]:
    return [decode(body)["id"] for body in collection.bodies(collection.view() if ranks is None else ranks)]


def test_records_are_listed_in_the_order_they_came(folk: Collection) -> None:
    for name in "cab":
        folk.put({"id": name})
    assert ids(folk) == ["c", "a", "b"]
    assert folk.keys() == ["c", "a", "b"]


def test_a_changed_record_keeps_its_place(folk: Collection) -> None:
    for name in "abc":
        folk.put({"id": name})
    folk.put({"id": "a", "name": "new"})
    assert ids(folk) == ["a", "b", "c"]
    assert folk.get("a") == {"id": "a", "name": "new"}


def test_a_record_taken_out_is_a_copy(folk: Collection) -> None:
    folk.put({"id": "a", "name": "old"})
    taken = folk.get("a")
    assert taken
    taken["name"] = "changed"
    assert folk.get("a") == {"id": "a", "name": "old"}


def test_a_unique_value_has_one_owner_and_a_refused_put_changes_nothing(folk: Collection) -> None:
    folk.put({"id": "a", "email": "A@x.example", "aliases": ["1", "2"]})
    folk.put({"id": "b", "email": "b@x.example", "aliases": ["3"]})
    with pytest.raises(Taken) as taken:
        folk.put({"id": "b", "email": "a@X.example", "aliases": ["4"]})
    assert (taken.value.index, taken.value.owner) == ("email", "a")
    assert folk.get("b") == {"id": "b", "email": "b@x.example", "aliases": ["3"]}
    assert folk.owner("alias", "4") is None
    with pytest.raises(Taken):
        folk.put({"id": "c", "aliases": ["9", "2"]})
    assert len(folk) == 2


@pytest.mark.parametrize("city", ["Bergen", "Oslo"])
def test_a_value_given_up_is_free(folk: Collection, city: str) -> None:
    folk.put({"id": "a", "email": "a@x.example", "city": "Bergen", "aliases": ["1", "2"]})
    folk.put({"id": "a", "email": "new@x.example", "city": city, "aliases": ["2"]})
    folk.put({"id": "b", "email": "a@x.example", "aliases": ["1"]})
    assert folk.owner("email", "a@x.example") == "b"
    assert folk.owner("alias", "2") == "a"
    folk.delete("a")
    assert folk.owner("alias", "2") is None


def test_lists_follow_the_record(folk: Collection) -> None:
    for name, city in [("a", "Oslo"), ("b", "Bergen"), ("c", "Oslo")]:
        folk.put({"id": name, "city": city})
    assert ids(folk, folk.view("city:Oslo")) == ["a", "c"]
    folk.put({"id": "b", "city": "Oslo"})
    assert ids(folk, folk.view("city:Oslo")) == ["a", "b", "c"]
    assert list(folk.view("city:Bergen")) == []
    folk.delete("a")
    assert ids(folk, folk.view("city:Oslo")) == ["b", "c"]
    assert not folk.delete("a")


def test_search_looks_into_the_text_in_any_case_and_follows_changes(folk: Collection) -> None:
    folk.put({"id": "a", "name": "Ärmel"})
    folk.put({"id": "b", "name": "Karmen"})
    assert ids(folk, folk.search("ÄRM", folk.view())) == ["a"]
    folk.put({"id": "b", "name": "ärmellos"})
    folk.put({"id": "c", "name": "Ärmelkanal"})
    assert ids(folk, folk.search("ÄRM", folk.view())) == ["a", "b", "c"]
    folk.delete("a")
    assert ids(folk, folk.search("ÄRM", folk.view())) == ["b", "c"]


def test_pages_by_number(folk: Collection) -> None:
    for number in range(25):
        folk.put({"id": str(number)})
    view = folk.view()
    assert ids(folk, numbered(view, 1, 10)) == [str(n) for n in range(10)]
    assert ids(folk, numbered(view, 3, 10)) == ["20", "21", "22", "23", "24"]
    assert ids(folk, numbered(view, 4, 10)) == []
    assert ids(folk, numbered(view, 1, 10, newest_first=True)) == [str(n) for n in range(24, 14, -1)]
    assert ids(folk, numbered(view, 3, 10, newest_first=True)) == ["4", "3", "2", "1", "0"]
    assert ids(folk, numbered(view, 4, 10, newest_first=True)) == []


def test_pages_by_cursor_survive_that_their_record_goes(folk: Collection) -> None:
    for number in range(20):
        folk.put({"id": str(number)})
    ranks, more = following(folk.view(), None, 10)
    cursor = ranks[-1]
    assert (ids(folk, ranks)[-1], more) == ("9", True)
    folk.delete("9")
    ranks, more = following(folk.view(), cursor, 10)
    assert ids(folk, ranks) == [str(n) for n in range(10, 20)]
    assert not more


@given(st.integers(0, 2**32), st.integers(0, 30))
def test_a_move_changes_places_and_nothing_else(seed: int, number: int) -> None:
    _, folk = open_store()
    for count in range(number):
        folk.put({"id": str(count), "email": f"{count}@x.example", "city": str(count % 3)})
    before = sorted(folk.bodies(folk.view()))
    for _ in range(20):
        folk.move(random.Random(seed))
        seed += 1
    assert sorted(folk.bodies(folk.view())) == before
    assert list(folk.view()) == sorted(folk.view())
    cities = [decode(body)["id"] for body in folk.bodies(folk.view()) if decode(body)["city"] == "1"]
    assert ids(folk, folk.view("city:1")) == cities
    assert all(folk.owner("email", f"{count}@x.example") == str(count) for count in range(number))


def test_moments_never_fall_and_never_run_ahead_of_the_clock() -> None:
    store = Store("x")
    ticks = iter((1999, 1000, 5000))
    store.clock = lambda: datetime(2026, 1, 1, 0, 0, 0, next(ticks), tzinfo=UTC)
    moments = [store.moment() for _ in range(3)]
    assert [moment.microsecond for moment in moments] == [1000, 1000, 5000]


def test_ids_are_uuids_version_4_and_the_same_in_each_run() -> None:
    first, second = Store("x"), Store("x")
    made = [first.uuid() for _ in range(1000)]
    assert made == [second.uuid() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(UUID.fullmatch(one) and one[14] == "4" and one[19] in "89ab" for one in made)


# The state file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_a_state_outlives_its_store(path: Path) -> None:
    store, folk = open_store(path)
    for name in "abcd":
        folk.put({"id": name, "email": f"{name}@x.example", "city": "Oslo"})
    folk.put({"id": "a", "email": "new@x.example"})
    folk.delete("b")
    folk.move(random.Random(1))
    wanted = folk.bodies(folk.view())
    store.close()
    store, folk = open_store(path)
    assert folk.bodies(folk.view()) == wanted
    assert folk.owner("email", "b@x.example") is None
    assert folk.owner("email", "new@x.example") == "a"
    assert len(folk.view("city:Oslo")) == 2
    store.close()


def test_a_change_is_in_the_file_when_it_is_made(path: Path) -> None:
    store, folk = open_store(path)
    folk.put({"id": "a", "name": "there"})
    assert b'"there"' in path.read_bytes()
    store.close()


def test_what_was_forgotten_stays_forgotten(path: Path) -> None:
    store, folk = open_store(path)
    folk.put({"id": "a"})
    store.clear()
    folk.put({"id": "b"})
    store.close()
    store, folk = open_store(path)
    assert folk.keys() == ["b"]
    store.close()


@pytest.mark.parametrize("torn", [1, 5, 20])
def test_a_torn_last_line_is_dropped(path: Path, torn: int) -> None:
    store, folk = open_store(path)
    folk.put({"id": "a"})
    folk.put({"id": "b", "name": "a name of some length"})
    store.close()
    path.write_bytes(path.read_bytes()[:-torn])
    store, folk = open_store(path)
    assert folk.keys() == ["a"]
    folk.put({"id": "c"})
    store.close()
    store, folk = open_store(path)
    assert folk.keys() == ["a", "c"]
    store.close()


def test_loading_leaves_no_dead_lines_in_the_file(path: Path) -> None:
    store, folk = open_store(path)
    for number in range(100):
        folk.put({"id": "a", "name": str(number)})
    store.close()
    store, _ = open_store(path)
    store.close()
    assert len(path.read_bytes().splitlines()) == 2


def test_an_id_is_never_given_twice_over_restarts(path: Path) -> None:
    seen: set[str] = set()
    for _ in range(5):
        store, folk = open_store(path)
        key = store.uuid()
        folk.put({"id": key})
        folk.delete(key)
        assert key not in seen
        seen.add(key)
        store.close()


def test_new_records_come_last_after_a_restart_too(path: Path) -> None:
    store, folk = open_store(path)
    folk.put({"id": "a"})
    folk.put({"id": "b"})
    folk.delete("b")
    store.close()
    for name in "cd":
        store, folk = open_store(path)
        folk.put({"id": name})
        store.close()
    store, folk = open_store(path)
    assert folk.keys() == ["a", "c", "d"]
    store.close()


def test_a_cursor_outlives_restarts(path: Path) -> None:
    store, folk = open_store(path)
    folk.put({"id": "a"})
    folk.put({"id": "b"})
    cursor = folk.rank("b")
    folk.delete("b")
    for _ in range(2):
        store.close()
        store, folk = open_store(path)
    folk.put({"id": "c"})
    assert ids(folk, following(folk.view(), cursor, 10)[0]) == ["c"]
    store.close()


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    store, _ = open_store(path)
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_stores_do_not_share_a_file(path: Path) -> None:
    store, _ = open_store(path)
    with pytest.raises(ConfigError, match="another sandbox is using this state"):
        open_store(path)
    store.close()


@pytest.fixture
def strange(path: Path, request: pytest.FixtureRequest) -> Path:
    path.write_bytes(request.param)
    return path


@pytest.mark.parametrize("strange", [b"external_id,name\n1,a\n", b"[]\n", b'{"a":1}\n', b"\xff\xfe"], indirect=True)
def test_a_file_that_is_no_state_is_refused_and_left_alone(strange: Path) -> None:
    before = strange.read_bytes()
    with pytest.raises(ConfigError, match="is not the state of a sandbox"):
        open_store(strange)
    assert strange.read_bytes() == before


def test_the_state_of_another_provider_is_refused(path: Path) -> None:
    open_store(path, "growpanel")[0].close()
    with pytest.raises(ConfigError, match="contains the state of growpanel, not of marginfront"):
        open_store(path)


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used for the sandbox's state"):
        open_store(tmp_path / "missing" / "state")
