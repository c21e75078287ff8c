"""Certificates: providers and downloads are read only over connections that can be trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.certificates import Authority
from support.served import as_json, served
from tranship.connectors.hosts import certificate_fault

SCRIPT = """
import json, os, sys
from pathlib import Path
from tranship.connectors import opening
from tranship.connectors.api.health import check
from tranship.connectors.errors import TranshipError
from tranship.connectors.providers.marginfront import SPEC

found = {}
for name, url in json.loads(sys.argv[1]).items():
    environment = {"MF_API_SECRET_KEY": "mf_sk_very-secret", "MF_API_BASE_URL": url}
    provider = check(SPEC, "marginfront://", environment=environment)
    try:
        source = opening.open_sources([f"{url}/a.csv"])
        download = sum(part.read().records.height for part in source.parts(Path("pages")))
    except TranshipError as error:
        download = str(error)
    found[name] = [provider[-1].state, provider[-1].sentence, download]
print(json.dumps(found))
"""


async def answer(request: web.Request) -> web.StreamResponse:
    if request.path.endswith(".csv"):
        return web.Response(text="id,name\n1,Ann\n")
    return as_json({"data": [], "totalResults": 0, "hasMore": False})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the result at each server, and the requests that each one received; `public`: without the private
    authority."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder)
    contexts = {
        "good": authority.context(),
        "expired": authority.context(expired=True),
        "wrong host": authority.context("api.acme.example"),
        "self-signed": authority.context(self_signed=True),
    }
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(answer, context)) for name, context in contexts.items()}
        urls = {name: server.url for name, server in servers.items()}
        private = _run(urls, folder, SSL_CERT_FILE=str(authority.file))
        calls = {name: len(server.calls) for name, server in servers.items()}
        public = _run({"good": urls["good"]}, folder)
        return {"private": private, "calls": calls, "public": public["good"]}


def _run(urls: dict[str, str], folder: Path, **variables: str) -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSL_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(urls)],
        env=environment | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_certificate_of_a_private_authority_is_accepted_if_it_is_named(found: dict[str, Any]) -> None:
    state, sentence, records = found["private"]["good"]
    assert (state, sentence, records) == ("ok", "0", 1)
    state, sentence, error = found["public"]
    assert state == "fail"
    assert "is not trusted (unable to get local issuer certificate)" in sentence
    assert "is not trusted (unable to get local issuer certificate)" in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("expired", "certificate has expired"),
        ("wrong host", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("self-signed", "self-signed certificate"),
    ],
)
def test_nothing_is_sent_to_a_server_that_cannot_be_trusted(found: dict[str, Any], name: str, why: str) -> None:
    state, sentence, error = found["private"][name]
    assert state == "fail"
    assert f"is not trusted ({why}), so nothing was sent" in sentence
    assert f"is not trusted ({why}), so nothing was read" in error
    assert found["calls"][name] == 0
    assert "very-secret" not in sentence + str(error)


def test_a_fault_without_a_reason_has_words() -> None:
    assert certificate_fault(OSError()) == "no trusted certificate"
