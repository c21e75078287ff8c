"""Measure the speed of writing customers to a provider: at a rate limit, the share of it that is used; without one,
customers per second.

    python benchmarks/bench_writing.py --rows 10000 --rate 50 --latency 0.02 --provider marginfront [--json]

The provider is its sandbox, on this machine, in a separate process; it answers calls over the limit with 429. As
always, each request is in the journal, on disk, before it is sent.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tranship.connectors.registry import CONNECTORS
from tranship.pipelines import run as flow
from tranship.pipelines import settings

ROOT = Path(__file__).resolve().parent.parent

KEYS = {
    "blackwalnut": "sk_live_0123456789",
    "growpanel": "account.key.0123456789",
    "marginfront": "mf_sk_test_0123456789",
    "metrifox": "sk_test_0123456789",
    "metronome": "token-0123456789",
}
BEHIND = {"blackwalnut": "/my-app", "growpanel": "?source=ds_main"}


def customers(file: Path, rows: int) -> None:
    """Write customers that every provider accepts; return the file."""
    with file.open("w", encoding="utf-8") as out:
        out.write("external_id,email,name,customer_type,country,created_at\n")
        for row in range(rows):
            out.write(f"cus_{row:07},c{row}@x.example,Customer {row},BUSINESS,DE,2024-01-02T03:04:05Z\n")


@contextmanager
def sandbox(provider: str) -> Iterator[int]:
    """Run the sandbox; yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tranship", "sandbox", provider, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        try:
            while "sandbox on http" not in (line := server.stderr.readline() if server.stderr else ""):
                if not line:
                    raise SystemExit("bench: the sandbox did not start")
            yield port
        finally:
            server.terminate()


def asked(port: int, method: str, path: str, body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_sandbox/{path}", data, {"X-Tranship-Sandbox": "1"}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def measured(provider: str, rows: int, rate: int | None, latency: float) -> dict[str, Any]:
    """Measure one run into an empty sandbox."""
    with sandbox(provider) as port, tempfile.TemporaryDirectory() as folder:
        limits = {"rate": {"POST": rate}, "window": 1.0} if rate else {}
        asked(port, "PUT", "weather", {"latency": latency, **limits})
        asked(port, "PUT", "calls", {"record": True})
        customers(Path(folder) / "customers.csv", rows)
        given = {
            "source": str(Path(folder) / "customers.csv"),
            "destination": f"{provider}://127.0.0.1:{port}{BEHIND.get(provider, '')}",
            "state_dir": Path(folder) / "state",
            **({"pace": f"{rate}/s"} if rate else {}),
        }
        began = time.monotonic()
        report = flow.run(settings.load(given, {}))
        whole = time.monotonic() - began
        calls = [json.loads(line) for line in asked(port, "GET", "calls").splitlines()]
    if report.counts.created != rows:
        raise SystemExit(f"bench: {report.counts}")
    writes = [call for call in calls if call["method"] != "GET"]
    times = sorted(datetime.fromisoformat(call["at"]).timestamp() - call["seconds"] for call in writes)
    seconds = report.seconds["write"]
    return {
        "provider": provider,
        "created": rows,
        "rate allowed": rate,
        "seconds of writing": round(seconds, 1),
        "seconds of the whole run": round(whole, 1),
        "created a second": round(rows / seconds, 1),
        "share of the rate": round(len(writes) / (times[-1] - times[0]) / rate, 4) if rate else None,
        "answered 429": sum(call["status"] == 429 for call in writes),
        "most calls in one second": max(bisect_left(times, at + 1) - place for place, at in enumerate(times)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--provider", choices=sorted(KEYS), default="marginfront")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=50, help="limit in calls per second; 0: not measured")
    parser.add_argument("--latency", type=float, default=0.02, help="of the sandbox at the limit, in seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    args = parser.parse_args()
    os.environ[CONNECTORS[args.provider].key_variable or ""] = KEYS[args.provider]
    cases = [(args.rate, args.latency)] if args.rate else []
    for rate, latency in [*cases, (None, 0.0)]:
        found = measured(args.provider, args.rows, rate, latency)
        if args.json:
            print(json.dumps(found))
        else:
            print("\n".join(f"{name:<26} {value}" for name, value in found.items() if value is not None), end="\n\n")


if __name__ == "__main__":
    main()
