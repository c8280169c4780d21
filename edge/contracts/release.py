"""Signed records about bundles in the two update repositories, and the paths of files in them.

The tree is plain files, for any static HTTP server (layout after the Uptane Standard's two repositories):

    image/metadata/           signed off line by release people, one for the fleet
    image/targets/<profile>/<sha256>.<bundle_id>-<counter>.json      bundle manifests
    director/<vehicle_id>/metadata/                                  signed on line, per vehicle
    blobs/sha256/ab/<sha256>  what manifests list, by content

Nothing here carries trust by itself: the vehicle checks both chains of signatures and compares them.
"""

from __future__ import annotations

import msgspec

from edge.contracts.bundle import BundleManifest
from edge.contracts.errors import SchemaError
from edge.contracts.fields import Count, Name, StampNs

IMAGE_METADATA = "image/metadata"
IMAGE_TARGETS = "image/targets"
MAX_MANIFEST_BYTES = 256 * 1024
MANIFEST_FILE = "manifest.json"
"""Name of the manifest in the folder of a bundle; every other file is named by its hash."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """The statement about one released bundle, alike in both repositories."""

    bundle_id: Name
    profile: Name
    release_counter: Count
    unpacked_bytes: Count
    """Sum of the sizes of all blobs of the bundle."""
    critical: tuple[Name, ...] = ()
    """Names of fields that a vehicle must understand or else refuse the release."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """The Director's assignment of one release to one vehicle."""

    vehicle_id: Name
    release: Release
    not_before_ns: StampNs = 0
    """UTC; the vehicle waits until then."""
    slot: Name = "inactive"
    """A hint; vehicles only ever write the slot that is not driving."""
    rollout_id: Name | None = None
    wave: Count = 0
    critical: tuple[Name, ...] = ()


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a Director's metadata is for; it stands in the signed part even when nothing is assigned."""

    vehicle_id: Name


def director_metadata(vehicle_id: str) -> str:
    """Return the folder of one vehicle's Director metadata."""
    return f"director/{vehicle_id}/metadata"


def manifest_path(release: Release) -> str:
    """Return the target path of a released manifest in both repositories."""
    return f"{release.profile}/{release.bundle_id}-{release.release_counter}.json"


def blob_path(sha256: str) -> str:
    """Return where a blob lies in the tree; it is also its target path in the Image repository."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def blob_sizes(manifest: BundleManifest) -> dict[str, int]:
    """List the files of a bundle: SHA-256 to size in bytes, engines and golden set."""
    sizes = {engine.sha256: engine.size_bytes for engine in manifest.engines}
    return sizes | {manifest.golden.sha256: manifest.golden.size_bytes}


def release_of(manifest: BundleManifest) -> Release:
    """Return the statement that both repositories sign about a bundle."""
    return Release(
        bundle_id=manifest.bundle_id,
        profile=manifest.profile,
        release_counter=manifest.release_counter,
        unpacked_bytes=sum(blob_sizes(manifest).values()),
    )


def encode_manifest(manifest: BundleManifest) -> bytes:
    """Encode a manifest as JSON that the people who sign it can read."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode_manifest(data: bytes) -> BundleManifest:
    """Decode a manifest.

    Raises:
        SchemaError: It is too long, does not decode, or says something that makes no sense.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise SchemaError(f"manifest of {len(data)} bytes refused: at most {MAX_MANIFEST_BYTES}")
    try:
        return msgspec.json.decode(data, type=BundleManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SchemaError(f"bundle manifest does not decode: {error}") from error
