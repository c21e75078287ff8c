"""BlackWalnut as a source, against its sandbox."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from support.sandboxes import Sandbox, Start
from tranship.connectors.api.health import check
from tranship.connectors.api.retry import RetryPolicy
from tranship.connectors.api.source import ApiSource
from tranship.connectors.errors import Refused
from tranship.connectors.providers.blackwalnut import SPEC

KEY = {"BLACKWALNUT_API_KEY": "sk_live_1"}
QUICK = RetryPolicy(first_pause=0.005, longest_pause=0.05, silence=0.5)


def read(server: Sandbox, keep: Path, app: str, environment: Mapping[str, str] = KEY) -> tuple[pl.DataFrame, Any]:
    """Return customers and notes."""
    source = ApiSource(
        SPEC, f"blackwalnut://127.0.0.1:{server.port}/{app}", retry_policy=QUICK, environment=environment
    )
    try:
        return pl.concat([part.read().records for part in source.parts(keep)]), source.layouts()[0].notes
    finally:
        source.close()


def create(server: Sandbox, app: str, **body: Any) -> None:
    headers = {"Authorization": "Bearer sk_live_1", "Content-Type": "application/json"}
    server.ask("POST", f"/api/v1/apps/{app}/customers", body, headers)


@pytest.mark.parametrize("seed", [0, 1, 100, 250])
def test_every_customer_once(sandbox: Start, seed: int, tmp_path: Path) -> None:
    server = sandbox("blackwalnut", seed=seed)
    if seed == 0:
        source = ApiSource(SPEC, f"blackwalnut://127.0.0.1:{server.port}/my-app", environment=KEY)
        assert list(source.parts(tmp_path)) == []
        source.close()
        return
    customers, notes = read(server, tmp_path, "my-app")
    assert customers["provider_id"].to_list() == [record["id"] for record in server.state()]
    assert notes == ()


def test_what_stands_where(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("blackwalnut")
    canon = {"country": "SE", "net_terms": 45, "status": "cancelled", "created_at": "2021-04-02T08:00:00Z"}
    create(server, "my-app", email="ap@nordlys.example", external_id="cus_1", metadata={"tier": "pro", "canon": canon})
    [given] = server.state()
    customers, _ = read(server, tmp_path, "my-app")
    [row] = customers.rows(named=True)
    assert {field: value for field, value in row.items() if value is not None} == {
        **{"external_id": "cus_1", "email": "ap@nordlys.example", "metadata": '{"tier":"pro"}'},
        "name": "ap@nordlys.example",
        **{"country": "SE", "net_terms": "45", "status": "cancelled", "created_at": "2021-04-02T08:00:00Z"},
        **{"provider": "blackwalnut", "provider_id": given["id"]},
    }


def test_each_app_is_an_account_of_its_own(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("blackwalnut")
    for app in ("my-app", "second-app"):
        create(server, app, email=f"ap@{app}.example")
    for app in ("my-app", "second-app"):
        # The same folder: pages of one app are not used for the other.
        assert read(server, tmp_path, app)[0]["email"].to_list() == [f"ap@{app}.example"]


def test_an_app_that_is_not_there(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("blackwalnut", seed=1)
    with pytest.raises(Refused) as refused:
        read(server, tmp_path, "no-app")
    assert str(refused.value).startswith(
        f"BlackWalnut (127.0.0.1:{server.port}): GET /apps/no-app/customers (page 1) returned 404 Not Found "
        "(not_found: "
    )
    assert str(refused.value).endswith(
        "Check the app's slug after the host, and that the host is a BlackWalnut instance."
    )


@pytest.mark.slow
def test_simulated_failures(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("blackwalnut", seed=1000)
    server.weather(
        **{"statuses": {"500": 0.05, "429": 0.05}, "retry_after": "milliseconds", "retry_seconds": 0.05, "seed": 1},
        **{"cut_before": 0.02, "cut_after": 0.02, "half": 0.02, "html": 0.02, "shift": 0.2, "latency": 0.005},
    )
    customers, _ = read(server, tmp_path, "my-app")
    assert sorted(customers["provider_id"]) == sorted(record["id"] for record in server.state())


def test_keys(sandbox: Start, tmp_path: Path) -> None:
    server = sandbox("blackwalnut", seed=5)

    def seen(key: str, app: str = "my-app") -> dict[str, str]:
        spec = f"blackwalnut://127.0.0.1:{server.port}/{app}"
        found = check(SPEC, spec, retry_policy=QUICK, environment={"BLACKWALNUT_API_KEY": key})
        return {one.what: one.sentence for one in found}

    assert seen("sk_live_1")["rights"] == "a secret key (sk_…): may read and write"
    assert seen("sk_live_1")["customers"] == "5"
    assert seen("pk_live_1")["rights"] == "a public key (pk_…): may read, but not write"
    assert "401 Unauthorized" in seen("nonsense")["key accepted"]
    assert "404 Not Found" in seen("sk_live_1", "no-app")["answer"]
    # A public key reads customers.
    assert len(read(server, tmp_path, "my-app", {"BLACKWALNUT_API_KEY": "pk_live_1"})[0]) == 5
