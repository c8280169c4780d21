"""Take a clip in: collect its bytes, make it durable, decide, commit, and only then acknowledge.

The order matters. The blob is in the store before the row is written, and the row is committed before the
vehicle may delete the clip; whatever is killed in between, the vehicle offers the clip again and finds the
part file, or the answer.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from edge.clip_file import Clip, read_clip
from edge.contracts.campaign import Campaign
from edge.contracts.clip import ClipManifest
from edge.contracts.errors import (
    HashMismatchError,
    OperatorError,
    SchemaError,
    StoreUnavailableError,
)
from edge.contracts.time import NS_PER_S
from edge.contracts.wire import AdmissionAnswer, ClipDone, ClipOffer, ReportAck, SignedReport
from fleet.campaign import campaigns_for
from fleet.catalog import (
    CampaignRow,
    Catalog,
    ClipRow,
    QuarantineRow,
    ReportRow,
    StreamKind,
    Transaction,
    VehicleRow,
    since,
)
from fleet.ingest.admit import Admission, AdmissionSettings, BlobFacts, Known, admit
from fleet.ingest.images import image_faults, undeclared_gaps
from fleet.ingest.part import Part, drop
from fleet.ingest.room import check_room
from fleet.keys import verify_report
from fleet.store import BlobStore, FolderStore

_log = logging.getLogger(__name__)


@dataclass
class IngestSettings:
    """Settings of the intake."""

    admission: AdmissionSettings = field(default_factory=AdmissionSettings)
    max_parts_per_vehicle: int = 4
    """Unfinished clips kept per vehicle; a fifth one pushes out the oldest, which then begins anew."""


class Intake:
    """Takes clips and reports from vehicles whose identity the gateway has proved."""

    def __init__(
        self, catalog: Catalog, store: BlobStore, incoming: Path, settings: IngestSettings
    ) -> None:
        self.catalog = catalog
        self._store = store
        self._incoming = incoming
        self._settings = settings
        self._noted: set[tuple[str, str]] = set()

    def campaigns(self, vehicle_id: str, now_ns: int) -> tuple[Campaign, ...]:
        """Return the campaigns that a vehicle carries from now on."""
        return campaigns_for(self.catalog, vehicle_id, now_ns=now_ns)

    def find(self, vehicle_id: str, offer: ClipOffer, manifest: bytes) -> ClipDone | None:
        """Return the answer when this very offer was decided before: a clip comes in once.

        One whose blob is no longer in the store, or no longer whole by its size, must be sent again.
        """
        done = self._decided(vehicle_id, offer, manifest)
        if done is not None:
            drop(self._part_path(vehicle_id, offer))
        return done

    def begin(self, vehicle_id: str, offer: ClipOffer) -> Part:
        """Open the part file of an offered clip; it may hold the beginning already.

        Raises:
            StoreUnavailableError: The disk refused, or has no room for the clip.
        """
        path = self._part_path(vehicle_id, offer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            others = sorted(
                (p for p in path.parent.iterdir() if p != path), key=lambda p: p.stat().st_mtime_ns
            )
            excess = len(others) + 1 - self._settings.max_parts_per_vehicle
            for old in others[: max(0, excess)]:
                old.unlink()
            store = self._store.root if isinstance(self._store, FolderStore) else None
            check_room(offer, path, store)
            return Part(path, offer.blob_bytes)
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot keep a part of clip {offer.clip_id}: {error}"
            ) from error

    def finish(
        self, vehicle_id: str, offer: ClipOffer, manifest: bytes, part: Part, *, now_ns: int
    ) -> ClipDone | None:
        """Make a whole clip durable and decide about it.

        Returns:
            The answer, or None when the part must be sent again from its beginning: its bytes are not the
            promised ones, and the fleet's disk may be the cause.
        """
        blob, clip = _facts(part)
        if blob.blob_id != offer.blob_id and not part.is_fresh:
            _restart(part)
            return None
        try:
            self._store.put_if_absent(blob.blob_id, part.path)
        except HashMismatchError:  # the stored bytes are not those that were written
            _restart(part)
            return None
        known, settings = self._known(vehicle_id, offer, now_ns), self._settings.admission
        admission = admit(offer, manifest, blob, known, settings, now_ns=now_ns)
        if admission.answer is AdmissionAnswer.ADMITTED and clip is not None:
            # Decoding costs most, so that it is done only for a clip that passed everything else.
            blob = replace(blob, image_faults=image_faults(clip, settings.max_clip_pixels))
            admission = admit(offer, manifest, blob, known, settings, now_ns=now_ns)
        with self.catalog.write(at_ns=now_ns, actor="gateway") as tx:
            if admission.answer is AdmissionAnswer.ADMITTED and admission.manifest:
                _admit(tx, admission.manifest, manifest, blob)
            else:
                _quarantine(tx, vehicle_id, offer, manifest, blob, admission)
        part.remove()
        _log.info(
            "clip_received",
            extra={
                "vehicle_id": vehicle_id,
                "clip_id": offer.clip_id,
                "answer": str(admission.answer),
                "reasons": admission.reasons,
            },
        )
        return _done(offer, admission.answer, admission.reasons)

    def report(self, vehicle_id: str, signed: SignedReport, *, now_ns: int) -> ReportAck:
        """Verify a health report and write it down; the same one twice is one row.

        Raises:
            ContractError: It is not signed by this vehicle, or is no report of it.
        """
        report = verify_report(self.catalog, vehicle_id, signed)
        row = ReportRow(
            vehicle_id=vehicle_id,
            boot_id=report.boot_id,
            sequence=report.sequence,
            bundle_id=report.bundle_id,
            release_counter=report.release_counter,
            phase=report.phase,
            payload=signed.payload,
            signature=signed.signature,
            at_ns=now_ns,
        )
        with self.catalog.write(at_ns=now_ns, actor="gateway") as tx:
            if tx.add(row):
                tx.append(
                    StreamKind.VEHICLE,
                    vehicle_id,
                    "report_received.1",
                    cause=f"report {report.boot_id}/{report.sequence}",
                    bundle_id=report.bundle_id,
                    release_counter=report.release_counter,
                    phase=report.phase,
                    ticks=report.ticks,
                    faults=report.faults,
                    is_golden_passed=report.is_golden_passed,
                )
        return ReportAck(sequence=report.sequence)

    def note_refusal(self, vehicle_id: str, cause: str, *, now_ns: int) -> None:
        """Write down that a known key was used in a way that its vehicle has no reason for.

        Once per vehicle and cause, so that repeating it does not fill the catalog.
        """
        if (vehicle_id, cause) in self._noted:
            return
        self._noted.add((vehicle_id, cause))
        with self.catalog.write(at_ns=now_ns, actor="gateway") as tx:
            tx.append(StreamKind.VEHICLE, vehicle_id, "peer_refused.1", cause=cause)

    def _decided(self, vehicle_id: str, offer: ClipOffer, manifest: bytes) -> ClipDone | None:
        clip = self.catalog.get(ClipRow, offer.clip_id)
        if clip is not None and (clip.vehicle_id, clip.blob_id) == (vehicle_id, offer.blob_id):
            return _done(offer, AdmissionAnswer.ADMITTED, ()) if self._is_kept(clip) else None
        row = self.catalog.get(QuarantineRow, _offer_id(vehicle_id, offer, manifest))
        if row is None or not self._is_kept(row):
            return None
        return _done(offer, AdmissionAnswer.QUARANTINED, row.reasons)

    def _is_kept(self, row: ClipRow | QuarantineRow) -> bool:
        found_bytes = self._store.head(row.blob_id)
        if found_bytes != row.blob_bytes:
            _log.warning(
                "blob_lost",
                extra={
                    "clip_id": row.clip_id,
                    "blob_id": row.blob_id,
                    "expected_bytes": row.blob_bytes,
                    "found_bytes": found_bytes,
                },
            )
        return found_bytes == row.blob_bytes

    def _known(self, vehicle_id: str, offer: ClipOffer, now_ns: int) -> Known:
        vehicle = self.catalog.get(VehicleRow, vehicle_id)
        if vehicle is None:
            raise OperatorError(f"vehicle {vehicle_id} has a key and no row")
        before = self.catalog.get(ClipRow, offer.clip_id)
        since_ns = max(0, now_ns - round(self._settings.admission.quota_window_s * NS_PER_S))
        used = [
            self.catalog.total(record, "blob_bytes", since(since_ns), vehicle_id=vehicle_id)
            for record in (ClipRow, QuarantineRow)
        ]
        return Known(
            vehicle=vehicle,
            admitted_blob_id=before.blob_id if before else None,
            used_clips=sum(clips for clips, _ in used),
            used_bytes=sum(size_bytes for _, size_bytes in used),
        )

    def _part_path(self, vehicle_id: str, offer: ClipOffer) -> Path:
        return self._incoming / vehicle_id / f"{offer.blob_id}.part"


def _restart(part: Part) -> None:
    _log.warning("part_restarted", extra={"part": str(part.path)})
    part.restart()


def _facts(part: Part) -> tuple[BlobFacts, Clip | None]:
    blob = BlobFacts(blob_id=part.blob_id, size_bytes=part.have_bytes, sealed_manifest=None)
    try:
        clip = read_clip(part.path)
    except SchemaError as error:
        return replace(blob, fault=str(error)), None
    gaps = undeclared_gaps(clip)
    return replace(blob, sealed_manifest=clip.manifest_bytes, undeclared_gaps=gaps), clip


def _admit(tx: Transaction, manifest: ClipManifest, sealed: bytes, blob: BlobFacts) -> None:
    campaign_ids = tuple(dict.fromkeys(event.campaign_id for event in manifest.events))
    row = ClipRow(
        clip_id=manifest.clip_id,
        blob_id=blob.blob_id,
        blob_bytes=blob.size_bytes,
        vehicle_id=manifest.vehicle_id,
        drive_id=manifest.drive_id,
        bundle_id=manifest.bundle_id,
        campaign_ids=campaign_ids,
        rules=tuple(str(event.rule) for event in manifest.events),
        worth=max(event.worth for event in manifest.events),
        start_ns=manifest.start_ns,
        end_ns=manifest.end_ns,
        frame_count=manifest.frame_count,
        manifest=sealed,
        at_ns=tx.at_ns,
    )
    if not tx.add(row):
        return
    event = tx.append(
        StreamKind.VEHICLE,
        row.vehicle_id,
        "clip_admitted.1",
        cause=f"offer of {row.clip_id}",
        clip_id=row.clip_id,
        blob_id=row.blob_id,
        blob_bytes=row.blob_bytes,
        drive_id=row.drive_id,
        rules=row.rules,
    )
    for campaign_id in campaign_ids:
        if tx.get(CampaignRow, campaign_id) is not None:
            tx.append(
                StreamKind.CAMPAIGN,
                campaign_id,
                "clip_counted.1",
                cause=event.hash,
                clip_id=row.clip_id,
                blob_bytes=row.blob_bytes,
            )


def _quarantine(
    tx: Transaction,
    vehicle_id: str,
    offer: ClipOffer,
    manifest: bytes,
    blob: BlobFacts,
    admission: Admission,
) -> None:
    row = QuarantineRow(
        offer_id=_offer_id(vehicle_id, offer, manifest),
        clip_id=offer.clip_id,
        offered_blob_id=offer.blob_id,
        blob_id=blob.blob_id,
        blob_bytes=blob.size_bytes,
        vehicle_id=vehicle_id,
        reasons=admission.reasons,
        manifest=manifest,
        at_ns=tx.at_ns,
    )
    if tx.add(row):
        tx.append(
            StreamKind.VEHICLE,
            vehicle_id,
            "clip_quarantined.1",
            cause=f"offer of {offer.clip_id}",
            offer_id=row.offer_id,
            blob_id=row.blob_id,
            broken_rules=tuple(reason.partition(":")[0] for reason in admission.reasons),
        )


def _offer_id(vehicle_id: str, offer: ClipOffer, manifest: bytes) -> str:
    parts = (vehicle_id, offer.clip_id, offer.blob_id, hashlib.sha256(manifest).hexdigest())
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()


def _done(offer: ClipOffer, answer: AdmissionAnswer, reasons: tuple[str, ...]) -> ClipDone:
    return ClipDone(clip_id=offer.clip_id, blob_id=offer.blob_id, answer=answer, reasons=reasons)
