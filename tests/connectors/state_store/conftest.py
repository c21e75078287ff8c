"""Buckets at three providers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from support.object_stores import Store
from support.state_buckets import azure_bucket, google_bucket


@pytest.fixture(params=["gs", "az", "s3"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a state directory at a provider."""
    if request.param != "s3":
        with (google_bucket if request.param == "gs" else azure_bucket)(monkeypatch):
            yield f"{request.param}://exports/state"
        return
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    name = f"exports-{secrets.token_hex(4)}"  # servers of one process share their buckets
    host, port = server.get_host_and_port()
    settings = {"ENDPOINT_URL": f"http://{host}:{port}", "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    for variable, value in {**settings, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test-secret"}.items():
        monkeypatch.setenv(f"AWS_{variable}", value)
    pytest.importorskip("boto3").client("s3", region_name="us-east-1").create_bucket(Bucket=name)
    yield f"s3://{name}/state"
    server.stop()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with google_bucket(monkeypatch) as found:
        yield found
