"""Who may do what at a server: tokens, the cards that each may push and pull, and how often."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from aios_db.federation.messages import SyncError
from aios_db.schema.errors import OperationalError, ProgrammingError

ANYONE = "anyone"


@dataclass(frozen=True)
class Agent:
    """One who may use a server.

    Attributes
    ----------
    token_sha256
        Of the token, in hexadecimal digits: the token itself is known to the agent only.
    push, pull
        Patterns of names of cards, like ``support-*``.
    """

    name: str
    token_sha256: str
    push: tuple[str, ...] = ()
    pull: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What a server takes of one agent."""

    message_bytes: int = 1 << 20
    card_bytes: int = 64 << 20
    exchanges_per_minute: int = 600
    bytes_per_minute: int = 512 << 20
    max_change: float = 1.0
    """Norm of a change, as a share of that of the version that it is of."""
    exchanges_at_once: int = 64
    """Of all agents together: each holds a thread."""
    exchange_s: float = 300.0
    """Longest exchange."""


class Access:
    """The agents of a server. Without any, everybody may do everything: for servers on loopback."""

    def __init__(self, agents: Mapping[str, Agent] | None = None) -> None:
        self.agents = dict(agents or {})
        self._by_hash = {each.token_sha256: each for each in self.agents.values()}

    @classmethod
    def read(cls, path: str | Path) -> Access:
        """Read a YAML file: ``agents: {ada: {token_sha256: …, push: [support-*], pull: ["*"]}}``.

        Raises
        ------
        OperationalError
            It cannot be read.
        ProgrammingError
            It says something else.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise OperationalError(f"cannot read {path}: {error}") from error
        except yaml.YAMLError as error:
            raise ProgrammingError(f"{path} is no YAML: {error}") from error
        agents = content.get("agents") if isinstance(content, dict) else None
        if not isinstance(agents, dict) or not agents:
            raise ProgrammingError(f"{path} names no agents")
        return cls({str(name): _agent(str(name), entry, path) for name, entry in agents.items()})

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return not self.agents

    def agent_of(self, token: str | None) -> str:
        """Return the name of the agent with a token.

        Raises
        ------
        SyncError
            There is none.
        """
        if self.is_open:
            return ANYONE
        digest = token_hash(token or "")
        found = next((each for key, each in self._by_hash.items() if hmac.compare_digest(key, digest)), None)
        if found is None:
            raise SyncError.because("denied", "the token is missing or unknown")
        return found.name

    def require(self, agent: str, operation: str, card: str) -> None:
        """Raise `SyncError` where an agent may not ``push`` or ``pull`` a card."""
        if self.is_open:
            return
        patterns = getattr(self.agents[agent], operation)
        if not any(fnmatchcase(card, each) for each in patterns):
            raise SyncError.because("denied", f"{agent} may not {operation} the card {card!r}")


@dataclass
class Allowance:
    """A bucket of tokens for each agent, which fills evenly: so much in a minute, and so much at once."""

    per_minute: float
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, agent: str, amount: float, what: str) -> None:
        """Take from an agent's bucket; raise `SyncError` where it has not as much."""
        with self._lock:
            now = self.clock()
            left, since = self._left.get(agent, (self.per_minute, now))
            left = min(self.per_minute, left + (now - since) * self.per_minute / 60)
            if amount > left:
                self._left[agent] = (left, now)
                wait = (amount - left) * 60 / self.per_minute
                raise SyncError.because(
                    "rate",
                    f"{agent} may have {self.per_minute:.0f} {what} per minute; wait {wait:.0f} s",
                )
            self._left[agent] = (left - amount, now)


def new_token() -> str:
    """Return a fresh token, 43 characters."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """Return what a server keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """Tell whether a host is only reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _agent(name: str, entry: Any, path: str | Path) -> Agent:
    if not isinstance(entry, dict) or set(entry) - {"token_sha256", "push", "pull"}:
        raise ProgrammingError(f"{path}: agent {name!r} has token_sha256, push and pull, and nothing else")
    digest = entry.get("token_sha256")
    if not isinstance(digest, str) or len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
        raise ProgrammingError(f"{path}: agent {name!r}: token_sha256 is not 64 hexadecimal digits")
    patterns = {}
    for operation in ("push", "pull"):
        given = entry.get(operation, [])
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            raise ProgrammingError(f"{path}: agent {name!r}: {operation} is no list of names of cards")
        patterns[operation] = tuple(given)
    return Agent(name, digest.lower(), **patterns)
