"""The gateway's answers to one connected vehicle: the fleet's half of the protocol, without sockets.

A message that makes no sense where it stands is answered with Bye, which ends the session; the
vehicle comes back with Hello. Every chunk that fits is answered with the new offset, every one that
does not with the old, so that a repeated or reordered chunk changes nothing.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import dataclass, field

from edge.contracts.errors import ContractError
from edge.contracts.wire import (
    CHUNK_BYTES,
    MAX_CLIP_BYTES,
    MAX_HEADER_BYTES,
    Bye,
    ClipChunk,
    ClipCredit,
    ClipOffer,
    Hello,
    Message,
    SignedReport,
    Welcome,
)
from fleet.ingest.intake import Intake
from fleet.ingest.part import Part

_log = logging.getLogger(__name__)

CREDIT_BYTES = 8 * CHUNK_BYTES
"""How far a vehicle may send ahead: enough for 100 ms of round trip at 20 MB/s."""

Payload = bytes | memoryview | None


@dataclass
class _Upload:
    """The clip that is coming in."""

    offer: ClipOffer
    manifest: bytes
    part: Part


@dataclass
class SessionState:
    """One vehicle, from its Hello to its Bye."""

    vehicle_id: str
    """Proved by its key."""
    intake: Intake
    bad_chunks: int = 0
    """Chunks whose checksum was wrong."""
    bad_reports: int = 0
    """Reports that are never acknowledged; the clips of the same vehicle go on."""
    _is_greeted: bool = field(default=False, init=False)
    _upload: _Upload | None = field(default=None, init=False)

    def on_message(self, message: Message, payload: Payload, now_ns: int) -> list[Message]:
        """Take one message and give the answers; a Bye among them is the last.

        Args:
            message: Decoded header frame.
            payload: The payload frame, where the message has one.
            now_ns: UTC.

        Raises:
            LinkError: Store or catalog failed; nothing was acknowledged.
        """
        if not self._is_greeted and not isinstance(message, Hello):
            return [Bye(reason="say hello first")]
        match message:
            case Hello():
                return self._on_hello(message, now_ns)
            case ClipOffer() if isinstance(payload, bytes | memoryview):
                return self._on_offer(message, bytes(payload), now_ns)
            case ClipChunk() if isinstance(payload, bytes | memoryview):
                return self._on_chunk(message, payload, now_ns)
            case SignedReport():
                return self._on_report(message, now_ns)
            case _:
                return [Bye(reason=f"{type(message).__name__} makes no sense here")]

    def close(self) -> None:
        """End the session; what has come in stays, to go on with."""
        if self._upload is not None:
            self._upload.part.close()
            self._upload = None

    def _on_hello(self, hello: Hello, now_ns: int) -> list[Message]:
        if hello.vehicle_id != self.vehicle_id:
            return [Bye(reason=f"the key of {self.vehicle_id} does not prove {hello.vehicle_id}")]
        self._is_greeted = True
        return [Welcome(campaigns=self.intake.campaigns(self.vehicle_id, now_ns))]

    def _on_offer(self, offer: ClipOffer, manifest: bytes, now_ns: int) -> list[Message]:
        self.close()
        if not 0 < offer.blob_bytes <= MAX_CLIP_BYTES or len(manifest) > MAX_HEADER_BYTES:
            return [Bye(reason=f"clip {offer.clip_id} refused: empty or too large")]
        if offer.key_id is not None:
            return [Bye(reason=f"clip {offer.clip_id} refused: no key {offer.key_id} to open it")]
        done = self.intake.find(self.vehicle_id, offer, manifest)
        if done is not None:
            return [done]
        upload = _Upload(offer, manifest, self.intake.begin(self.vehicle_id, offer))
        self._upload = upload
        return self._finish(upload, now_ns) if upload.part.is_complete else [_credit(upload)]

    def _on_chunk(self, chunk: ClipChunk, piece: bytes | memoryview, now_ns: int) -> list[Message]:
        upload = self._upload
        if upload is None or upload.offer.blob_id != chunk.blob_id:
            return []
        part = upload.part
        if zlib.crc32(piece) != chunk.crc32:
            self.bad_chunks += 1
            return [_credit(upload)]
        if chunk.offset != part.have_bytes or not len(piece):
            return [_credit(upload)]
        if chunk.offset + len(piece) > part.size_bytes:
            return [Bye(reason=f"clip {upload.offer.clip_id} is longer than its offer")]
        part.append(piece)
        return self._finish(upload, now_ns) if part.is_complete else [_credit(upload)]

    def _on_report(self, signed: SignedReport, now_ns: int) -> list[Message]:
        try:
            return [self.intake.report(self.vehicle_id, signed, now_ns=now_ns)]
        except ContractError as error:
            self.bad_reports += 1
            _log.warning(
                "report_refused", extra={"vehicle_id": self.vehicle_id, "reason": str(error)}
            )
            return []

    def _finish(self, upload: _Upload, now_ns: int) -> list[Message]:
        done = self.intake.finish(
            self.vehicle_id, upload.offer, upload.manifest, upload.part, now_ns=now_ns
        )
        if done is None:
            return [_credit(upload)]
        self._upload = None
        return [done]


def _credit(upload: _Upload) -> ClipCredit:
    return ClipCredit(
        blob_id=upload.offer.blob_id, offset=upload.part.have_bytes, credit_bytes=CREDIT_BYTES
    )
