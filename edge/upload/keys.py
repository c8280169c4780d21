"""The vehicle's two key pairs, made on its own disk; a secret key never leaves it.

The CURVE pair proves which vehicle is connected, the Ed25519 pair proves which vehicle signed a report. A
gateway that was taken over can therefore read what vehicles send, and cannot sign for them.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from zmq.utils import z85

from edge.contracts.errors import OperatorError
from edge.contracts.files import create_synced

KEY_BYTES = 32


@dataclass(frozen=True)
class VehicleKeys:
    """Both pairs; printing it shows no secret."""

    curve_secret: bytes = field(repr=False)
    """40 characters of Z85."""
    report_secret: Ed25519PrivateKey = field(repr=False)

    @property
    def curve_key(self) -> str:
        """The public CURVE key, 40 characters of Z85: what the fleet registers."""
        return zmq.curve_public(self.curve_secret).decode()

    @property
    def report_key(self) -> str:
        """The public Ed25519 key, 64 hex digits: what the fleet registers."""
        return self.report_secret.public_key().public_bytes_raw().hex()

    def sign(self, payload: bytes) -> bytes:
        """Sign a report with Ed25519 (RFC 8032); 64 bytes."""
        return self.report_secret.sign(payload)


def load_or_make_keys(folder: Path) -> VehicleKeys:
    """Load the vehicle's keys, making those that are missing; only their owner may read the files.

    Raises:
        OperatorError: A key file does not hold a key.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    curve = _load_or_make(folder / "curve.key")
    report = _load_or_make(folder / "report.key")
    return VehicleKeys(
        curve_secret=z85.encode(curve), report_secret=Ed25519PrivateKey.from_private_bytes(report)
    )


def _load_or_make(path: Path) -> bytes:
    if not path.exists():
        fresh = secrets.token_bytes(KEY_BYTES).hex().encode()
        with suppress(
            FileExistsError
        ):  # of two processes that make a key, both use the first one's
            create_synced(path, fresh, mode=0o600)
    try:
        secret = bytes.fromhex(path.read_text())
    except (ValueError, UnicodeDecodeError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise OperatorError(
            f"{path} holds no key: expected {2 * KEY_BYTES} hex digits; "
            "restore it, or delete it and enrol anew"
        )
    return secret
