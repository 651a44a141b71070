"""Headless Chromium, driven by the DevTools protocol over two pipes. Nothing but the browser has to be installed."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KEYS = {"ArrowLeft": (37, ""), "ArrowRight": (39, ""), " ": (32, " "), "Enter": (13, "\r"), "Tab": (9, "")}
"""Name of a key -> (its Windows virtual key code, the text that it types)."""
TIMEOUT = 60
"""Seconds."""


def find_executable() -> str | None:
    """The path in FSV2V_CHROMIUM, else the first of EXECUTABLES that is on PATH, else None."""
    return os.environ.get("FSV2V_CHROMIUM") or next(filter(None, map(shutil.which, EXECUTABLES)), None)


class Browser:
    """One tab.

    `requests` are the URLs that its pages requested; `console_errors` are the exceptions and errors in their console.
    """

    def __init__(self, executable: str, profile: Path, downloads: Path) -> None:
        to_browser, self._out = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        self._in, from_browser = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())

        def connect_pipes() -> None:
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
        command = [executable, *switches, f"--user-data-dir={profile}", "about:blank"]
        null = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, pass_fds=(3, 4), preexec_fn=connect_pipes, start_new_session=True, stdin=null, stdout=null, stderr=null
        )
        os.close(to_browser)
        os.close(from_browser)
        self._pending, self._last_id, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.console_errors: list[str] = []
        self._downloads = downloads
        self._download_names: dict[str, str] = {}
        self._finished_downloads: set[str] = set()
        self.call("Browser.setDownloadBehavior", behavior="allowAndName", downloadPath=str(downloads), eventsEnabled=True)
        (tab,) = (target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol (https://chromedevtools.github.io/devtools-protocol) and return its result."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters, **({"sessionId": self._session} if self._session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read_message(TIMEOUT)).get("id") != self._last_id:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _read_message(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._pending:
            assert select.select([self._in], [], [], seconds)[0], "the browser does not answer"
            block = os.read(self._in, 1 << 16)
            assert block, "the browser has ended"
            self._pending += block
        line, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._record_event(message.get("method", ""), message.get("params", {}))
        return message

    def _record_event(self, event: str, details: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.console_errors.append(details["exceptionDetails"].get("exception", {}).get("description", str(details)))
        elif event == "Log.entryAdded" and details["entry"]["level"] == "error":
            self.console_errors.append(details["entry"]["text"])
        elif event == "Browser.downloadWillBegin":
            self._download_names[details["guid"]] = details["suggestedFilename"]
        elif event == "Browser.downloadProgress" and details["state"] == "completed":
            self._finished_downloads.add(details["guid"])

    def open(self, address: str) -> None:
        """Open a page and wait until it has loaded."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = TIMEOUT) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"{script} did not become true; the page says: {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of the element; fails if another element covers it."""
        find_middle = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(), x = b.x + b.width / 2, y = b.y + b.height / 2;"
            " return [x, y, e.contains(document.elementFromPoint(x, y))]; })()"
        )
        x, y, on_top = self.value(find_middle)
        assert on_top, f"{selector} is covered"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def download(self, selector: str) -> Path:
        """Click the element that starts a download, and return the path of the finished file, named as the page suggests.

        The browser creates an empty file at the start, so that the existence of the file does not mean that it is complete.
        """
        before, deadline = set(self._finished_downloads), time.monotonic() + 30
        self.click(selector)
        while not (new := self._finished_downloads - before):
            assert time.monotonic() < deadline, f"a click on {selector} downloads nothing"
            self._read_message(30)
        (guid,) = new
        return (self._downloads / guid).rename(self._downloads / self._download_names[guid])

    def tap(self, selector: str) -> None:
        """Touch the middle of the element with a finger."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        """Press and release a key of KEYS."""
        code, text = KEYS[key]
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        """Set the size of the window in CSS pixels. A phone has two device pixels per CSS pixel and a touch screen."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1 + phone, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, **features: str) -> None:
        """Emulate media features, such as prefers_reduced_motion="reduce"."""
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=media)

    def screenshot(self, path: Path) -> Path:
        """Write a PNG of the window's content."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path

    def close(self) -> None:
        """Ask the browser to exit, so that it removes its temporary files; kill it if it does not exit within 10 seconds."""
        self._session = ""
        with contextlib.suppress(AssertionError, BrokenPipeError):
            self.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """A browser with a new profile, which downloads to `folder`/downloads."""
    executable = find_executable()
    assert executable is not None
    downloads = folder / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    browser = Browser(executable, folder / "profile", downloads)
    try:
        yield browser
    finally:
        browser.close()
