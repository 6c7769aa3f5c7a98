"""Serving the page on this machine: the port, what a browser may send and load, and where temporary files go."""

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stochvid.app.calls import Calls
from stochvid.app.guard import Checked, Guard
from stochvid.app.hosts import Hosts
from stochvid.app.limits import CONNECTIONS, UPLOAD_BYTES
from stochvid.app.opening import Opening
from stochvid.app.options import AppOptions
from stochvid.app.uploads import Uploads
from stochvid.command_options import takes
from stochvid.core.errors import InputError

PORTS_TRIED = 20
NEEDED = ("gradio", "fastapi", "uvicorn")  # the last two come with the first
GRACE = 1  # seconds that open pages get when the server ends


@takes(AppOptions)
def serve(options: AppOptions) -> None:
    """Shows the page of a model until it is stopped.

    Args:
        options: `AppOptions`, or their fields. Whoever can reach the host can use the page: there is no login.

    Raises:
        InputError: gradio is missing, a name is none, the port is busy or none, or the model cannot be loaded.
    """
    if not all(map(find_spec, NEEDED)):
        raise InputError("the web page needs gradio. Install it: pip install 'stochvid[app]'.")
    o, hosts = options, Hosts(options.host, options.port, options.names)
    with open_port(o.host, o.port) as listener, tempfile.TemporaryDirectory(prefix="stochvid-app-") as folder:
        uploads = Uploads(Path(folder))
        run(lambda: _open(o, uploads), uploads, hosts, listener)


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: somebody else does, or it is no port or no address of this machine.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"--port must be from 1 to 65535, got {port}.")
    try:
        return _listen(host, port)
    except socket.gaierror:
        raise InputError(f"--host {host!r} is not an address. Use 127.0.0.1 (this machine alone) or 0.0.0.0.") from None
    except OSError as error:
        free = _free_port(host, port)
        if free is None:
            raise InputError(f"cannot listen on {host} port {port}: {error.strerror or error}.") from None
        raise InputError(
            f"port {port} of {host} cannot be used: {error.strerror or error}. Port {free} is free: --port {free}."
        ) from None


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _free_port(host: str, port: int) -> int | None:
    for other in range(max(port + 1, 1024), min(port + PORTS_TRIED, 65535) + 1):
        try:
            _listen(host, other).close()
        except OSError:
            continue
        return other
    return None


def _open(options: AppOptions, uploads: Uploads) -> tuple[Callable, Any, str]:
    """Loads a model and makes its page: what answers, what lives as long, and what it is in a line."""
    from stochvid.app.studio import Studio  # torch; a server without it answers in a second
    from stochvid.core.threads import fastest_threads, use_threads

    use_threads(options.threads or fastest_threads(options.device))
    studio = Studio.open(str(options.model), options.device)
    return *make_app(studio, uploads), f"{studio.name}: {studio.summary}"


def make_app(studio: Any, uploads: Uploads) -> tuple[Callable, Any]:
    """The page as an ASGI application, and a context manager to hold while it serves.

    Args:
        studio: the model.
        uploads: where uploads and downloads are; they are deleted when they are old, the folder is the caller's.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError

    from stochvid.app.page import build_page, static
    from stochvid.app.play_calls import add_play_calls
    from stochvid.app.playing import Playground, can_be_played
    from stochvid.app.theme import FRAME, make_theme

    playground = Playground(studio) if can_be_played(studio) else None
    app, page = FastAPI(docs_url=None, redoc_url=None, openapi_url=None), build_page(studio, uploads, playground)
    if playground:
        add_play_calls(app, playground)
    page.has_launched = page.is_running = True  # else gradio checks no paths, and takes uploaded SVG for its own
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        app_kwargs={"exception_handlers": {OSError: _full_disk, RequestValidationError: _malformed}},
        max_file_size=UPLOAD_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        show_error=False,
        theme=make_theme(),
        css=static("page.css"),
    )
    return Checked(app, Calls(page.fns), f"{FRAME}<script>{static('work.js')}</script>"), app.router.lifespan_context(
        app
    )


async def _malformed(_: Any, error: Any) -> Any:
    """What a request lacks, as a sentence."""
    from fastapi.responses import JSONResponse

    names = ", ".join(str(part["loc"][-1]) for part in error.errors()[:5])
    return JSONResponse({"detail": f"The request is malformed: {names:.200} is missing or wrong."}, status_code=400)


async def _full_disk(_: Any, error: Exception) -> Any:
    """An upload that does not fit on the disk, as a sentence."""
    from fastapi.responses import PlainTextResponse

    from stochvid.app.actions import FULL_DISK, NO_SPACE

    if getattr(error, "errno", None) not in NO_SPACE:
        raise error
    return PlainTextResponse(FULL_DISK, status_code=507)


def run(open_page: Callable[[], tuple], uploads: Uploads, hosts: Hosts, listener: socket.socket) -> None:
    """Serves until a signal comes; the page is made beside it.

    Raises:
        InputError: as of `open_page`.
    """
    import uvicorn

    from stochvid.app.connections import make_protocol

    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    title = ""

    def build() -> tuple[Callable, Any]:
        nonlocal title
        app, life, title = open_page()
        return app, life

    def ready() -> None:
        print(f"{title}\nOpen {url} in a browser. Ctrl-C ends it.", flush=True)

    def failed() -> None:
        server.should_exit = True

    opening = Opening(build, ready, failed)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    config = uvicorn.Config(
        Guard(opening, uploads, hosts),
        http=make_protocol(),
        ws="none",
        log_level="error",
        timeout_graceful_shutdown=GRACE,
        lifespan="on",
        limit_concurrency=CONNECTIONS,
    )
    server = uvicorn.Server(config)
    print(f"Loading the model; {url} shows when it is ready.", flush=True)
    server.run(sockets=[listener])
    if opening.error:
        raise opening.error


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message is worth showing: that open pages are cut off at the end is not."""
    cut_off = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cut_off and "graceful shutdown" not in record.getMessage()
