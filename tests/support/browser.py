"""A real browser without a window, if one is installed: Chromium, driven by its own protocol over a web socket.

`python tests/support/browser.py PAGE... --out FOLDER` writes screenshots: light, dark, phone, and on paper.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PHONE: Final = 360
"""Pixels: the width of a small phone."""
_SECONDS: Final = 60


def installed() -> str | None:
    """Return the path of a browser, null if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page at a time."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._loop.run_until_complete(self._connect())

    async def _connect(self) -> None:
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(self._address, max_msg_size=0)

    def close(self) -> None:
        """Close the connection."""
        self._loop.run_until_complete(self._socket.close())
        self._loop.run_until_complete(self._session.close())
        self._loop.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), _SECONDS))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, file: Path, width: int = 1100, *, dark: bool = False, media: str = "screen") -> None:
        """Open a page at this width."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media=media, features=scheme)
        self.call("Page.enable")
        self.call("Page.navigate", url=file.resolve().as_uri())
        ready = "new Promise(done => document.readyState == 'complete' ? done(1) : addEventListener('load', done))"
        self.evaluate(ready)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Write the whole page as PNG."""
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(image["data"]))

    def picture(self, file: Path, below: str, scale: float) -> None:
        """Write the page as PNG from its top to the end of the element with this selector, enlarged."""
        bottom = f"document.querySelector({json.dumps(below)}).getBoundingClientRect().bottom + scrollY + 4"
        width, height = self.evaluate(f"[document.documentElement.clientWidth, {bottom}]")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(image["data"]))

    def print(self, file: Path) -> None:
        """Write the page as PDF."""
        file.write_bytes(base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"]))


@contextmanager
def started() -> Iterator[Browser]:
    """Start the browser, and stop it at the end. It finds no other machine."""
    path = installed()
    assert path is not None, "no browser is installed"
    with tempfile.TemporaryDirectory(prefix="tranship-browser-") as profile:
        process = subprocess.Popen(
            [
                *(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
                *(
                    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                    "--remote-debugging-port=0",
                    f"--user-data-dir={profile}",
                ),
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            browser = Browser(_page_of(_port(process, Path(profile) / "DevToolsActivePort")))
            try:
                yield browser
            finally:
                browser.close()
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], file: Path) -> int:
    """Return the port on which the browser listens, once it has written it."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise RuntimeError(f"the browser did not start (exit code {process.poll()})")


def _page_of(port: int) -> str:
    """Return the socket of the first page."""

    async def found() -> str:
        address = f"http://127.0.0.1:{port}/json/list"
        async with aiohttp.ClientSession() as session, session.get(address) as answer:
            pages = json.loads(await answer.text())
        return next(str(page["webSocketDebuggerUrl"]) for page in pages if page["type"] == "page")

    return asyncio.run(found())


def main(arguments: list[str]) -> int:
    """Write screenshots of pages."""
    parser = argparse.ArgumentParser(description="Write screenshots of pages.")
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/pages"))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if installed() is None:
        print(f"No browser is installed ({', '.join(NAMES)}): no screenshots.", file=sys.stderr)
        return 2
    with started() as browser:
        for page in given.pages:
            for name, width, dark, media in (
                ("light", 1100, False, "screen"),
                ("dark", 1100, True, "screen"),
                ("phone", PHONE, False, "screen"),
                ("phone-dark", PHONE, True, "screen"),
            ):
                browser.open(page, width, dark=dark, media=media)
                browser.screenshot(given.out / f"{page.stem}-{name}.png")
            browser.open(page, 794, media="print")
            browser.print(given.out / f"{page.stem}.pdf")
            browser.screenshot(given.out / f"{page.stem}-print.png")
            print(f"Written: {given.out}/{page.stem}-*.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
