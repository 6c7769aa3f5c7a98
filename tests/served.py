"""`stochvid app` in a process of its own, and its page as somebody sees it."""

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from commands import STOCHVID

SHIFTS = """
  window.shifted = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted.push(entry.value);
  }).observe({ type: 'layout-shift', buffered: true });
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """`stochvid app` in a process of its own."""

    def __init__(self, model: Path, folder: Path | None = None, port: int = 0, more=()):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        words = [*STOCHVID, "app", str(model), "--port", str(self.port), "--device", "cpu", *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder or "/tmp")}
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self.said = ""
        self._wait_for("Loading")
        self.first = self.get("/")[2]
        self._wait_for("Ctrl-C")
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _wait_for(self, word: str) -> None:
        while word not in self.said:
            line = self.process.stdout.readline()
            assert line, f"the server ended: {self.said}"
            self.said += line

    def _listen(self) -> None:
        for line in self.process.stdout:
            self.said += line

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.listener.join(30)
        self.process.stdout.close()
        return code

    def get(self, path: str, data: bytes | None = None, **headers: str):
        code, told, content = self.get_bytes(path, data, **headers)
        return code, told, content.decode()

    def get_bytes(self, path: str, data: bytes | None = None, **headers: str):
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


def as_form(content: bytes, name: str = "clip.npy") -> tuple[bytes, str]:
    """A file as a browser uploads it: the body of a request, and its kind."""
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return head + content + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


class Page:
    """The page as somebody sees it."""

    def __init__(self, browser, url: str, **options):
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.asked, self.errors = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script(SHIFTS)
        self.page.goto(url)
        self.page.wait_for_selector(".sv-player.full", timeout=60_000)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def said(self) -> str:
        return self.page.locator(".sv-status .sv-say:visible").first.inner_text()

    def wait_for(self, words: str, seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while words not in self.said():
            assert time.monotonic() < end, f"waited for {words!r}, the page says {self.said()!r}"
            time.sleep(0.02)
        return self.said()

    def number(self, label: str, value: int) -> None:
        self.page.get_by_label(f"number input for {label}").fill(str(value))
        self.page.keyboard.press("Tab")

    def upload(self, path: Path) -> None:
        self.page.get_by_label("Your clip").first.check()
        clear = self.page.locator(".sv-upload:visible [aria-label=Clear]")
        if clear.count():
            clear.first.click()
        self.page.locator(".sv-upload input[type=file]").first.set_input_files(str(path))
        self.page.wait_for_timeout(1000)

    def frame(self) -> int:
        return int(self.page.locator(".sv-where b").first.inner_text())

    def pixels(self, tile: int) -> list[int]:
        script = "(c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        return self.page.locator(".sv-tile canvas").nth(tile).evaluate(script)
