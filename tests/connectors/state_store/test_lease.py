"""One process has a lease; one that does not renew it loses it, and stops by itself before that."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from support.object_stores import Store
from tranship.connectors.errors import Busy, ConfigError
from tranship.connectors.state_store import lease as leases
from tranship.connectors.state_store.bucket import Bucket
from tranship.connectors.state_store.lease import Lease

pytest.importorskip("obstore")


def lease(bucket: Bucket, seconds: float = 60) -> Lease:
    return Lease(bucket, "locks/a.lock", seconds, set(), lambda name: None)


@pytest.mark.slow
def test_one_of_two_takes_a_lease(address: str) -> None:
    bucket = Bucket(address)
    one, two = lease(bucket), lease(bucket)
    assert one.take()
    assert not two.take()
    assert str(two.holder()) == str(two.last_holder()) == str(one.holder())
    assert "process" in str(one.holder())
    one.release()
    assert two.holder() is None
    assert two.take()
    two.release()


@pytest.mark.slow
def test_of_many_at_once_one_takes_a_lease(store: Store) -> None:
    for _ in range(3):
        all_of_them = [lease(Bucket("gs://exports/state")) for _ in range(12)]
        with ThreadPoolExecutor(12) as pool:
            assert sum(pool.map(Lease.take, all_of_them)) == 1
        (holder,) = (one for one in all_of_them if one.is_held)
        holder.release()


@pytest.mark.slow
def test_a_lease_that_is_held_for_a_moment_is_waited_for(store: Store) -> None:
    one, two = lease(Bucket("gs://exports/state")), lease(Bucket("gs://exports/state"))
    assert one.take()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(two.take, 20)
        time.sleep(0.3)
        assert not waiting.done()
        one.release()
        assert waiting.result(20)
    two.release()


def test_a_lease_that_is_not_renewed_is_taken_over_and_its_holder_stops(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_RENEWED", 1000)
    one, two = lease(Bucket("gs://exports/state")), lease(Bucket("gs://exports/state"))
    assert one.take()
    store.ahead = timedelta(seconds=58)
    assert not two.take()
    store.ahead = timedelta(seconds=70)
    two = lease(Bucket("gs://exports/state"))
    assert two.take()
    one.confirm()  # its time has not passed by its own clock, which decides
    one._confirmed -= 50
    with pytest.raises(Busy, match=r"gs://exports/state: this process could not keep its lock .* stopped writing"):
        one.confirm()
    two.confirm()
    one.release()
    assert two.holder() is not None


@pytest.mark.slow
def test_a_lease_is_renewed_while_it_is_held(store: Store) -> None:
    one = lease(Bucket("gs://exports/state"), seconds=1)
    assert one.take()
    time.sleep(1.5)
    one.confirm()
    assert store.generations["exports", "state/locks/a.lock"] > 3
    one.release()


@pytest.mark.slow
def test_a_holder_that_cannot_reach_the_bucket_stops(store: Store) -> None:
    one = lease(Bucket("gs://exports/state"), seconds=1)
    assert one.take()
    store.denies = lambda method, key: True
    time.sleep(1.1)
    with pytest.raises(Busy, match="could not keep its lock"):
        one.confirm()


def test_storage_that_ignores_conditions_is_refused(store: Store) -> None:
    store.is_conditional = False
    one = lease(Bucket("gs://exports/state"))
    with pytest.raises(ConfigError, match=r"no conditional writes .* --no-locks"):
        one.take()
    assert not one.is_held
