"""Who may talk to the page: names of hosts, pages of other sites, calls that are none, and connections that stall."""

import json
import socket
import time

import pytest

from served import Served
from stochvid import InputError
from stochvid.app.hosts import Hosts
from tiny import save_model

BEHIND = {"Host": "futures.example.org", "X-Forwarded-Proto": "https"}  # as nginx sends them, after docs/app.md
DEEP = json.dumps({"data": [json.loads("[" * 30 + "]" * 30)] + [0] * 8}).encode()
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    made = Served(save_model(tmp_path_factory.mktemp("named") / "tiny"), more=["--allow-host", "futures.example.org"])
    yield made
    made.stop()
    assert "Traceback" not in made.said, made.said


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:7860", "127.0.0.1:1", "[::1]:7860", "LOCALHOST.", "127.8.8.8"]
)
def test_its_own_names_are_answered(host):
    assert Hosts("127.0.0.1", 7860).answers_to(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:7860",
        "a@localhost",
        "",
        "10.0.0.9",
        "localhost/x",
        "[",
        "127.0.0.1.nip.io",
    ],
)
def test_names_of_others_are_not_answered(host):
    assert not Hosts("127.0.0.1", 7860).answers_to(host)


def test_what_listens_everywhere_answers_to_addresses_and_given_names_alone():
    hosts = Hosts("0.0.0.0", 7860, ("lab.example.org",))
    assert all(map(hosts.answers_to, ("10.0.0.9:7860", "[fe80::1]:7860", "lab.example.org")))
    assert not hosts.answers_to("evil.example")
    assert Hosts("box.lan", 7860).answers_to("box.lan:7860")


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("http://localhost:7860", True),
        ("http://127.0.0.1:7860", True),
        ("https://futures.example.org", True),
        ("https://futures.example.org:8443", True),
        ("http://localhost:3000", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
        ("file://", False),
        ("http://localhost:7860@evil.example", False),
    ],
)
def test_only_pages_of_its_own_may_write(origin, may):
    assert Hosts("127.0.0.1", 7860, ("futures.example.org",)).may_write(origin, "127.0.0.1:7860") is may
    assert Hosts("127.0.0.1", 7860).may_write("http://localhost:9000", "localhost:9000")  # through a tunnel


@pytest.mark.parametrize("name", ["https://a.example", "a.example:80", "*", "a/b"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(InputError, match="is not a host name"):
        Hosts("127.0.0.1", 7860, (name,))


def test_foreign_requests_are_refused_and_the_proxy_of_the_docs_is_served(named):
    body = json.dumps({"data": []}).encode()
    for path in ("/", "/config", "/gradio_api/queue/data?session_hash=x", "/assets/x.js"):
        assert named.get(path, Host="evil.example")[0] == 403
        assert named.get(path, **{"X-Forwarded-Host": "evil.example"})[0] == 403
    for path in ("upload", "queue/join", "call/futures", "cancel"):
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
            assert named.get(f"/gradio_api/{path}", body, Origin=origin)[0] == 403
    status, _, text = named.get("/", **BEHIND)
    assert status == 200
    assert '"root":"https://futures.example.org"' in text.replace(" ", "")
    call = json.dumps({"data": [None, 0, [], 3, 2, 1, 0, 1, []]}).encode()
    status, _, text = named.get(
        "/gradio_api/call/futures", call, **JSON, **BEHIND, Origin="https://futures.example.org"
    )
    assert status == 200
    assert named.get("/gradio_api/call/futures", call, **JSON)[0] == 200  # a program


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("queue/join", b"not JSON", 400, "The request is not JSON"),
        ("queue/join", b"\xff\xfe", 400, "The request is not JSON"),
        ("queue/join", b"[" * 100_000, 400, "nested too deeply"),
        ("queue/join", b"[]", 400, "must be a JSON object"),
        ("queue/join", b'{"fn_index": 999}', 404, "no action of the number"),
        ("queue/join", b'{"fn_index": "a"}', 404, "no action of the number"),
        ("queue/join", b'{"fn_index": 2, "session_hash": "s"}', 400, "must have data"),
        ("queue/join", b'{"fn_index": 2, "data": [1], "session_hash": "s"}', 400, "values; got 1."),
        ("call/futures", b'{"data": [1]}', 400, "takes 9 values: clip, digits, drawing"),
        ("call/futures", b'{"data": {"clip": 1}}', 400, "a list of values"),
        ("call/futures", DEEP, 400, "nested"),
        ("call/nothing", b'{"data": []}', 404, "Choose one of: /futures, /surprise"),
        ("call/on_draw", b'{"data": []}', 404, "There is no call /on_draw"),
        ("cancel", b"{}", 400, "must have event_id"),
        ("cancel", b'{"session_hash": 7, "event_id": "a"}', 400, "must have session_hash"),
    ],
)
def test_a_call_that_is_none_gets_a_sentence(named, path, body, status, words):
    got, _, text = named.get(f"/gradio_api/{path}", body, **JSON)
    assert (got, words in json.loads(text)["detail"]) == (status, True), text
    assert "pydantic" not in text


def test_a_join_without_a_session_gets_a_sentence(named):
    data = json.loads(named.get("/config")[2])["dependencies"]
    number = next(event["id"] for event in data if event["api_name"] == "surprise")
    got, _, text = named.get("/gradio_api/queue/join", json.dumps({"fn_index": number, "data": [None, 0, 9]}).encode())
    assert (got, "must have session_hash" in text) == (400, True)
    for path in ("queue/data", "upload_progress"):
        got, _, text = named.get(f"/gradio_api/{path}")
        assert (got, "is missing or wrong" in json.loads(text)["detail"]) == (400, True)


def test_a_call_is_taken_whatever_kind_it_says_to_be(named):
    body = json.dumps({"data": [None, 0, [], 3, 2, 1, 0, 1, []]}).encode()
    assert named.get("/gradio_api/call/futures", body, **{"Content-Type": "text/plain"})[0] == 200


@pytest.mark.slow
def test_stalled_requests_are_closed_with_a_line_each(named):
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    begun = ("GET / HTT", f"{head}Content-Length: 9999\r\n\r\n--b\r\n", f"{head}Transfer-Encoding: chunked\r\n\r\n")
    calls = [socket.create_connection(("127.0.0.1", named.port)) for _ in range(60)]
    for number, call in enumerate(calls):
        call.sendall(begun[number % 3].encode())
        call.settimeout(60)
    assert named.get("/config")[0] == 200
    for number, call in enumerate(calls):
        told = call.recv(1000)
        assert told == b"" if number % 3 == 0 else b"408" in told
        call.close()
    time.sleep(0.5)
    assert named.said.count("stalled and was closed") == 40
