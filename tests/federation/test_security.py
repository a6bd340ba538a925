"""What is refused: with a clear status, in the log, and without anything being applied."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from certificates import make_certificates
from federation_helpers import card, changed

from aios_db.federation.access import Access, Agent, Allowance, Limits, new_token, token_hash
from aios_db.federation.card import Factors, LoraCard
from aios_db.federation.card_files import card_bytes, card_from_bytes
from aios_db.federation.client import ClientTls, FederationClient
from aios_db.federation.delta import moved
from aios_db.federation.hub import Hub, Rounds
from aios_db.federation.library import CardLibrary
from aios_db.federation.messages import COMMAND, Channel, Frame, SyncError, packed, plain, unpacked
from aios_db.federation.server import FederationServer, ServerTls
from aios_db.federation.transfer import Parcel, send_parcel
from aios_db.schema.errors import DataError, OperationalError, ProgrammingError, WeightsError

Libraries = Callable[[str], CardLibrary]
Clients = Callable[..., FederationClient]
TOKENS = {name: new_token() for name in ("ada", "bo")}
AGENTS = {
    "ada": Agent("ada", token_hash(TOKENS["ada"]), push=("skill*",), pull=("*",)),
    "bo": Agent("bo", token_hash(TOKENS["bo"]), pull=("skill",)),
}


@contextmanager
def serving(library: CardLibrary, **options: object) -> Iterator[FederationServer]:
    limits = options.get("limits") or Limits()
    hub = Hub(library, max_change=limits.max_change)  # type: ignore[attr-defined]
    server = FederationServer(hub, **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.shutdown()


def logged(library: CardLibrary) -> list[str | None]:
    """Return why the server refused each exchange, and None of those that it held."""
    return [row["code"] for row in library.store.dataset("sync_log").to_table().to_pylist()]


def refused(code: str, act: Callable[[], object]) -> SyncError:
    with pytest.raises(SyncError) as caught:
        act()
    assert caught.value.code == code, str(caught.value)
    return caught.value


def test_agents_need_their_token_and_may_do_what_is_allowed(
    library: Libraries, client: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    first = card()
    library("server").add(first, origin="new")
    for name in ("ada", "bo"):
        library(name).add(first, origin="new")
        library(name).add(changed(first), origin="trained")
    library("ada").add(replace(first, name="other"), origin="new")
    with serving(library("server"), access=Access(AGENTS)) as server:
        for token in (None, "", "wrong", TOKENS["ada"][:-1]):
            refused("denied", lambda token=token: client("x", server.location, token=token).pull("skill"))  # type: ignore[misc]
            refused("denied", lambda token=token: client("x", server.location, token=token).status())  # type: ignore[misc]
        assert caplog.text.count("127.0.0.1") >= 8 and "was turned away: the token is missing" in caplog.text
        ada, bo = (client(name, server.location, token=TOKENS[name]) for name in ("ada", "bo"))
        assert "may not push" in str(refused("denied", lambda: bo.push("skill")))
        assert "may not pull" in str(refused("denied", lambda: bo.pull("other")))
        assert "may not push" in str(refused("denied", lambda: bo.sync("skill")))
        refused("denied", lambda: ada.push("other"))
        assert library("server").get("skill").sha256 == first.sha256 and library("server").names() == [
            "skill"
        ]
        assert ada.push("skill").kind == "lossless"
        assert list(bo.status()) == ["skill"]
        log = library("server").store.dataset("sync_log").to_table().to_pylist()
        assert [(row["peer"], row["code"]) for row in log] == [
            ("bo", "denied"), ("bo", "denied"), ("bo", "denied"), ("ada", "denied"), ("ada", None),
        ]  # fmt: skip


def test_tls_with_certificates_on_both_sides(library: Libraries, client: Clients, tmp_path: Path) -> None:
    pem = make_certificates(tmp_path)
    library("server").add(card(), origin="new")
    tls = ServerTls(pem["server"], pem["server_key"], pem["authority"])
    mine = ClientTls(pem["authority"], pem["client"], pem["client_key"])
    with serving(library("server"), tls=tls, access=Access(AGENTS)) as server:
        assert server.location.startswith("grpc+tls://")
        ada = client("ada", server.location, tls=mine, token=TOKENS["ada"])
        assert ada.pull("skill").kind == "full"
        refused(
            "denied", lambda: client("bo", server.location, tls=mine).pull("skill")
        )  # a token is asked as well
        for wrong in (
            ClientTls(pem["authority"]),
            ClientTls(pem["authority"], pem["stranger"], pem["stranger_key"]),
            ClientTls(pem["other"], pem["client"], pem["client_key"]),
        ):
            stranger = client("cy", server.location, tls=wrong, token=TOKENS["ada"], timeout_s=20)
            refused("lost", lambda stranger=stranger: stranger.pull("skill"))  # type: ignore[misc]
        plain = client("cy", server.location.replace("grpc+tls", "grpc"), token=TOKENS["ada"], timeout_s=20)
        refused("lost", lambda: plain.pull("skill"))
        assert library("cy").names() == []


def test_off_loopback_it_does_not_start_unprotected(library: Libraries, tmp_path: Path) -> None:
    hub = Hub(library("server"))
    for host in ("0.0.0.0", "192.0.2.1", "example.org", "::"):
        with pytest.raises(ProgrammingError, match="TLS"):
            FederationServer(hub, host=host, access=Access(AGENTS))
    pem = make_certificates(tmp_path)
    with pytest.raises(ProgrammingError, match="tokens, or a client authority"):
        FederationServer(hub, host="0.0.0.0", tls=ServerTls(pem["server"], pem["server_key"]))
    tls = ServerTls(pem["server"], pem["server_key"])
    FederationServer(hub, host="0.0.0.0", tls=tls, access=Access(AGENTS)).shutdown()
    with pytest.raises(OperationalError, match="cannot read"):
        FederationServer(hub, tls=ServerTls(tmp_path / "none", pem["server_key"]))


def test_versions_that_do_not_follow_are_refused(library: Libraries, client: Clients) -> None:
    first = card()
    library("server").add(first, origin="new")
    with serving(library("server")) as server:
        library("ada").add(card(rank=2), origin="new")
        assert "rank" in str(refused("shape", lambda: client("ada", server.location).push("skill")))
        library("bo").add(changed(first, 5), origin="new")
        assert "pull first" in str(refused("stale", lambda: client("bo", server.location).push("skill")))
        library("cy").add(first, origin="new")
        library("cy").add(changed(first, 6, size=10.0), origin="trained", parent=first.sha256)
        assert "of at most" in str(refused("value", lambda: client("cy", server.location).push("skill")))
        refused("unknown", lambda: client("cy", server.location).pull("nothing"))
        assert library("server").hashes("skill") == [first.sha256]
        assert logged(library("server")) == ["shape", "stale", "value", "unknown"]


@pytest.mark.parametrize("name", ["a/b", "a\\b", "a@b", "\x00", "x" * 300, " "])
def test_names_that_are_none_are_refused(library: Libraries, client: Clients, name: str) -> None:
    with serving(library("server")) as server:
        refused("unknown", lambda: client("ada", server.location).pull(name))
        assert logged(library("server")) == ["unknown"]
    with pytest.raises(DataError, match="name"):
        library("ada").add(replace(card(), name=name), origin="file")


@pytest.mark.parametrize("name", ["a\nWARNING all is well", "\x1b[31mred", "\u202eback"])
def test_what_is_logged_of_others_is_one_line(
    library: Libraries, client: Clients, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    library("server").add(card(), origin="new")
    with serving(library("server")) as server:
        client("ada", server.location, agent=name).pull("skill")
        refused("unknown", lambda: client("ada", server.location).pull(name))
    texts = [caplog.text, *(str(record.__dict__) for record in caplog.records)]
    assert not any(name in text for text in texts) and "is no name of a card" in caplog.text
    peers = [row["peer"] for row in library("server").store.dataset("sync_log").to_table().to_pylist()]
    assert peers[0].isprintable() and peers[0] == plain(name) != name


def first_versions() -> list[tuple[str, LoraCard]]:
    made, one = card(), np.ones((1, 1), np.float32)
    return [
        ("value", moved(made, np.full(made.parameters, 1e30, np.float32))),
        ("value", replace(made, alpha=1e30)),
        ("value", replace(made, metadata={"alpha_pattern": '{"encoder.layer.0.query": 1e30}'})),
        ("size", replace(made, metadata={"k": "v" * 100_000})),
        ("size", LoraCard("skill", 1, 1.0, {"m" * 1000: Factors(one, one)})),
        ("size", LoraCard("skill", 1, 1.0, {f"m{n}": Factors(one, one) for n in range(10_001)})),
    ]


@pytest.mark.parametrize(("code", "made"), first_versions())
def test_a_first_version_that_cannot_be_is_refused(
    library: Libraries, client: Clients, code: str, made: LoraCard
) -> None:
    library("ada").add(made, origin="file")
    with serving(library("server")) as server:
        refused(code, lambda: client("ada", server.location).push("skill"))
        assert library("server").names() == []


@pytest.mark.parametrize("rank", ["999999999999999999999", "1" * 5000, "1", "-4"])
def test_a_rank_that_no_module_has_is_refused(rank: str) -> None:
    content = card_bytes(card())
    table = pa.ipc.open_file(content).read_all()
    metadata = {**table.schema.metadata, b"lora_rank": rank.encode()}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table.replace_schema_metadata(metadata))
    with pytest.raises(WeightsError):
        card_from_bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("location", ["http://127.0.0.1:1", "localhost:1", "grpc://host", "", "grpc://a b:1"])
def test_a_location_that_is_none_is_refused(library: Libraries, location: str) -> None:
    with pytest.raises(ProgrammingError, match="write grpc://host:port"):
        FederationClient(location, library("ada"))


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_it_serves_on_ipv6(library: Libraries, client: Clients) -> None:
    library("server").add(card(), origin="new")
    with serving(library("server"), host="::1") as server:
        assert server.location.startswith("grpc://[::1]:")
        assert client("ada", server.location).pull("skill").kind == "full"


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_rounds_end_after_some_time(seconds: float) -> None:
    with pytest.raises(ProgrammingError, match="seconds above 0"):
        Rounds(longest_s=seconds)


def test_too_much_is_refused(library: Libraries, client: Clients) -> None:
    big = card(modules=200)
    library("ada").add(big, origin="new")
    with serving(library("server"), limits=Limits(card_bytes=10_000)) as server:
        refused("size", lambda: client("ada", server.location).push("skill"))
    with serving(library("server"), limits=Limits(message_bytes=4_000)) as server:
        refused("size", lambda: client("ada", server.location).push("skill"))
    with serving(library("server"), limits=Limits(exchanges_per_minute=3)) as server:
        library("server").add(big, origin="new")
        ada = client("ada", server.location)
        for _ in range(3):
            ada.pull("skill")
        assert "wait" in str(refused("rate", lambda: ada.pull("skill")))
    with serving(library("server"), limits=Limits(bytes_per_minute=2_000)) as server:
        library("cy").add(changed(big), origin="new")
        refused("rate", lambda: client("cy", server.location).push("skill"))
    with serving(library("server"), limits=Limits(exchanges_at_once=0)) as server:
        refused("rate", lambda: client("cy", server.location).pull("skill"))
    assert logged(library("server")) == ["size", "size", None, None, None, "rate", "rate", "rate"]
    with serving(library("server")) as server:
        small = client("bo", server.location, card_bytes=1000)
        refused("size", lambda: small.pull("skill"))
    assert library("bo").names() == []


def test_an_allowance_fills_again() -> None:
    now = [0.0]
    allowance = Allowance(60, clock=lambda: now[0])
    allowance.take("a", 60, "x")
    with pytest.raises(SyncError, match=r"60 x per minute; .* 30 s"):
        allowance.take("a", 30, "x")
    allowance.take("b", 60, "x")
    now[0] = 30.0
    allowance.take("a", 30, "x")


class Raw:
    """A client that sends what it likes."""

    def __init__(self, server: FederationServer) -> None:
        from pyarrow import flight

        self._client = flight.connect(server.location)
        descriptor = flight.FlightDescriptor.for_command(COMMAND)
        self.writer, self.reader = self._client.do_exchange(descriptor, flight.FlightCallOptions(timeout=60))
        self.channel = Channel(self.reader, self.writer)

    def greet(self, operation: str = "push", have: tuple[str, ...] = (), **other: object) -> Frame:
        asked = {"card": "skill", "operation": operation, "protocols": [2], "have": list(have), **other}
        self.channel.send("hello", **asked)
        return self.channel.receive("welcome")


def test_a_server_that_has_ended_has_said_why(library: Libraries) -> None:
    with serving(library("server"), limits=Limits(exchanges_at_once=0)) as server:
        late = Raw(server)
        time.sleep(0.5)  # the stream ends
        assert "exchanges at once" in str(refused("rate", late.greet))


def test_an_offer_of_another_exchange_is_a_replay(library: Libraries) -> None:
    first = card()
    library("server").add(first, origin="new")
    with serving(library("server")) as server:
        nonce = Raw(server).greet().text("nonce")
        again = Raw(server)
        assert again.greet().text("nonce") != nonce
        send = lambda: (send_parcel(again.channel, Parcel.whole(changed(first)), nonce=nonce, samples=1), again.channel.receive("verdict"))  # noqa: E731, E501 # fmt: skip
        refused("replay", send)
        assert library("server").hashes("skill") == [first.sha256]
        assert "replay" in logged(library("server"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(library: Libraries, value: float) -> None:
    first = card()
    library("server").add(first, origin="new")
    content = bytearray(card_bytes(first))
    number = next(iter(first.modules.values())).a.ravel()[:1].tobytes()
    place = content.index(number)
    content[place : place + 4] = np.array([value], np.float32).tobytes()
    with serving(library("server")) as server:
        raw = Raw(server)
        nonce = raw.greet(have=(first.sha256,)).text("nonce")
        send_parcel(raw.channel, Parcel("f" * 64, (), bytes(content)), nonce=nonce, samples=1)
        assert "NaN" in str(refused("value", lambda: raw.channel.receive("verdict")))
        assert library("server").hashes("skill") == [first.sha256]
        assert logged(library("server")) == ["value"]


MESSAGES: list[tuple[str, dict[str, object]]] = [
    ("hello", {}),
    ("hello", {"card": 5}),
    ("hello", {"card": "skill", "operation": "steal", "protocols": [2], "have": []}),
    ("hello", {"card": "skill", "operation": "push", "protocols": "2", "have": []}),
    ("hello", {"card": "skill", "operation": "push", "protocols": [2], "have": [1]}),
    ("hello", {"card": "skill", "operation": "push", "protocols": [2], "have": ["x"] * 1000}),
    ("hello", {"card": "skill", "operation": "push", "protocols": [[]], "have": []}),
    ("offer", {}),
    ("unheard", {}),
]


@pytest.mark.parametrize(("kind", "header"), MESSAGES)
def test_messages_that_make_no_sense_are_refused(
    library: Libraries, client: Clients, kind: str, header: dict[str, object]
) -> None:
    library("server").add(card(), origin="new")
    with serving(library("server")) as server:
        raw = Raw(server)
        raw.channel.send(kind, **header)
        refused("protocol", lambda: raw.channel.receive("welcome"))
        assert client("ada", server.location).pull("skill").kind == "full"  # it goes on serving


@pytest.mark.parametrize(
    "offer",
    [
        {"kind": "sparse", "deltas": []},
        {"kind": "sparse", "deltas": [["pickle", "a", "b", 3]]},
        {"kind": "sparse", "deltas": [["sparse", "a", "b", -3]]},
        {"kind": "sparse", "deltas": [["sparse", "a", "b", 10**12]]},
        {"kind": "sparse", "deltas": "x"},
        {"size": -1}, {"size": 1 << 40}, {"size": "3"}, {"sha256": "0"}, {"samples": -1}, {"samples": True},
    ],
)  # fmt: skip
def test_offers_that_contradict_themselves_are_refused(library: Libraries, offer: dict[str, object]) -> None:
    first = card()
    library("server").add(first, origin="new")
    import hashlib

    with serving(library("server")) as server:
        raw = Raw(server)
        nonce = raw.greet(have=(first.sha256,)).text("nonce")
        about = {"kind": "full", "result": "b", "size": 3, "deltas": [], "samples": 1, "nonce": nonce}
        raw.channel.send("offer", **{**about, "sha256": hashlib.sha256(b"abc").hexdigest(), **offer})
        raw.channel.send("chunk", b"abc")
        with pytest.raises(SyncError) as caught:
            while True:
                raw.channel.receive("ack", "verdict")
        assert caught.value.code in {"protocol", "size", "damaged", "value"}
        assert library("server").hashes("skill") == [first.sha256]


def test_a_frame_that_was_touched_is_noticed() -> None:
    content = packed(3, Frame("chunk", {"a": 1}, b"body"))
    assert unpacked(3, content) == Frame("chunk", {"a": 1}, b"body")
    for place in range(len(content)):
        for bit in (1, 128):
            touched = bytearray(content)
            touched[place] ^= bit
            with pytest.raises(SyncError):
                unpacked(3, bytes(touched))
    for cut in range(len(content)):
        with pytest.raises(SyncError):
            unpacked(3, content[:cut])
    with pytest.raises(SyncError, match="came in place of"):
        unpacked(4, content)


def test_an_access_file_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "access.yaml"
    path.write_text(f'agents:\n  ada: {{token_sha256: "{token_hash("t")}", push: ["a-*"], pull: ["*"]}}\n')
    access = Access.read(path)
    assert access.agent_of("t") == "ada" and not access.is_open
    access.require("ada", "push", "a-1")
    refused("denied", lambda: access.require("ada", "push", "b"))
    for wrong in (
        "", "agents: {}", "agents: [a]", "agents: {a: {}}", "agents: {a: {token_sha256: xyz}}", "{",
        "!!python/name:os.system",
        f'agents: {{a: {{token_sha256: "{token_hash("t")}", push: "*"}}}}',
        f'agents: {{a: {{token_sha256: "{token_hash("t")}", admin: true}}}}',
    ):  # fmt: skip
        path.write_text(wrong)
        with pytest.raises(ProgrammingError):
            Access.read(path)
    with pytest.raises(OperationalError):
        Access.read(tmp_path / "none.yaml")


def test_a_huge_but_finite_change_is_refused(library: Libraries, client: Clients) -> None:
    first = card()
    for name in ("server", "ada"):
        library(name).add(first, origin="new")
    one = np.zeros(first.parameters, np.float32)
    one[0] = 1e38
    wild: LoraCard = moved(first, one)
    library("ada").add(wild, origin="trained", parent=first.sha256)
    with serving(library("server")) as server:
        refused("value", lambda: client("ada", server.location).push("skill"))
