"""The sandbox of Metronome, called by the vendor's own Node package through every customer call it has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tranship.connectors.sandbox.server import running
from tranship.schemas.providers.metronome import NAME_LENGTH

pytestmark = pytest.mark.slow

PACKAGE = "@metronome/sdk"
VERSION = "3.10.0"
SCRIPT = Path(__file__).with_name("metronome_calls.mjs")


@pytest.fixture(scope="module")
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed; kept in pytest's cache, so that it is downloaded once."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        pytest.skip(f"there is no Node here: {PACKAGE} was not run against the sandbox")
    cache = getattr(request.config, "cache", None)
    kept = cache.mkdir(f"metronome-node-{VERSION}") if cache else tmp_path_factory.mktemp("kept")
    folder = Path(kept) / "installed"
    if not folder.is_dir():
        # Installed elsewhere and renamed: a broken download is not a package, and another process may do the same.
        fresh = tmp_path_factory.mktemp("npm")
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=10000"]
        try:
            asked = subprocess.run(
                [npm, "install", *options, "--prefix", str(fresh), f"{PACKAGE}@{VERSION}"],
                capture_output=True,
                text=True,
                timeout=300,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not get {PACKAGE} {VERSION} within a minute")
        if asked.returncode:
            pytest.skip(f"npm could not install {PACKAGE} {VERSION}: {asked.stderr.strip()[-200:]}")
        aside = shutil.copytree(fresh, folder.with_name(f"aside {os.getpid()}"))
        try:
            aside.rename(folder)
        except OSError:
            shutil.rmtree(aside)  # another process was first
    return folder


@pytest.fixture(scope="module")
def told(package: Path) -> dict[str, Any]:
    """Return the output of the script; see it for the names."""
    with running("metronome") as (url, _):
        ran = subprocess.run(
            ["node", str(SCRIPT)],
            env={
                "PATH": os.environ["PATH"],
                "SDK_AT": str(package),
                "METRONOME_BASE_URL": url,
                "METRONOME_BEARER_TOKEN": "t",
            },
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def _error(told: dict[str, Any], name: str) -> tuple[str, int]:
    error = told["said"][name]
    assert list(error["body"]) == ["message"]
    return error["kind"], error["status"]


def _names(told: dict[str, Any], name: str) -> list[str]:
    return [customer["name"] for customer in told["said"][name]]


def test_customers_are_created(told: dict[str, Any]) -> None:
    said, first = told["said"], told["ids"][0]
    assert said["create"] == {
        "data": {
            "id": first,
            "external_id": "cus_000000042",
            "ingest_aliases": ["cus_000000042", "ap@nordlys.example"],
            "name": "Nordlys AB",
            "custom_fields": {"tier": "pro"},
        }
    }
    assert said["long name"] == NAME_LENGTH
    assert said["create again"]["body"] == {"message": "Ingest alias already in use: cus_000000042"}
    assert _error(told, "create again") == ("ConflictError", 409)
    assert _error(told, "create with an unknown key") == ("BadRequestError", 400)


def test_customers_are_read_and_listed(told: dict[str, Any]) -> None:
    said, (first, second, third, _) = told["said"], told["ids"]
    detail = said["retrieve"]["data"]
    assert detail == {
        **said["create"]["data"],
        "customer_config": {"salesforce_account_id": None},
        "created_at": detail["created_at"],
        "updated_at": detail["created_at"],
        "archived_at": None,
    }
    assert _error(told, "retrieve nobody") == ("NotFoundError", 404)
    assert [customer["id"] for customer in said["list"]] == [first, second, third]
    assert said["list"][0] == detail
    assert _names(told, "list of ids") == ["Nordlys AB", "third"]
    assert _names(told, "list of an alias") == ["Nordlys AB"]
    assert _names(told, "list of an account") == ["Nordlys"]
    assert _error(told, "list of 101") == ("BadRequestError", 400)


def test_customers_are_changed(told: dict[str, Any]) -> None:
    said, first = told["said"], told["ids"][0]
    assert said["setName"] == {"data": {**said["create"]["data"], "name": "Nordlys"}}
    for name in ("setIngestAliases", "updateConfig", "setValues", "deleteValues"):
        assert said[name] in (None, "")
    after = said["retrieve again"]["data"]
    assert after == {
        "id": first,
        "external_id": "new",
        "ingest_aliases": ["new"],
        "name": "Nordlys",
        "custom_fields": {"canon_email": "a@b.example"},
        "customer_config": {"salesforce_account_id": "sf-1"},
        "created_at": said["retrieve"]["data"]["created_at"],
        "updated_at": after["updated_at"],
        "archived_at": None,
    }


def test_custom_field_keys(told: dict[str, Any]) -> None:
    assert told["said"]["listKeys"] == [
        {"entity": "customer", "key": "tier", "enforce_uniqueness": False},
        {"entity": "customer", "key": "canon_email", "enforce_uniqueness": False},
    ]
    assert _error(told, "addKey again") == ("ConflictError", 409)


def test_billing_configurations(told: dict[str, Any]) -> None:
    said, first = told["said"], told["ids"][0]
    made = said["setBilling"]["data"][0]
    assert (made["customer_id"], made["billing_provider"], made["configuration"]) == (first, "netsuite", {})
    assert said["archiveBilling"]["data"] == {
        "customer_billing_provider_configuration_ids": [made["id"]],
        "customer_id": first,
    }
    (stripe,) = said["getBilling"]["data"]
    assert stripe["configuration"] == {
        "stripe_customer_id": "cus_123",
        "stripe_collection_method": "charge_automatically",
    }
    archived = {entry["id"]: entry["archived_at"] is not None for entry in said["getBilling archived"]["data"]}
    assert archived == {stripe["id"]: False, made["id"]: True}
    assert said["billingConfig.retrieve"] == {"data": {"billing_provider_customer_id": "c"}}
    assert _error(told, "billingConfig.retrieve again") == ("NotFoundError", 404)


def test_customers_are_archived(told: dict[str, Any]) -> None:
    said, first = told["said"], told["ids"][0]
    assert said["archive"] == {"data": {"id": first}}
    assert [(customer["id"], customer["archived_at"] is None) for customer in said["list archived"]] == [(first, False)]
    # A value of a removed key is not accessible.
    assert said["list archived"][0]["custom_fields"] == {}
    assert _error(told, "archive again") == ("BadRequestError", 400)
    assert _error(told, "setName archived") == ("BadRequestError", 400)


def test_keys_rights_and_what_is_not_played(told: dict[str, Any]) -> None:
    assert told["said"]["same key"] is True
    assert _error(told, "same key, other body") == ("ConflictError", 409)
    assert _error(told, "read-only token") == ("PermissionDeniedError", 403)
    for name in ("listBillableMetrics", "listCosts", "previewEvents"):
        assert _error(told, name) == ("NotFoundError", 404)
