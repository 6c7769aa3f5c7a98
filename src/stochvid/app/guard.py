"""What may come in: which routes, how much, and what a browser is told about loading things from elsewhere."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from stochvid.app.calls import Calls, NoSuchCallError
from stochvid.app.clips import MIB, UPLOAD_BYTES
from stochvid.app.uploads import Uploads
from stochvid.errors import InputError

BODY_BYTES = MIB  # of a request that uploads nothing
FORM_BYTES = 64 * 1024  # around an uploaded file

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
    r"|/gradio_api/(?:info|theme\.css|startup-events|queue/data|upload_progress|heartbeat/\w+|call/\w+/\w+|file=.+)"
)
WRITTEN = re.compile(r"/gradio_api/(?:upload|queue/join|cancel|reset|call/\w+)")
ASKED = ("/gradio_api/info", "/gradio_api/queue/data", "/gradio_api/upload_progress", UPLOAD)  # with a query

CLOSE = (b"connection", b"close")

Message = dict[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]


class Guard:
    """Limits what comes in, and tells the browser to load nothing from elsewhere.

    Args:
        app: to guard.
        uploads: the only files that it may serve.
        calls: that it answers.
    """

    def __init__(self, app: Callable, uploads: Uploads, calls: Calls):
        self.app = app
        self.uploads = uploads
        self.calls = calls

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"]
        if not self._is_open(scope["method"], path):
            return await _answer(send, 404, "There is no such page here.")
        if path not in ASKED:
            scope = scope | {"query_string": b""}
        uploading = path == UPLOAD
        limit = UPLOAD_BYTES + FORM_BYTES if uploading else BODY_BYTES
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            what = f"The file is too large: at most {limit // MIB} MB" if uploading else "The request is too large"
            return await _answer(send, 413, f"{what}.")
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message if received <= limit else {"type": "http.disconnect"}  # it did not say how long it is

        async def safer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = message | {"headers": [*message.get("headers", []), *headers]}
            await send(message)

        if scope["method"] == "POST" and not uploading:
            try:
                body = self.calls.checked(path, await _read(limited))
            except InputError as error:
                return await _answer_call(send, 404 if isinstance(error, NoSuchCallError) else 400, str(error))
            limited = _replay(body, receive)
        await self.app(scope, limited, safer)

    def _is_open(self, method: str, path: str) -> bool:
        if path.startswith(FILE) and not self.uploads.holds(path.removeprefix(FILE)):
            return False
        return bool({"GET": READ, "HEAD": READ, "POST": WRITTEN}.get(method, re.compile("(?!)")).fullmatch(path))


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


async def _answer_call(send: Send, status: int, text: str) -> None:
    """An error as gradio's clients read it."""
    await _answer(send, status, json.dumps({"detail": text, "error": text}), b"application/json")


async def _answer(send: Send, status: int, text: str, kind: bytes = b"text/plain; charset=utf-8") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), CLOSE]})
    await send({"type": "http.response.body", "body": text.encode()})
