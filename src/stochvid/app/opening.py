"""What the server answers while the model is loaded: the page says so, and whatever else is asked waits."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

LOADING = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>stochvid</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="3"></noscript>
<style>body { font: 1rem system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; }</style>
<p role="status">The model is being loaded. The page comes by itself.</p>
<script>
const ready = () => fetch("gradio_api/app_id").then((told) => (told.ok ? location.reload() : Promise.reject()));
const again = () => ready().catch(() => setTimeout(again, 1000));
again();
</script></html>"""
PATIENCE = 5  # seconds that loading gets to end when the server does


class Opening:
    """An application that is built beside the server.

    Args:
        build: gives the application and what it does when the server starts and ends, a context manager.
        ready: is called once both are there.
        failed: is called if they are not; `error` says why.
    """

    def __init__(
        self, build: Callable[[], tuple[Callable, Any]], ready: Callable[[], None], failed: Callable[[], None]
    ):
        self.build, self.on_ready, self.on_failure = build, ready, failed
        self.app: Callable | None = None
        self.error: BaseException | None = None
        self.done, self.over = asyncio.Event(), asyncio.Event()  # they belong to no loop before they are waited for

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        if self.app is None and scope["path"] == "/":
            headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            return await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else LOADING})
        await self.done.wait()
        if self.app is None:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            return await send({"type": "http.response.body", "body": b"The model could not be loaded."})
        await self.app(scope, receive, send)

    async def _live(self, receive: Callable, send: Callable) -> None:
        await receive()
        built = asyncio.get_running_loop().create_future()
        thread = threading.Thread(target=self._build, args=(built,), daemon=True)  # a signal need not wait for it
        thread.start()
        holding = asyncio.create_task(self._hold(built))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.over.set()
        if self.done.is_set():
            await holding
        else:
            holding.cancel()
            await asyncio.to_thread(thread.join, PATIENCE)
        await send({"type": "lifespan.shutdown.complete"})

    def _build(self, built: asyncio.Future) -> None:
        try:
            answer = partial(built.set_result, self.build())
        except BaseException as error:
            answer = partial(built.set_exception, error)
        with suppress(RuntimeError):  # the server has ended
            built.get_loop().call_soon_threadsafe(lambda: built.done() or answer())

    async def _hold(self, built: asyncio.Future) -> None:
        try:
            app, life = await built
            async with life:
                self.app = app
                self.done.set()
                self.on_ready()
                await self.over.wait()
        except Exception as error:
            self.error = error
            self.done.set()
            self.on_failure()
