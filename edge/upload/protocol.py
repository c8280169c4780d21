"""The vehicle's half of the uplink protocol: decisions only, no socket, no clock of its own.

Hello, Welcome; then one clip at a time: offer, credit, chunks inside the credit, done. Every wait ends in a
deadline, every deadline ends in a new connection that begins with Hello again, and the fleet's first credit
names the byte at which a clip goes on. So a message that is lost, repeated or late needs no case of its own.
A clip leaves the spool only on ClipDone.

Waits grow until the fleet keeps something that it did not keep before: a fleet that welcomes, grants and then
fails, because its disk is full, is tried ever more rarely, and with one chunk of a clip.
"""

from __future__ import annotations

import logging
import random
import zlib
from dataclasses import dataclass, field
from enum import StrEnum

from edge.contracts.campaign import Campaign
from edge.contracts.errors import ContractError, OperatorError
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import (
    CHUNK_BYTES,
    AdmissionAnswer,
    Bye,
    ClipChunk,
    ClipCredit,
    ClipDone,
    ClipOffer,
    Hello,
    Message,
    ReportAck,
    SignedReport,
    UnknownMessage,
    UpdateNotice,
    Welcome,
)
from edge.upload.outbox import Outbox, OutboxItem
from edge.upload.spool import Spool, SpoolItem, check_manifest

_log = logging.getLogger(__name__)

Outgoing = tuple[Message, bytes | None]
"""A message and its payload frame."""


@dataclass
class UplinkSettings:
    """Address of the fleet, and the waits of the vehicle."""

    endpoint: str = ""
    """For instance ``tcp://fleet.example:7700``."""
    server_key: str = ""
    """The gateway's public CURVE key, 40 characters of Z85."""
    answer_timeout_s: float = 15.0
    """Longest wait for any answer; the fleet may need some seconds to make a clip durable."""
    backoff_min_s: float = 0.5
    """Longest wait before the first new attempt; it doubles with each further failure."""
    backoff_max_s: float = 60.0
    """Longest wait before any new attempt."""
    hello_interval_s: float = 60.0
    """Time between two hellos of an idle vehicle; the answers bring new campaigns and reveal a dead link."""
    chunks_per_step: int = 8
    """Most chunks sent in one step."""


@dataclass
class UplinkCounts:
    """Counts since the start."""

    bytes_sent: int = 0
    """Header and payload frames, before encryption."""
    clips_admitted: int = 0
    clips_quarantined: int = 0
    clips_refused: int = 0
    """Clips that must not leave the vehicle, or cannot."""
    reports_sent: int = 0
    failures: int = 0
    """Connections given up."""
    ignored: int = 0
    """Messages that came too late, twice, or of a kind this vehicle does not know."""


class _Phase(StrEnum):
    DOWN = "down"
    GREETING = "greeting"
    READY = "ready"


@dataclass
class _Transfer:
    """The one clip that is on its way."""

    item: SpoolItem
    deadline_ns: int
    is_granted: bool = False
    sent: int = 0
    acknowledged: int = 0
    limit: int = 0

    def take_credit(self, credit: ClipCredit) -> bool:
        """Note the fleet's offset; return whether it is progress of this transfer.

        The first credit after an offer names the byte to go on from, whichever it is. A later one behind what
        was acknowledged is late or repeated, and changes nothing.
        """
        if self.is_granted and credit.offset < self.acknowledged:
            return False
        is_progress = not self.is_granted or credit.offset > self.acknowledged
        self.sent = max(self.sent, credit.offset) if self.is_granted else credit.offset
        self.is_granted = True
        self.acknowledged = credit.offset
        self.limit = min(credit.offset + credit.credit_bytes, self.item.blob_bytes)
        return is_progress


@dataclass
class UplinkState:
    """The vehicle's half of the protocol: ``poll`` returns what to send, ``on_message`` takes answers."""

    hello: Hello
    """The vehicle's greeting; replace it when the vehicle runs another bundle."""
    spool: Spool
    outbox: Outbox
    rng: random.Random
    """Source of the jitter that keeps a fleet from reconnecting all at once."""
    settings: UplinkSettings = field(default_factory=UplinkSettings)
    counts: UplinkCounts = field(default_factory=UplinkCounts)
    campaigns: tuple[Campaign, ...] | None = None
    """The fleet's last campaigns; None before the first Welcome."""
    connection: int = 0
    """Number of the connection to use; whenever it grows the old one must be thrown away."""
    last_failure: str = ""

    _phase: _Phase = field(default=_Phase.DOWN, init=False)
    _failures: int = field(default=0, init=False)
    """Since the fleet last kept something new: what the back-off grows with."""
    _kept: dict[str, int] = field(default_factory=dict, init=False)
    """How many bytes of each waiting blob the fleet ever had."""
    _deadline_ns: int = field(default=0, init=False)
    """While down: when to try again. While waiting for a Welcome: when to give up. While ready: when to send
    Hello."""
    _transfer: _Transfer | None = field(default=None, init=False)
    _report: tuple[OutboxItem, int] | None = field(default=None, init=False)
    """The report that waits for its acknowledgement, and when to send it again."""
    _refused: set[str] = field(default_factory=set, init=False)

    @property
    def is_down(self) -> bool:
        """Whether there is no connection, and none is being made."""
        return self._phase is _Phase.DOWN

    @property
    def is_idle(self) -> bool:
        """Whether everything that may leave the vehicle has left it and was acknowledged."""
        return not self._waiting() and self.outbox.first() is None

    def poll(self, now_ns: int) -> list[Outgoing]:
        """Return what to send now; call it again when that is sent, and whenever time passes."""
        if self._phase is _Phase.DOWN:
            return self._greet(now_ns) if now_ns >= self._deadline_ns else []
        self.expire(now_ns)
        if self._phase is not _Phase.READY:
            return []
        outgoing = self._next_report(now_ns) + self._next_offer(now_ns) + self._next_chunks()
        if not outgoing and self._transfer is None and now_ns >= self._deadline_ns:
            self._failures = 0
            return self._greet_again(now_ns)
        return outgoing

    def expire(self, now_ns: int) -> None:
        """Give the connection up when an answer is overdue; ``poll`` does it too."""
        if self._is_late(now_ns):
            self._fail(now_ns, "no answer in time")

    def on_hang_up(self, now_ns: int, reason: str = "the connection was closed") -> None:
        """Take note that the other side closed the connection, or never let it begin."""
        if self._phase is not _Phase.DOWN:
            self._fail(now_ns, reason)

    def on_message(self, message: Message | UnknownMessage, now_ns: int) -> None:
        """Take one message of the present connection."""
        if self._phase is _Phase.DOWN:
            self.counts.ignored += 1
            return
        match message:
            case Welcome():
                self._on_welcome(message, now_ns)
            case ClipCredit():
                self._on_credit(message, now_ns)
            case ClipDone():
                self._on_done(message)
            case ReportAck():
                self._on_ack(message)
            case UpdateNotice():
                pass  # each life begins with a look into the update repositories
            case Bye():
                self._fail(now_ns, message.reason)
            case _:
                self.counts.ignored += 1

    def _greet(self, now_ns: int) -> list[Outgoing]:
        self.connection += 1
        return self._greet_again(now_ns)

    def _greet_again(self, now_ns: int) -> list[Outgoing]:
        self._phase = _Phase.GREETING
        self._deadline_ns = self._answer_by(now_ns)
        return [(self.hello, None)]

    def _next_report(self, now_ns: int) -> list[Outgoing]:
        if self._report is not None and now_ns < self._report[1]:
            return []
        item = self.outbox.first()
        if item is None:
            self._report = None
            return []
        self._report = (item, self._answer_by(now_ns))
        return [(SignedReport(payload=item.payload, signature=item.signature), None)]

    def _next_offer(self, now_ns: int) -> list[Outgoing]:
        if self._transfer is not None:
            return []
        for item in self._waiting():
            try:
                check_manifest(item.manifest)
            except ContractError as error:
                self._refuse(item, error)
                continue
            self._transfer = _Transfer(item, self._answer_by(now_ns))
            offer = ClipOffer(
                clip_id=item.clip_id, blob_id=item.blob_id, blob_bytes=item.blob_bytes
            )
            return [(offer, item.manifest)]
        return []

    def _next_chunks(self) -> list[Outgoing]:
        chunks: list[Outgoing] = []
        transfer = self._transfer
        if transfer is None:
            return chunks
        limit = transfer.limit
        if self._failures:  # the fleet may fail again: one chunk, until it keeps something
            limit = min(limit, transfer.acknowledged + CHUNK_BYTES)
        while transfer.sent < limit and len(chunks) < self.settings.chunks_per_step:
            size = min(CHUNK_BYTES, limit - transfer.sent)
            try:
                piece = self._read(transfer, size)
            except OperatorError as error:
                self._refuse(transfer.item, error)
                self._transfer = None
                return []
            chunk = ClipChunk(
                blob_id=transfer.item.blob_id, offset=transfer.sent, crc32=zlib.crc32(piece)
            )
            chunks.append((chunk, piece))
            transfer.sent += size
        return chunks

    def _read(self, transfer: _Transfer, size: int) -> bytes:
        piece = self.spool.read(transfer.item, transfer.sent, size)
        if len(piece) != size:
            raise OperatorError(
                f"clip {transfer.item.clip_id} cannot be sent: its file ends at byte "
                f"{transfer.sent + len(piece)} of {transfer.item.blob_bytes}"
            )
        return piece

    def _on_welcome(self, welcome: Welcome, now_ns: int) -> None:
        self._phase = _Phase.READY
        self._deadline_ns = now_ns + round(self.settings.hello_interval_s * NS_PER_S)
        self.campaigns = welcome.campaigns
        _log.info("fleet_welcomed", extra={"campaigns": len(welcome.campaigns)})

    def _on_credit(self, credit: ClipCredit, now_ns: int) -> None:
        transfer = self._transfer
        if transfer is None or credit.blob_id != transfer.item.blob_id:
            self.counts.ignored += 1
        elif transfer.take_credit(credit):
            transfer.deadline_ns = self._answer_by(now_ns)
            self._note_kept(transfer)

    def _note_kept(self, transfer: _Transfer) -> None:
        """Count it as progress when the fleet has more of a clip than ever before, and only then.

        A credit alone is no progress: it may be granted, and the bytes be lost, again and again.
        """
        blob_id = transfer.item.blob_id
        if transfer.acknowledged > self._kept.get(blob_id, 0):
            self._kept[blob_id] = transfer.acknowledged
            self._failures = 0

    def _on_done(self, done: ClipDone) -> None:
        item = self.spool.get(done.clip_id)
        if item is None or item.blob_id != done.blob_id:
            self.counts.ignored += 1
            return
        self.spool.done(done.clip_id)
        self._kept.pop(done.blob_id, None)
        self._failures = 0
        if done.answer is AdmissionAnswer.ADMITTED:
            self.counts.clips_admitted += 1
        else:
            self.counts.clips_quarantined += 1
        fields = {"clip_id": done.clip_id, "answer": str(done.answer), "reasons": done.reasons}
        _log.info("clip_uploaded", extra=fields)
        if self._transfer is not None and self._transfer.item.clip_id == done.clip_id:
            self._transfer = None

    def _on_ack(self, ack: ReportAck) -> None:
        if self._report is None or self._report[0].sequence != ack.sequence:
            self.counts.ignored += 1
            return
        self.outbox.done(self._report[0].number)
        self.counts.reports_sent += 1
        self._report = None
        if self._transfer is None:  # a fleet that takes reports may still be unable to take clips
            self._failures = 0

    def _is_late(self, now_ns: int) -> bool:
        if self._phase is _Phase.GREETING:
            return now_ns >= self._deadline_ns
        return self._transfer is not None and now_ns >= self._transfer.deadline_ns

    def _fail(self, now_ns: int, reason: str) -> None:
        """Give the connection up and wait: longer each time, with jitter."""
        settings = self.settings
        longest_s = min(settings.backoff_max_s, settings.backoff_min_s * 2.0**self._failures)
        self._deadline_ns = now_ns + round(longest_s * self.rng.uniform(0.5, 1.0) * NS_PER_S)
        self._phase = _Phase.DOWN
        self._failures = min(self._failures + 1, 30)
        self._transfer = None
        self._report = None
        self.counts.failures += 1
        self.last_failure = reason
        _log.warning("uplink_failed", extra={"reason": reason, "failures": self._failures})

    def _refuse(self, item: SpoolItem, error: Exception) -> None:
        """Leave a clip in the spool: it must not or cannot be sent, and others can."""
        self._refused.add(item.clip_id)
        self.counts.clips_refused += 1
        _log.error("clip_refused", extra={"clip_id": item.clip_id, "reason": str(error)})

    def _waiting(self) -> list[SpoolItem]:
        return [item for item in self.spool.pending() if item.clip_id not in self._refused]

    def _answer_by(self, now_ns: int) -> int:
        return now_ns + round(self.settings.answer_timeout_s * NS_PER_S)
