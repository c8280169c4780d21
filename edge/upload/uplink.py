"""The uplink's socket: a thin shell around ``UplinkState``. ``step`` never blocks.

A DEALER with CURVE in both directions: the vehicle knows the gateway's key before it connects, the
gateway knows the vehicle's. The routing id is left to the gateway; a name chosen here proves nothing.
"""

from __future__ import annotations

import random
from collections import deque

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from edge.contracts.campaign import Campaign
from edge.contracts.errors import OperatorError, SchemaError
from edge.contracts.wire import MAX_HEADER_BYTES, HealthReport, Hello, decode, encode
from edge.upload.keys import VehicleKeys
from edge.upload.outbox import Outbox
from edge.upload.protocol import UplinkCounts, UplinkSettings, UplinkState
from edge.upload.spool import Spool

_HEARTBEAT_MS = 5_000
_HEARTBEAT_TIMEOUT_MS = 15_000
_HANDSHAKE_MS = 5_000
_RECONNECT_MS = 100
_RECONNECT_MAX_MS = 10_000
_MESSAGES_PER_STEP = 64
_KEY_CHARACTERS = 40
_KEY_REFUSED = (
    "the fleet refused this vehicle's key: it is unknown or revoked; "
    "clips stay in the spool until the vehicle is enrolled"
)


class Uplink:
    """A vehicle's connection to its fleet, stepped by the loop of its process."""

    def __init__(
        self,
        settings: UplinkSettings,
        keys: VehicleKeys,
        hello: Hello,
        *,
        spool: Spool,
        outbox: Outbox,
        rng: random.Random,
    ) -> None:
        """Connect nothing yet; the first ``step`` does.

        Raises:
            OperatorError: The settings do not say where the fleet is, or what its key is.
        """
        if not settings.endpoint or len(settings.server_key) != _KEY_CHARACTERS:
            raise OperatorError(
                f"uplink to {settings.endpoint!r} with gateway key {settings.server_key!r}: "
                f"expected an endpoint and {_KEY_CHARACTERS} characters of Z85"
            )
        self._keys = keys
        self._state = UplinkState(hello, spool, outbox, rng, settings)
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._connection = 0
        self._unsent: deque[list[bytes]] = deque()

    @property
    def campaigns(self) -> tuple[Campaign, ...] | None:
        """The fleet's last campaigns; None before its first Welcome."""
        return self._state.campaigns

    @property
    def counts(self) -> UplinkCounts:
        """What happened since the start."""
        return self._state.counts

    @property
    def is_idle(self) -> bool:
        """Whether everything that may leave the vehicle has left it and was acknowledged."""
        return self._state.is_idle

    @property
    def last_failure(self) -> str:
        """Why the last connection was given up; empty while none was."""
        return self._state.last_failure

    def report(self, report: HealthReport) -> None:
        """Sign a health report and send it, now or whenever the fleet can be reached."""
        payload = msgspec.msgpack.encode(report)
        self._state.outbox.add(report.sequence, payload, self._keys.sign(payload))

    def step(self, now_ns: int) -> None:
        """Take what came, send what is due; returns at once.

        Args:
            now_ns: Any clock that only goes forward and runs as fast as the link does.
        """
        self._receive(now_ns)
        self._notice_hang_up(now_ns)
        self._state.expire(now_ns)
        if self._state.is_down:
            self._unsent.clear()
        if not self._unsent:
            outgoing = self._state.poll(now_ns)
            if self._state.connection != self._connection:
                self._reconnect()
            for message, payload in outgoing:
                header = encode(message)
                self._unsent.append([header] if payload is None else [header, payload])
        self._send()

    def wait(self, timeout_s: float) -> bool:
        """Block until a message is there or the time is up; for loops that have nothing else to do."""
        return self._socket is not None and bool(self._socket.poll(round(timeout_s * 1000)))

    def close(self) -> None:
        """Close the sockets; what was not acknowledged stays on disk and is sent later."""
        self._context.destroy(linger=0)

    def _receive(self, now_ns: int) -> None:
        for _ in range(_MESSAGES_PER_STEP):
            if self._socket is None:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._state.on_message(decode(frames[0]), now_ns)
            except SchemaError:
                self._state.counts.ignored += 1

    def _notice_hang_up(self, now_ns: int) -> None:
        """Notice at once, and not by a deadline, that the gateway refused, closed or died."""
        if self._monitor is None or not self._monitor.poll(0):
            return
        event = recv_monitor_message(self._monitor)["event"]
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._state.on_hang_up(now_ns, _KEY_REFUSED)
        else:
            self._state.on_hang_up(now_ns)

    def _send(self) -> None:
        while self._unsent and self._socket is not None:
            frames = self._unsent[0]
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK, copy=len(frames) == 1)
            except zmq.Again:
                return
            self._unsent.popleft()
            self._state.counts.bytes_sent += sum(map(len, frames))

    def _reconnect(self) -> None:
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close(linger=0)
        self._unsent.clear()
        self._connection = self._state.connection
        socket = self._context.socket(zmq.DEALER)
        socket.curve_secretkey = self._keys.curve_secret
        socket.curve_publickey = self._keys.curve_key.encode()
        socket.curve_serverkey = self._state.settings.server_key.encode()
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_HEADER_BYTES)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TTL, _HEARTBEAT_TIMEOUT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        )
        socket.connect(self._state.settings.endpoint)
        self._socket = socket
