"""The gateway's sockets: which vehicle is connected, proved by CURVE, and which message is whose.

Identity is what ZAP attached to the connection and nothing else: not the routing id (a peer may choose one
that another had), not the name in a message. It is compared with the roster and with the session on every
message, because libzmq asks only once, when a connection begins.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import zmq

from edge.contracts.errors import OperatorError, RingroadError, SchemaError
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import (
    CHUNK_BYTES,
    TABLE,
    Bye,
    Hello,
    Message,
    UnknownMessage,
    UpdateNotice,
    decode,
    encode,
)
from fleet.catalog import StreamKind
from fleet.ingest import zap
from fleet.ingest.admit import MAX_REASON_CHARACTERS
from fleet.ingest.intake import Intake
from fleet.ingest.session import SessionState
from fleet.keys import Roster

_log = logging.getLogger(__name__)

_MAX_STRANGERS = 1_000

_ROWS = {row.record: row for row in TABLE.values()}


@dataclass
class GatewaySettings:
    """Address and limits of the gateway."""

    bind: str = "tcp://127.0.0.1:0"
    """Port 0 means any free one."""
    max_frame_bytes: int = 2 * CHUNK_BYTES
    """Largest frame of a message; a larger one ends the connection."""
    queued_messages_per_vehicle: int = 16
    """With the frame size this bounds the memory that a vehicle can take."""
    handshake_timeout_s: float = 5.0
    """Longest time of the handshake that proves a vehicle's key."""
    heartbeat_s: float = 5.0
    """Time between two heartbeats."""
    heartbeat_timeout_s: float = 15.0
    """A connection without a heartbeat for this long is closed."""
    session_idle_s: float = 600.0
    """A session that is silent this long is dropped; its vehicle says hello again."""
    chores_interval_s: float = 1.0
    """How often silent sessions are forgotten, and rollouts are checked for changes to announce."""
    messages_per_step: int = 256
    """Most messages handled in one step."""


@dataclass
class GatewayCounts:
    """Counts since the start."""

    messages: int = 0
    payload_bytes: int = 0
    handshakes_refused: int = 0
    peers_refused: int = 0
    """Peers that were sent a Bye."""
    malformed: int = 0
    unknown: int = 0
    """Messages of a kind that this fleet does not know."""


@dataclass(frozen=True)
class _Peer:
    """One end of a connection: where answers go, and what its key proved."""

    routing_id: bytes
    vehicle_id: str
    key: str


@dataclass
class _Session:
    peer: _Peer
    state: SessionState
    received_ns: int


@dataclass
class Gateway:
    """The fleet's gateway for vehicles, stepped by the loop of its process."""

    settings: GatewaySettings
    secret_key: bytes = field(repr=False)
    """40 characters of Z85."""
    intake: Intake
    roster: Roster
    counts: GatewayCounts = field(default_factory=GatewayCounts)

    def __post_init__(self) -> None:
        """Listen.

        Raises:
            OperatorError: The address is taken, or is none.
        """
        self._sessions: dict[bytes, _Session] = {}
        self._strangers: set[str] = set()
        self._is_open = False  # until then the only unregistered key is the self-test's
        self._chores_ns = 0
        self._rollout_events: int | None = None
        self._context = zmq.Context()
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind(zap.ENDPOINT)  # before any socket whose connections it judges
        self._router = self._context.socket(zmq.ROUTER)
        self._set_up_router()
        self._poller = zmq.Poller()
        self._poller.register(self._zap, zmq.POLLIN)
        self._poller.register(self._router, zmq.POLLIN)

    @property
    def endpoint(self) -> str:
        """Where vehicles connect to."""
        return self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def public_key(self) -> str:
        """What vehicles must know before they connect, 40 characters of Z85."""
        return zmq.curve_public(self.secret_key).decode()

    def self_test(self, *, timeout_s: float = 10.0) -> None:
        """Prove that an unregistered key is refused; call it before the first ``step``.

        Raises:
            OperatorError: An unregistered key would be let in: do not serve.
        """
        zap.probe_stranger(
            self.endpoint, self.public_key.encode(), self._answer_zap, timeout_s=timeout_s
        )
        self._is_open = True

    def step(self, now_ns: int, timeout_s: float = 0.0) -> None:
        """Answer what is there; wait for it at most ``timeout_s``.

        Args:
            now_ns: UTC.
        """
        self._poller.poll(round(timeout_s * 1000))
        self._refresh(now_ns)
        self._answer_zap()
        for _ in range(self.settings.messages_per_step):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            self._take(frames, now_ns)
        self._do_chores(now_ns)

    def notify(self) -> tuple[str, ...]:
        """Announce a change of the update repositories to the vehicles in session.

        Returns:
            Their ids, sorted.
        """
        for routing_id in self._sessions:
            self._send(routing_id, UpdateNotice())
        return tuple(sorted(session.peer.vehicle_id for session in self._sessions.values()))

    def close(self) -> None:
        """Stop; unfinished clips stay on disk and go on with the next gateway."""
        for routing_id in list(self._sessions):
            self._drop(routing_id)
        self._context.destroy(linger=0)

    def _set_up_router(self) -> None:
        settings, router = self.settings, self._router
        zap.secure(router, self.secret_key)
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.MAXMSGSIZE, settings.max_frame_bytes)
        router.setsockopt(zmq.RCVHWM, settings.queued_messages_per_vehicle)
        router.setsockopt(zmq.HANDSHAKE_IVL, round(settings.handshake_timeout_s * 1000))
        router.setsockopt(zmq.HEARTBEAT_IVL, round(settings.heartbeat_s * 1000))
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, round(settings.heartbeat_timeout_s * 1000))
        router.setsockopt(zmq.HEARTBEAT_TTL, round(settings.heartbeat_timeout_s * 1000))
        router.setsockopt(
            zmq.ROUTER_HANDOVER, 0
        )  # a routing id stays with the peer that connected first
        try:
            router.bind(settings.bind)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise OperatorError(
                f"gateway cannot listen on {settings.bind}: {error.strerror}; "
                "give another address, for instance gateway.bind=tcp://127.0.0.1:0 for any free port"
            ) from error

    def _refresh(self, now_ns: int) -> None:
        try:
            self.roster.refresh(now_ns)
        except RingroadError as error:
            _log.error("roster_unreadable", extra={"error": str(error)})  # no key is known then

    def _answer_zap(self) -> None:
        while self._zap.poll(0):
            request = self._zap.recv_multipart()
            reply = zap.answer_zap(request, self.roster.vehicle_of)
            if reply[2] != b"200":
                self.counts.handshakes_refused += 1
                self._log_stranger(zap.claimed_key(request), reply[3].decode())
            self._zap.send_multipart(reply)

    def _log_stranger(self, key: str, reason: str) -> None:
        """Log each refused key once, and not without end: strangers must not fill the log."""
        if self._is_open and key not in self._strangers and len(self._strangers) < _MAX_STRANGERS:
            self._strangers.add(key)
            _log.warning("handshake_refused", extra={"key": key, "reason": reason})

    def _take(self, frames: list[zmq.Frame], now_ns: int) -> None:
        self.counts.messages += 1
        peer = _peer_of(frames)
        if self.roster.vehicle_of(peer.key) != peer.vehicle_id:
            reason = (
                f"the key of {peer.vehicle_id} is unknown or revoked; nothing more is taken of it"
            )
            self._refuse(peer, reason)
            return
        session = self._sessions.get(peer.routing_id)
        if session is not None and session.peer != peer:
            self._note(peer, "routing id of another vehicle", now_ns)
            self._refuse(peer, "this connection began under another key")
            return
        try:
            message = decode(frames[1].buffer)
        except SchemaError as error:
            self.counts.malformed += 1
            self._refuse(peer, str(error))
            return
        if isinstance(message, UnknownMessage):
            self.counts.unknown += 1
        elif len(frames) != (3 if _ROWS[type(message)].has_payload else 2):
            self.counts.malformed += 1
            self._refuse(peer, f"{type(message).__name__} of {len(frames) - 1} frames")
        else:
            self._serve(peer, message, frames[2].buffer if len(frames) == 3 else None, now_ns)

    def _serve(
        self, peer: _Peer, message: Message, payload: memoryview | None, now_ns: int
    ) -> None:
        self.counts.payload_bytes += len(payload or b"")
        session = self._sessions.get(peer.routing_id) or self._open(peer, now_ns)
        session.received_ns = now_ns
        if isinstance(message, Hello):
            self._drop_others(peer)
            if message.vehicle_id != peer.vehicle_id:
                self._note(peer, "hello under another name", now_ns)
        try:
            answers = session.state.on_message(message, payload, now_ns)
        except (RingroadError, OSError, MemoryError) as error:
            _log.error("session_failed", extra={"vehicle_id": peer.vehicle_id, "error": str(error)})
            answers = [Bye(reason="the fleet cannot take this now; try again later")]
        for reply in answers:
            if isinstance(reply, Bye):
                self._refuse(peer, reply.reason)
            else:
                self._send(peer.routing_id, reply)

    def _open(self, peer: _Peer, now_ns: int) -> _Session:
        session = _Session(peer, SessionState(peer.vehicle_id, self.intake), now_ns)
        self._sessions[peer.routing_id] = session
        return session

    def _drop_others(self, peer: _Peer) -> None:
        """Drop the older connections of a vehicle that says hello anew: it has lost them."""
        for other in list(self._sessions.values()):
            if other.peer.vehicle_id == peer.vehicle_id and other.peer != peer:
                self._drop(other.peer.routing_id)

    def _drop(self, routing_id: bytes) -> None:
        session = self._sessions.pop(routing_id, None)
        if session is not None:
            session.state.close()

    def _refuse(self, peer: _Peer, reason: str) -> None:
        self.counts.peers_refused += 1
        _log.warning("peer_refused", extra={"vehicle_id": peer.vehicle_id, "reason": reason})
        self._drop(peer.routing_id)
        self._send(peer.routing_id, Bye(reason=reason[:MAX_REASON_CHARACTERS]))

    def _send(self, routing_id: bytes, message: Message) -> None:
        try:
            self._router.send_multipart([routing_id, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # gone, or not reading: the vehicle tries again
            _log.info("answer_dropped", extra={"error": str(error)})

    def _note(self, peer: _Peer, cause: str, now_ns: int) -> None:
        try:
            self.intake.note_refusal(peer.vehicle_id, cause, now_ns=now_ns)
        except RingroadError as error:
            _log.error(
                "refusal_not_noted", extra={"vehicle_id": peer.vehicle_id, "error": str(error)}
            )

    def _do_chores(self, now_ns: int) -> None:
        if 0 <= now_ns - self._chores_ns < round(self.settings.chores_interval_s * NS_PER_S):
            return
        self._chores_ns = now_ns
        longest_ns = round(self.settings.session_idle_s * NS_PER_S)
        for session in list(self._sessions.values()):
            if now_ns - session.received_ns > longest_ns:
                self._drop(session.peer.routing_id)
        try:
            count = self.intake.catalog.event_count(StreamKind.ROLLOUT)
        except RingroadError as error:
            _log.error("rollouts_unreadable", extra={"error": str(error)})
            return
        if self._rollout_events not in (None, count):
            _log.info("updates_announced", extra={"vehicles": len(self.notify())})
        self._rollout_events = count


def _peer_of(frames: Sequence[zmq.Frame]) -> _Peer:
    vehicle_id, key = (_property(frames[-1], name) for name in ("User-Id", zap.KEY_PROPERTY))
    return _Peer(frames[0].bytes, vehicle_id, key)


def _property(frame: zmq.Frame, name: str) -> str:
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""
