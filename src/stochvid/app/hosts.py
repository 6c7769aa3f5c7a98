"""Under which names the page answers: a foreign site's script may reach this machine, but it tells on itself.

A browser that was led here by a name of somebody else (DNS rebinding) sends that name as `Host`, and a page of somebody
else that posts here is named in `Origin`. Programs send no `Origin`.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from stochvid.core.errors import InputError

NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?")
USUAL = {"http": 80, "https": 443}


class Hosts:
    """The names and addresses of a server.

    Args:
        host: that it listens on.
        port: that it listens on.
        named: other names, as of a proxy before it.

    Raises:
        InputError: a name is none.
    """

    def __init__(self, host: str, port: int, named: tuple[str, ...] = ()):
        self.port = port
        for name in named:
            if not NAME.fullmatch(name.lower()):
                raise InputError(
                    f"--allow-host {name!r:.80} is not a host name. Give it without a scheme, a port or a path: "
                    "futures.example.org."
                )
        self.named = {name.lower() for name in named}
        self.own = {"localhost", host.lower(), *self.named}
        address = _address(host)
        self.everywhere = bool(address and address.is_unspecified)  # it listens on every address of the machine

    def answers_to(self, host: str) -> bool:
        """Whether a `Host` is one of this server: a name of its own, or an address, to which no name leads."""
        name, _ = _parts(host)
        address = _address(name or "")
        return name in self.own or bool(address and (address.is_loopback or self.everywhere))

    def may_write(self, origin: str, host: str) -> bool:
        """Whether a page of an `Origin` may change something here: it is of this server itself."""
        scheme, _, rest = origin.partition("://")
        if scheme not in USUAL:
            return False
        name, port = _parts(rest)
        if name is None or not self.answers_to(rest):
            return False
        port = port or USUAL[scheme]
        mine, its = _parts(host)
        return name in self.named or port == self.port or (name, port) == (mine, its or USUAL[scheme])


def _parts(host: str) -> tuple[str | None, int | None]:
    """Name and port of `name:port`; of what is no such thing, None."""
    try:
        split = urlsplit(f"//{host}")
        if split.netloc != host or split.username is not None:
            return None, None
        return (split.hostname or "").rstrip(".") or None, split.port
    except ValueError:
        return None, None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
