"""The contents of another package: a toy provider and a toy file format, each file as text under the path that
CONTRIBUTING names for it, with `<name>` filled in. The wheel test installs them below `tranship_toys`.
"""

from __future__ import annotations

PROVIDER = "toybill"
FORMAT = "toy"

PROVIDER_FILES = {
    "schemas/providers/toybill.py": '''
"""Toybill's customer."""

from tranship.schemas.provider import Field, Overflow, ProviderSchema

SCHEMA = ProviderSchema(
    provider="toybill",
    title="Toybill",
    fields=(
        Field("id", canonical="provider_id", settable=False, always_present=True, server_generated=True),
        Field("externalId", canonical="external_id"),
        Field("name", canonical="name", required=True, always_present=True),
        Field("email", canonical="email"),
    ),
    overflow=Overflow("metadata"),
)
''',
    "connectors/providers/toybill.py": '''
"""Toybill: reads and writes customers, with a key in TOYBILL_API_KEY."""

from urllib.parse import quote

from tranship.connectors.api.operations import Failure, Operations, Request
from tranship.connectors.api.pagination import Envelope, Listing, Numbered
from tranship.connectors.api.reconcile import same
from tranship.connectors.api.spec import ProviderSpec
from tranship_toys.schemas.providers.toybill import SCHEMA

SPEC = ProviderSpec(
    schema=SCHEMA,
    key_variables=("TOYBILL_API_KEY",),
    header=lambda key: {"x-api-key": key},
    listings=lambda address, archived: [
        Listing("customers", "/customers", Numbered("page", "limit", 100), Envelope(("data",), total=("total",)))
    ],
    error_message=lambda body: body["message"],
    summary="Toybill, a toy provider",
    base_url="https://toybill.example",
)
SETTABLE = [*(field.name for field in SCHEMA.fields if field.settable), SCHEMA.overflow.name]


def build_operations(address):
    return Operations(
        schema=SCHEMA,
        look_up=look_up,
        create=lambda wanted: Request("POST", "/customers", "/customers", dict(wanted)),
        created_id=lambda body, wanted: body["id"],
        change=change,
        remove=lambda current: [one("DELETE", current["id"])],
        failure=failure,
    )


def one(method, its_id, body=None):
    return Request(method, f"/customers/{quote(its_id, safe='')}", "/customers/{id}", body)


async def look_up(ask, key):
    if key.id is not None:
        reply = await ask(one("GET", key.id))
        return reply.body if reply.ok else None
    name, value = ("externalId", key.external_id) if key.external_id is not None else ("email", key.email)
    reply = await ask(Request("GET", "/customers", "/customers", params=[(name, value)]))
    return next(iter(reply.body["data"]), None)


def change(current, wanted):
    different = {name: wanted.get(name) for name in SETTABLE if not same(current.get(name), wanted.get(name))}
    return [one("PATCH", current["id"], different)] if different else []


def failure(reply):
    if reply.status == 404:
        return Failure("gone", "gone")
    return Failure("taken", "taken: external_id") if reply.status == 409 else Failure("refused", "refused")
''',
    "connectors/sandbox/toybill.py": '''
"""A tiny server that plays Toybill."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qsl, urlsplit


class Toybill(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        server = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        with server.lock:
            server.methods.append(self.command)
            if self.headers.get("x-api-key") not in server.keys:
                status, said = 401, {"message": "wrong key"}
            else:
                status, said = self.outcome(body)
        sent = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def outcome(self, body):
        customers = self.server.customers
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        its_id = url.path.removeprefix("/customers").strip("/")
        if its_id and its_id not in customers:
            return 404, {"message": "no such customer"}
        if self.command == "POST":
            wanted = body.get("externalId")
            if wanted and any(one.get("externalId") == wanted for one in customers.values()):
                return 409, {"message": "taken"}
            return 201, self.server.add(body)
        if self.command == "PATCH":
            customers[its_id].update(body)
        if self.command == "DELETE":
            return 200, customers.pop(its_id)
        if its_id:
            return 200, customers[its_id]
        found = list(customers.values())
        for name in {"externalId", "email"} & set(query):
            found = [one for one in found if one.get(name) == query[name]]
        size = int(query.get("limit", 100))
        first = (int(query.get("page", 1)) - 1) * size
        return 200, {"data": found[first : first + size], "total": len(found)}

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, count):
        super().__init__(("127.0.0.1", 0), Toybill)
        self.lock, self.customers, self.methods, self.keys = Lock(), {}, [], {"toy-key"}
        for number in range(1, count + 1):
            self.add({"externalId": f"c{number}", "name": f"N{number}", "email": f"{number}@toy.example"})

    def add(self, record):
        its_id = f"toy_{len(self.customers) + 1:04}"
        self.customers[its_id] = {"metadata": {}, **record, "id": its_id}
        return self.customers[its_id]


@contextmanager
def running(count=0):
    with Server(count) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
''',
    "tests/connectors/providers/test_toybill.py": '''
"""Toybill as every provider, read from and written to."""

from dataclasses import dataclass

import pytest
from tranship.connectors.testing import ProviderDestinationContract, ProviderSourceContract
from tranship_toys.connectors.sandbox.toybill import running


@dataclass
class Account:
    server: object
    provider = "toybill"
    key = "toy-key"
    environment = {"TOYBILL_API_KEY": "toy-key"}
    id_field, name_field = "id", "name"
    page = 100

    @property
    def address(self):
        return f"toybill://127.0.0.1:{self.server.server_port}"

    def records(self):
        return list(self.server.customers.values())

    def replace(self, record):
        self.server.customers[record["id"]] = record

    def accept_only(self, key):
        self.server.keys = {key}

    def methods(self):
        return list(self.server.methods)


class Suite:
    @pytest.fixture
    def accounts(self):
        with contextlib.ExitStack() as stack:
            yield lambda count: Account(stack.enter_context(running(count)))


class TestSource(Suite, ProviderSourceContract):
    pass


class TestDestination(Suite, ProviderDestinationContract):
    pass
'''.replace("from dataclasses", "import contextlib\nfrom dataclasses", 1),
}

FORMAT_FILES = {
    "connectors/files/toy.py": '''
"""Toy files: a JSON object a line."""

import polars as pl

from tranship.connectors.contract import Abilities, ArrowPart, Connector, Layout
from tranship.connectors.files import locating
from tranship.connectors.files.whole_file import WholeFile

CONNECTOR = Connector(
    "toy", "Toy files", "customers.toy", Abilities(modes=("upsert",), keeps_state=False),
    suffixes=(".toy",), source=f"{__name__}:ToySource", destination=f"{__name__}:destination",
)


class ToySource:
    size = 3

    def __init__(self, spec, suffixes, seen=None):
        self._files = locating.expand(spec, suffixes, seen)

    def frames(self):
        for file in self._files:
            with file.open() as opened:
                yield file.name, pl.read_ndjson(opened.read())

    def layouts(self):
        return [Layout(name, tuple(frame.columns)) for name, frame in self.frames()]

    def fingerprint(self):
        return [file.fingerprint() for file in self._files]

    def parts(self, _keep):
        position = 0
        for name, frame in self.frames():
            for batch in frame.rechunk().to_arrow().to_batches():
                position += batch.num_rows
                yield ArrowPart(name, batch, 1, position)

    def close(self):
        pass


def destination(spec, written, *, overwrite):
    def write(frame, path):
        frame.select("external_id", "email", "name").collect().write_ndjson(path)

    return WholeFile(spec, write, written, overwrite=overwrite)
''',
    "tests/connectors/test_contract.py": '''
"""Toy files as every source and destination."""

import pytest
from tranship.connectors.testing import DestinationContract, SourceContract


class TestSource(SourceContract):
    @pytest.fixture
    def address(self, tmp_path):
        lines = [f'{{"external_id": "{n}", "name": "N"}}' for n in range(1, 4)]
        (tmp_path / "a.toy").write_text("\\n".join(lines))
        return str(tmp_path / "a.toy")


class TestDestination(DestinationContract):
    @pytest.fixture
    def address(self, tmp_path):
        return str(tmp_path / "b.toy")
''',
}
