"""A real Chromium without a window, driven through its own protocol on two pipes: nothing has to be installed beside the browser."""

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

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KEYS = {"ArrowLeft": (37, ""), "ArrowRight": (39, ""), " ": (32, " "), "Enter": (13, "\r"), "Tab": (9, "")}
"""key -> (its code, the text that it writes)."""
SECONDS = 60


def find() -> str | None:
    """The executable, if there is one; FSV2V_CHROMIUM names it where it is not on PATH."""
    return os.environ.get("FSV2V_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab. `requests` lists the addresses of everything that it asked for; `complaints` what pages wrote as errors."""

    def __init__(self, executable: str, profile: Path, downloads: Path) -> None:
        to_browser, self._out = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())
        self._in, from_browser = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in os.pipe())

        def pipes() -> None:
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe"]
        command = [executable, *switches, f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, pass_fds=(3, 4), preexec_fn=pipes, start_new_session=True, stdin=quiet, stdout=quiet, stderr=quiet
        )
        os.close(to_browser)
        os.close(from_browser)
        self._pending, self._number, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._downloads = downloads
        self._named: dict[str, str] = {}
        self._complete: set[str] = set()
        self.call("Browser.setDownloadBehavior", behavior="allowAndName", downloadPath=str(downloads), eventsEnabled=True)
        (tab,) = (target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, https://chromedevtools.github.io/devtools-protocol; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **({"sessionId": self._session} if self._session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next(SECONDS)).get("id") != self._number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._pending:
            assert select.select([self._in], [], [], seconds)[0], "the browser says nothing"
            block = os.read(self._in, 1 << 16)
            assert block, "the browser has ended"
            self._pending += block
        line, _, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, what: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(what["exceptionDetails"].get("exception", {}).get("description", str(what)))
        elif event == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.complaints.append(what["entry"]["text"])
        elif event == "Browser.downloadWillBegin":
            self._named[what["guid"]] = what["suggestedFilename"]
        elif event == "Browser.downloadProgress" and what["state"] == "completed":
            self._complete.add(what["guid"])

    def open(self, address: str) -> None:
        """Show a page; comes back when it has loaded."""
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, script: str) -> Any:
        """What an expression of JavaScript is worth in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = SECONDS) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.value(f"Boolean({script})"):
            assert time.monotonic() < deadline, f"{script} did not come true; the page says: {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of what it matches; fails when something else lies there."""
        place = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(), x = b.x + b.width / 2, y = b.y + b.height / 2;"
            " return [x, y, e.contains(document.elementFromPoint(x, y))]; })()"
        )
        x, y, on_top = self.value(place)
        assert on_top, f"{selector} is covered"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def download(self, selector: str) -> Path:
        """Click on what starts a download; the file under the name that the page gave it, once the browser has all of it.

        The file's being there does not say so: a browser creates it empty to hold the name.
        """
        before, deadline = set(self._complete), time.monotonic() + 30
        self.click(selector)
        while not (new := self._complete - before):
            assert time.monotonic() < deadline, f"{selector} downloads nothing"
            self._next(30)
        (guid,) = new
        return (self._downloads / guid).rename(self._downloads / self._named[guid])

    def tap(self, selector: str) -> None:
        """With a finger."""
        x, y = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        code, text = KEYS[key]
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        """The window, in CSS pixels; a phone has two dots to each and a touch screen."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1 + phone, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, **features: str) -> None:
        """Media features: prefers_reduced_motion="reduce"."""
        wanted = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=wanted)

    def screenshot(self, path: Path) -> Path:
        """A PNG of what the window shows."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path

    def close(self) -> None:
        """Ask it to end, which takes its files in the folder of temporary files along; kill it where it does not."""
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
def opened(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; what it downloads comes into `folder`/downloads."""
    executable = find()
    assert executable is not None
    downloads = folder / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    browser = Browser(executable, folder / "profile", downloads)
    try:
        yield browser
    finally:
        browser.close()
