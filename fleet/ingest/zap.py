"""Answer libzmq's question which key may connect (ZAP, RFC 27), and fail closed.

Without a handler libzmq lets every key in, unless the socket enforces its domain; and an answering thread
that dies would refuse every key. So the domain is enforced, the answer is a total function without a thread
of its own, and ``probe_stranger`` proves at start-up that an unregistered key is refused.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from edge.contracts.errors import OperatorError

DOMAIN = b"ringroad"
ENDPOINT = "inproc://zeromq.zap.01"
KEY_PROPERTY = "X-Key"
"""The connection property that holds the client's public key; ``User-Id`` holds its vehicle."""

_POLL_MS = 20


def answer_zap(frames: Sequence[bytes], vehicle_of: Callable[[str], str | None]) -> list[bytes]:
    """Answer one ZAP request: 200 with the vehicle as user id, or 400.

    Args:
        frames: Version, request id, domain, address, routing id, mechanism, credentials.
        vehicle_of: Gives the vehicle of an active public key, or None.
    """
    request_id = frames[1] if len(frames) > 1 else b""
    if len(frames) != 7 or frames[0] != b"1.0" or frames[2] != DOMAIN or frames[5] != b"CURVE":
        return [b"1.0", request_id, b"400", b"not a CURVE request of this gateway", b"", b""]
    if len(frames[6]) != 32:
        return [b"1.0", request_id, b"400", b"malformed key", b"", b""]
    key = z85.encode(frames[6])
    vehicle_id = vehicle_of(key.decode())
    if vehicle_id is None:
        return [b"1.0", request_id, b"400", b"unknown or revoked key", b"", b""]
    return [b"1.0", request_id, b"200", b"", vehicle_id.encode(), _property(KEY_PROPERTY, key)]


def claimed_key(frames: Sequence[bytes]) -> str:
    """Return the public key, in Z85, that a request asks about; empty when it names none."""
    is_curve = len(frames) == 7 and frames[5] == b"CURVE" and len(frames[6]) == 32
    return z85.encode(frames[6]).decode() if is_curve else ""


def secure(socket: zmq.Socket[bytes], secret_key: bytes) -> None:
    """Make a socket a CURVE server whose every connection is put before the ZAP handler."""
    socket.curve_server = True
    socket.curve_secretkey = secret_key
    socket.zap_domain = DOMAIN
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def probe_stranger(
    endpoint: str, server_key: bytes, serve: Callable[[], None], *, timeout_s: float = 10.0
) -> None:
    """Connect with an unregistered key and make sure that it is refused.

    Args:
        endpoint: Where the gateway is bound.
        server_key: Its public key.
        serve: Lets the gateway answer what waits; called again and again.
        timeout_s: How long a refusal may take.

    Raises:
        OperatorError: The stranger was let in, or was not refused in time: do not serve.
    """
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        stranger = z85.encode(secrets.token_bytes(32))
        socket.curve_secretkey = stranger
        socket.curve_publickey = zmq.curve_public(stranger)
        socket.curve_serverkey = server_key
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        monitor = socket.get_monitor_socket(events)
        socket.connect(endpoint)
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            serve()
            if monitor.poll(_POLL_MS):
                event = recv_monitor_message(monitor)["event"]
                if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    return
                raise OperatorError(f"gateway {endpoint} let an unknown key in; it will not serve")
        raise OperatorError(
            f"gateway {endpoint} did not refuse an unknown key within {timeout_s:.0f} s; "
            "it will not serve"
        )
    finally:
        context.destroy(linger=0)


def _property(name: str, value: bytes) -> bytes:
    """Encode one connection property as ZMTP 3.1 does: length and name, length and value."""
    return bytes([len(name)]) + name.encode() + len(value).to_bytes(4, "big") + value
