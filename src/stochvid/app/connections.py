"""Connections that never say what they want are closed; uvicorn waits for them for ever."""

import asyncio

from stochvid.app.limits import IDLE


def make_protocol() -> type:
    """uvicorn's protocol, which closes a connection whose next request has not begun in time."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class Timed(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # httptools or h11, whichever is installed
        timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.timer is None and (self.cycle is None or self.cycle.response_complete):
                self.wait()

        def connection_lost(self, error: Exception | None) -> None:
            if self.timer:
                self.timer.cancel()
            super().connection_lost(error)

        def wait(self) -> None:
            self.timer = asyncio.get_running_loop().call_later(IDLE, self.close_if_same, self.cycle)

        def close_if_same(self, before: object) -> None:
            self.timer = None
            if self.cycle is before and not self.transport.is_closing():
                self.transport.close()

    return Timed
