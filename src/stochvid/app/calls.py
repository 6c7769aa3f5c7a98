"""What a call must look like before gradio sees it: a known action, with as many values as that takes, and no more."""

import json
import re
from typing import Any

from stochvid.core.errors import InputError
from stochvid.core.untrusted import parse_json, shown

JOIN = "/gradio_api/queue/join"
CANCEL = "/gradio_api/cancel"
NAMED = "/gradio_api/call/"
MOST_NESTED = 20  # lists in lists; a drawing has four
TOLD = ("view", "sample", "frame", "level", "kind")  # what the players say with an event
MOST_WORD = 100  # characters of what comes with an event
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
FORM = 'Send JSON such as {"data": [value, value, …]}'


class NoSuchCallError(InputError):
    """There is no action of that name or number."""


class Calls:
    """The calls that a page answers.

    Args:
        functions: of the page by number, as `gr.Blocks.fns` has them.
    """

    def __init__(self, functions: dict[int, Any]):
        self.functions = {number: function for number, function in functions.items() if function.fn is not None}
        self.named = {
            function.api_name: function for function in functions.values() if function.api_visibility == "public"
        }

    def checked(self, path: str, body: bytes) -> bytes:
        """The same call with what is known of it alone.

        Args:
            path: of the request.
            body: of the request.

        Raises:
            InputError: it is malformed.
        """
        call = read_call(body, FORM)
        if path == JOIN:
            kept = self._event(call)
        elif path.startswith(NAMED):
            kept = self._named(path.removeprefix(NAMED), call)
        else:
            kept = {"event_id": _word(call, "event_id")}
            if path == CANCEL:
                kept |= {"session_hash": _word(call, "session_hash"), "fn_index": self._number(call)}
        return json.dumps(kept).encode()

    def _event(self, call: dict) -> dict:
        number = self._number(call)
        extra, trigger = call.get("event_data"), call.get("trigger_id")
        return {
            "fn_index": number,
            "data": _values(call, self.functions[number]),
            "session_hash": _word(call, "session_hash"),
            "trigger_id": trigger if isinstance(trigger, int) else None,
            "event_data": {name: extra[name] for name in TOLD if _plain(extra.get(name))}
            if isinstance(extra, dict)
            else None,
        }

    def _number(self, call: dict) -> int:
        number = call.get("fn_index")
        if not isinstance(number, int) or number not in self.functions:
            raise NoSuchCallError(f"There is no action of the number (fn_index) {shown(number)} here.")
        return number

    def _named(self, name: str, call: dict) -> dict:
        if name not in self.named:
            known = ", ".join(f"/{known}" for known in self.named)
            raise NoSuchCallError(f"There is no call /{name[:MOST_WORD]} here. Choose one of: {known}.")
        session = {"session_hash": _word(call, "session_hash")} if call.get("session_hash") is not None else {}
        return session | {"data": _values(call, self.named[name])}


def read_call(body: bytes, form: str) -> dict[str, Any]:
    """What a request says.

    Args:
        body: of the request, JSON.
        form: a sentence on what it should look like.

    Raises:
        InputError: it is no JSON object.
    """
    try:
        call = parse_json(body.decode("utf-8"))
    except ValueError as error:  # also of text that is not UTF-8
        raise InputError(f"The request is not JSON: {str(error)[:MOST_WORD]}. {form}.") from None
    if not isinstance(call, dict):
        raise InputError(f"The request must be a JSON object, got {shown(call)}. {form}.")
    return call


def _values(call: dict, function: Any) -> list:
    data, names = call.get("data"), [part.label for part in function.inputs]
    if not isinstance(data, list):
        raise InputError(f"The request must have data, a list of values, got {shown(data)}. {FORM}.")
    if len(data) != len(names):
        takes = f": {', '.join(map(str, names))}" if function.api_visibility == "public" else ""
        raise InputError(f"This call takes {len(names)} values{takes}; got {len(data)}.")
    level = data
    for _ in range(MOST_NESTED):
        level = [inner for value in level for inner in _inside(value)]
    if level:
        raise InputError(f"The values of the request are nested more than {MOST_NESTED} levels deep.")
    return data


def _inside(value: Any) -> list:
    return value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []


def _word(call: dict, name: str) -> str:
    value = call.get(name)
    if not isinstance(value, str) or not SESSION.fullmatch(value):
        raise InputError(f"The request must have {name}, up to 64 letters, digits and hyphens, got {shown(value)}.")
    return value


def _plain(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= MOST_WORD)
