"""Sandboxes for tests: started in a thread of this process, or as a process that can be killed."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

from tranship.connectors.sandbox.server import running
from tranship.connectors.sandbox.weather import Weather

ROOT = Path(__file__).resolve().parent.parent.parent


class Reply(NamedTuple):
    """The answer of a server."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Sandbox:
    """A running sandbox, its address (`http://127.0.0.1:port`), and its control endpoints."""

    url: str
    process: subprocess.Popen[str] | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
        """Send one plain request; raises urllib.error.HTTPError."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"X-Tranship-Sandbox": "1", **(headers or {})}
        request = urllib.request.Request(self.url + path, data, sent, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, wait: float = 60
    ) -> Reply:
        """Send one plain request on a new connection, whatever the answer. Raises the errors of http.client."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=wait)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def weather(self, **weather: Any) -> None:
        """Set the weather; failures that are not named are reset. See connectors/sandbox/weather.py."""
        self.ask("PUT", "/_sandbox/weather", weather)

    def keys(self, valid: list[str] | None = None, stops_after: dict[str, int] | None = None) -> None:
        """Declare which keys are valid, and after how many calls a key stops being valid."""
        self.ask("PUT", "/_sandbox/keys", {"valid": valid, "stops_after": stops_after or {}})

    def state(self, collection: str = "") -> list[dict[str, Any]]:
        """Return all records in the form in which the provider lists them: the customers, or those of another
        collection."""
        query = f"?collection={collection}" if collection else ""
        return [json.loads(line) for line in self.ask("GET", f"/_sandbox/state{query}").splitlines()]

    def add(self, *records: dict[str, Any], collection: str = "") -> None:
        """Add records unchanged, without the provider's rules: broken ones, future fields."""
        query = f"?collection={collection}" if collection else ""
        self.ask("POST", f"/_sandbox/state{query}", "\n".join(map(json.dumps, records)).encode())

    def clear(self) -> None:
        self.ask("DELETE", "/_sandbox/state")

    def counts(self) -> dict[str, Any]:
        """Return records per collection, and `calls`: status (`none`: no answer) → number."""
        return json.loads(self.ask("GET", "/_sandbox/counts"))

    def record(self) -> None:
        """Record each call from now on."""
        self.ask("DELETE", "/_sandbox/calls")
        self.ask("PUT", "/_sandbox/calls", {"record": True})

    def calls(self) -> list[dict[str, Any]]:
        """Return the recorded calls: at, method, path, status, worked, content, seconds, idempotency_key."""
        return [json.loads(line) for line in self.ask("GET", "/_sandbox/calls").splitlines()]

    def kill(self) -> None:
        """Kill it as `kill -9` does; only if it runs as a process."""
        assert self.process, "start it with process=True"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


Start = Callable[..., Sandbox]


@contextmanager
def sandboxes() -> Iterator[Start]:
    """Yield `start(provider, *, seed=None, state=None, weather=None, switches=None, process=False)`; all are stopped at
    the end.
    """
    with ExitStack() as stack:

        def start(
            provider: str,
            *,
            seed: int | Path | None = None,
            state: Path | None = None,
            weather: dict[str, Any] | None = None,
            switches: dict[str, str] | None = None,
            process: bool = False,
        ) -> Sandbox:
            if process:
                return stack.enter_context(_process(provider, seed, state, weather or {}, switches or {}))
            url, _ = stack.enter_context(
                running(provider, seeding=seed, state=state, weather=Weather(**(weather or {})), switches=switches)
            )
            return Sandbox(url)

        yield start


@contextmanager
def _process(
    provider: str, seed: int | Path | None, state: Path | None, weather: dict[str, Any], switches: dict[str, str]
) -> Iterator[Sandbox]:
    code = (
        "from pathlib import Path, PosixPath; from tranship.connectors.sandbox.server import serve; "
        "from tranship.connectors.sandbox.weather import Weather; "
        f"serve({provider!r}, 0, {seed!r}, {state!r}, Weather(**{weather!r}), {switches!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        first = process.stderr.readline()
        while "sandbox on http" not in first:
            assert first, process.stderr.read()
            first = process.stderr.readline()
        yield Sandbox(re.findall(r"http://127\.0\.0\.1:\d+", first)[0], process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stderr.close()
