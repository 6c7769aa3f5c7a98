"""What an attacker tries with the page over HTTP: to read files of the machine, or to have addresses fetched."""

import functools
import io
import itertools
import json
import os
import re
import signal
import socket
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from served import Served, as_form
from tiny import save_model

SECRET = b"the secret of this machine"
JSON = {"Content-Type": "application/json"}
FILE = {"_type": "gradio.FileData"}


class Attacked:
    """A server, and files of its machine that are nobody's business."""

    def __init__(self, folder: Path):
        self.folder, self.temporary = folder, folder / "temporary"
        self.temporary.mkdir()
        self.server = Served(save_model(folder / "tiny"), folder=self.temporary)
        (self.uploads,) = self.temporary.glob("stochvid-app-*")
        array = np.zeros((20, 32, 32), np.uint8)
        array.reshape(-1)[: len(SECRET)] = list(SECRET)
        np.save(folder / "private.npy", array)
        os.mkfifo(folder / "pipe.npy")
        self.config = json.loads(self.server.get("/config")[2])
        self.components = {part["id"]: part for part in self.config["components"]}

    def upload(self, content: bytes, name: str = "clip.npy") -> str:
        form, kind = as_form(content, name)
        (path,) = json.loads(self.server.get("/gradio_api/upload", form, **{"Content-Type": kind})[2])
        return path

    @functools.cached_property
    def paths(self) -> list[str]:
        mine = Path(self.upload(b"anything"))
        link = mine.with_name("link.npy")
        if not link.is_symlink():
            link.symlink_to(self.folder / "private.npy")
            (mine.parent / "folder.npy").mkdir()
            os.mkfifo(mine.with_name("pipe.npy"))
        up = f"{mine.parent}/../../../../private.npy"
        return [
            str(self.folder / "private.npy"),
            "/etc/passwd",
            "/proc/self/environ",
            "/dev/zero",
            str(self.folder / "pipe.npy"),
            str(mine.with_name("pipe.npy")),
            str(link),
            str(mine.parent / "folder.npy"),
            f"{mine.parent.parent}/./{mine.parent.name}/link.npy",
            os.path.relpath(self.folder / "private.npy"),
            up,
            f"file://{self.folder}/private.npy",
            str(self.uploads),
            f"{mine}\0",
        ]

    def event(self, number: int, data: list, extra: object = None) -> str:
        """What the page's own way of calling tells about one call."""
        session = f"s{number}x{next(COUNT)}"
        body = {"data": data, "fn_index": number, "session_hash": session, "event_data": extra, "trigger_id": None}
        status, _, text = self.server.get("/gradio_api/queue/join", json.dumps(body).encode(), **JSON)
        if status != 200:
            return text
        stream = f"{self.server.url}/gradio_api/queue/data?session_hash={session}"
        with urllib.request.urlopen(stream, timeout=60) as answer:
            for line in answer:
                text += line.decode()
                if "process_completed" in text or "close_stream" in text:
                    return text
        return text

    def call(self, name: str, data: list) -> str:
        status, _, text = self.server.get(f"/gradio_api/call/{name}", json.dumps({"data": data}).encode(), **JSON)
        if status != 200:
            return text
        return text + self.server.get(f"/gradio_api/call/{name}/{json.loads(text)['event_id']}")[2]

    def defaults(self, inputs: list[int]) -> list:
        """Values that lead as far as possible into an action: an upload is wanted, whatever else is right."""
        parts = [self.components[number] for number in inputs]
        return ["Your clip" if part["type"] == "radio" else part["props"].get("value") for part in parts]

    def works(self) -> bool:
        """Whether a file that was uploaded is still taken, and the result can be fetched."""
        content = io.BytesIO()
        np.save(content, np.zeros((12, 32, 32), np.uint8))
        path = self.upload(content.getvalue())
        told = self.call("futures", [{"path": path, "meta": FILE}, 0, [], 3, 4, 2, 0, 1, []])
        (result,) = set(re.findall(r'"path": "([^"]+)"', told))
        with urllib.request.urlopen(f"{self.server.url}/gradio_api/file={urllib.parse.quote(result)}") as answer:
            return answer.read(2) == b"PK"

    def check(self, told: str) -> None:
        assert SECRET.decode() not in told
        assert str(self.uploads) not in told
        kept = [path for path in self.uploads.rglob("*") if path.is_file() and not path.is_symlink()]
        assert not any(SECRET in path.read_bytes() for path in kept)


COUNT = itertools.count()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    made = Attacked(tmp_path_factory.mktemp("attacked"))
    yield made
    assert made.server.stop(signal.SIGTERM) == 143
    assert "Traceback" not in made.server.said, made.server.said


def forms(path: str) -> list:
    """Ways to name a file in a call."""
    return [
        {"path": path, "meta": FILE},
        {"path": path, "url": path, "orig_name": "clip.npy", "size": 1, "mime_type": None, "meta": FILE},
        {"path": "clip.npy", "url": f"file://{path}", "is_stream": True, "meta": FILE},
        [{"path": path, "meta": FILE}],
        {"value": {"path": path, "meta": FILE}, "path": path},
        path,
    ]


def test_a_private_file_is_read_by_no_event_and_no_named_call(attacked):
    named = forms(str(attacked.folder / "private.npy"))[0]
    refused = 0
    for event in attacked.config["dependencies"]:
        data = attacked.defaults(event["inputs"])
        files = [place for place, number in enumerate(event["inputs"]) if attacked.components[number]["type"] == "file"]
        for place in files or range(len(data)):
            data[place] = named
        told = attacked.event(event["id"], data, named)
        attacked.check(told)
        refused += "none that was uploaded" in told
        attacked.check(attacked.call(event["api_name"], data))
    assert refused == 4  # draw, watch, and the two of the API
    assert attacked.works()


@pytest.mark.slow
def test_no_event_reads_any_file_of_the_machine(attacked):
    ways = itertools.cycle(range(6))
    for event in attacked.config["dependencies"]:
        for place, path in itertools.product(range(max(1, len(event["inputs"]))), attacked.paths):
            named = forms(path)[next(ways)]
            data = attacked.defaults(event["inputs"])
            data[place : place + 1] = [named]
            attacked.check(attacked.event(event["id"], data, named))
    assert attacked.works()


@pytest.mark.slow
def test_no_named_call_reads_any_file_of_the_machine(attacked):
    for event in attacked.config["dependencies"]:
        for place, path in itertools.product(range(len(event["inputs"])), attacked.paths):
            data = attacked.defaults(event["inputs"])
            data[place] = forms(path)[0]
            attacked.check(attacked.call(event["api_name"], data))
        for way in ("run", "api", "call/v2"):
            body = json.dumps({"data": forms("/etc/passwd"), "clip": forms("/etc/passwd")[0]}).encode()
            assert attacked.server.get(f"/gradio_api/{way}/{event['api_name']}", body, **JSON)[0] == 404


def test_only_files_of_the_page_are_served(attacked):
    for path in attacked.paths:
        for name in (path, path.replace("/", "//"), f"{path}/", path.lstrip("/")):
            for route in ("file=", "file/", "proxy=", "stream/"):
                status, _, told = attacked.server.get(f"/gradio_api/{route}{urllib.parse.quote(name)}")
                assert status in (403, 404), (route, name)
                attacked.check(told)
    half = attacked.uploads / "tmphalf"
    half.write_bytes(SECRET[:5])  # as of an upload that is under way
    assert attacked.server.get(f"/gradio_api/file={half}")[0] == 404


@pytest.mark.parametrize("everywhere", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_address_is_fetched(attacked, everywhere):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(0.2)
        address = f"http://127.0.0.1:{other.getsockname()[1]}/clip.npy"
        named = (*forms(address), {"path": attacked.upload(b"anything"), "url": address, "meta": FILE})
        for event, form in itertools.product(attacked.config["dependencies"], named if everywhere else named[-1:]):
            for place, number in enumerate(event["inputs"]):
                if everywhere or attacked.components[number]["type"] == "file":
                    data = attacked.defaults(event["inputs"])
                    data[place] = form
                    attacked.check(attacked.event(event["id"], data, form))
        for route in ("file=", "proxy=", "file/"):
            assert attacked.server.get(f"/gradio_api/{route}{address}")[0] == 404
        with pytest.raises(TimeoutError):
            other.accept()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/stream/x"),
        ("POST", "/login"),
        ("PUT", "/gradio_api/upload"),
        ("DELETE", "/"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("GET", "/gradio_api/deep_link?session_hash=x"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/gradio_api/token"),
        ("GET", "/monitoring"),
        ("GET", "/static/../../../../etc/passwd"),
        ("GET", "/assets/%2e%2e/%2e%2e/%2e%2e/__init__.py"),
        ("GET", "/custom_component/x/client/component/index.js"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/svelte/x"),
    ],
)
def test_routes_that_the_page_does_not_need_are_closed(attacked, method, path):
    request = urllib.request.Request(
        attacked.server.url + path, b"{}" if method != "GET" else None, JSON, method=method
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    assert refused.value.code in (403, 404)
    attacked.check(refused.value.read().decode())
