"""The calls of the page's world, beside those of gradio: a step must be back before the next key is pressed.

POST /play/begin {"clip": number, "seed": number}        → the first moment, as `views.moment_view`
POST /play/step  {"moment": id, "action": [value, …]}    → the next one
POST /play/gif   {"ends": [id, …]}                       → a GIF of what led there
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from stochvid.app.actions import explain
from stochvid.app.calls import read_call
from stochvid.app.guard import PLAY
from stochvid.app.playing import Playground
from stochvid.app.views import moment_view
from stochvid.core.errors import InputError

WAITING = 16  # steps that may wait for their turn
FORM = 'Send JSON such as {"clip": 0, "seed": 0}'


def add_play_calls(app: FastAPI, playground: Playground) -> None:
    """Adds them to an application."""
    waiting = 0

    def answer(verb: str, call: dict[str, Any]) -> Response:
        if verb == "gif":
            return Response(playground.gif(call.get("ends")), media_type="image/gif")
        if verb == "begin":
            moment = playground.begin(call.get("clip"), call.get("seed"))
        else:
            moment = playground.step(call.get("moment"), call.get("action"))
        return JSONResponse(moment_view(moment))

    async def play(verb: str, request: Request) -> Response:
        nonlocal waiting
        body = await request.body()
        if waiting >= WAITING:
            return _refusal(503, "Too many people are playing at once. Try again in a moment.")
        waiting += 1
        try:
            return await run_in_threadpool(answer, verb, read_call(body, FORM))
        except Exception as error:
            return _refusal(400 if isinstance(error, InputError) else 500, explain(error))
        finally:
            waiting -= 1

    app.post(PLAY + "{verb}")(play)


def _refusal(status: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": text}, status_code=status)
