"""What may come in: which routes, how much, and what a browser is told about loading things from elsewhere."""

import asyncio
import json
import re
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from stochvid.app.calls import Calls, NoSuchCallError
from stochvid.app.hosts import Hosts
from stochvid.app.limits import BODY_BYTES, FORM_BYTES, IDLE, MIB, RATE, UPLOAD_BYTES, UPLOADS
from stochvid.app.uploads import Uploads
from stochvid.core.errors import InputError

# The page may load nothing from elsewhere, whatever gradio has in it. It evaluates texts: 'unsafe-eval'.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

# All that the page and its API need of gradio, which has many more: some read files, fetch addresses or edit the page.
FILE = "/gradio_api/file="
UPLOAD = "/gradio_api/upload"
READ = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(?:assets|static)/[\w./-]+"
    r"|/gradio_api/(?:info|app_id|theme\.css|startup-events|queue/data|upload_progress|heartbeat/[\w-]+"
    r"|call/\w+/[\w-]+|file=.+)"
)
PLAY = "/play/"  # our own, for `playing.py`; gradio's queue would take longer than the model
WRITTEN = re.compile(r"/gradio_api/(?:upload|queue/join|cancel|reset|call/\w+)|/play/(?:begin|step|gif)")
ASKED = ("/gradio_api/info", "/gradio_api/queue/data", "/gradio_api/upload_progress", UPLOAD)  # with a query

CLOSE = (b"connection", b"close")

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Guard:
    """Limits what comes in, and tells the browser to load nothing from elsewhere.

    Args:
        app: to guard.
        uploads: the only files that it may serve.
        hosts: names that it answers to.
    """

    def __init__(self, app: Callable, uploads: Uploads, hosts: Hosts):
        self.app, self.uploads, self.hosts = app, uploads, hosts
        self.uploading = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "websocket":  # the page has none
            return await send({"type": "websocket.close"})
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"]
        if foreign := self._foreign(scope):
            return await _answer(send, 403, foreign)
        if not self._is_open(scope["method"], path):
            return await _answer(send, 404, "There is no such page here.")
        limit = UPLOAD_BYTES + FORM_BYTES if path == UPLOAD else BODY_BYTES
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            return await _answer(send, 413, _too_large(limit))
        scope = scope | {"headers": [header for header in scope["headers"] if header[0] != b"x-gradio-server"]}
        if path not in ASKED:
            scope = scope | {"query_string": b""}
        if path != UPLOAD:
            return await self._pass(scope, Intake(receive, limit), send)
        if self.uploading >= UPLOADS:
            return await _answer(send, 503, "Too many files are being uploaded at once. Try again in a minute.")
        self.uploading += 1
        try:
            await self._pass(scope, Intake(receive, limit), send)
        finally:
            self.uploading -= 1
            self.uploads.sweep()

    async def _pass(self, scope: Message, intake: "Intake", send: Send) -> None:
        begun = False

        async def safer(message: Message) -> None:
            nonlocal begun
            if intake.broken and not begun:
                return  # there is a better answer
            begun = True
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = message | {"headers": [*message.get("headers", []), *headers]}
            await send(message)

        try:
            await self.app(scope, intake, safer)
        except Exception as error:
            if not intake.broken:
                traceback.print_exception(error)
        if begun:
            return
        status, text = intake.broken or (500, "Something went wrong on the server; its log says what.")
        if status == 408:
            print(f"stochvid: a request to {scope['path']} stalled and was closed.", file=sys.stderr, flush=True)
        await _answer(send, status, text)

    def _foreign(self, scope: Message) -> str:
        """What is wrong with where a request says that it goes to and comes from."""
        hosts = _values(scope, b"host")
        for host in hosts + _values(scope, b"x-forwarded-host") if hosts else [""]:
            if not self.hosts.answers_to(host):
                return f"This server does not answer to the name {host!r:.80}. If it is its own: --allow-host NAME."
        for origin in _values(scope, b"origin") if scope["method"] not in ("GET", "HEAD", "OPTIONS") else []:
            if not self.hosts.may_write(origin, hosts[0]):
                return f"Pages of {origin!r:.80} may not use this server."
        return ""

    def _is_open(self, method: str, path: str) -> bool:
        if path.startswith(FILE) and not self.uploads.holds(path.removeprefix(FILE)):
            return False
        return bool({"GET": READ, "HEAD": READ, "POST": WRITTEN}.get(method, re.compile("(?!)")).fullmatch(path))


class Intake:
    """What a request sends: it must not be too much, nor too slow.

    Args:
        receive: as ASGI has it.
        limit: in bytes.

    Attributes:
        broken: status and sentence, if it was.
    """

    def __init__(self, receive: Receive, limit: int):
        self.receive, self.limit = receive, limit
        self.received, self.began, self.whole = 0, time.monotonic(), False
        self.broken: tuple[int, str] | None = None

    async def __call__(self) -> Message:
        """As ASGI has it."""
        if self.whole:
            return await self.receive()
        late = self.began + IDLE + self.received / RATE - time.monotonic()
        try:
            message = await asyncio.wait_for(self.receive(), max(0, min(IDLE, late)))
        except TimeoutError:
            return self._break(408, "The request came too slowly, and was given up. Please try again.")
        self.received += len(message.get("body", b""))
        if self.received > self.limit:  # it did not say how long it is
            return self._break(413, _too_large(self.limit))
        if message["type"] == "http.disconnect":
            return self._break(400, "The request broke off.")
        self.whole = not message.get("more_body")
        return message

    def _break(self, status: int, text: str) -> Message:
        self.broken = self.broken or (status, text)
        return {"type": "http.disconnect"}


class Checked:
    """Lets only calls through that are what they must be.

    Args:
        app: that answers them.
        calls: that it answers.
        head: HTML for the head of the page; gradio would add it when all is laid out already.
    """

    def __init__(self, app: Callable, calls: Calls, head: str):
        self.app, self.calls, self.head = app, calls, head.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["method"] == "POST" and scope["path"] != UPLOAD and not scope["path"].startswith(PLAY):
            try:
                body = self.calls.checked(scope["path"], await _read(receive))
            except InputError as error:
                return await _answer_call(send, 404 if isinstance(error, NoSuchCallError) else 400, str(error))
            receive, scope = _replay(body, receive), _as_json(scope, len(body))
        await self.app(scope, receive, self._with_head(send) if scope["path"] == "/" else send)

    def _with_head(self, send: Send) -> Send:
        start, parts = {}, []

        async def added(message: Message) -> None:
            if message["type"] == "http.response.start":
                return start.update(message)
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return None
            body = b"".join(parts).replace(b"</head>", self.head + b"</head>", 1)
            headers = [header for header in start["headers"] if header[0].lower() != b"content-length"]
            await send(start | {"headers": [*headers, (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})

        return added


def _too_large(limit: int) -> str:
    if limit == BODY_BYTES:
        return "The request is too large."
    return f"The file is too large: at most {limit // MIB} MB."


async def _read(receive: Receive) -> bytes:
    parts = []
    while (message := await receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
    raise InputError("The request broke off, or is too large.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives a body in place of the one that was read, and then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


def _as_json(scope: Message, length: int) -> Message:
    """A request with a body of JSON, whatever it was said to be."""
    kept = [header for header in scope["headers"] if header[0] not in (b"content-type", b"content-length")]
    known = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    return scope | {"headers": kept + known}


def _values(scope: Message, name: bytes) -> list[str]:
    """All values of a header, also of those that hold several."""
    found = (value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name)
    return [part.strip().lower() for value in found for part in value.split(",")]


async def _answer_call(send: Send, status: int, text: str) -> None:
    """An error as gradio's clients read it."""
    await _answer(send, status, json.dumps({"detail": text, "error": text}), b"application/json")


async def _answer(send: Send, status: int, text: str, kind: bytes = b"text/plain; charset=utf-8") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), CLOSE]})
    await send({"type": "http.response.body", "body": text.encode()})
