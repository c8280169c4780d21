"""Bring an offered bundle onto the disk, whole and checked against everything that was signed about it."""

from __future__ import annotations

import msgspec

from edge.contracts.bundle import BundleManifest
from edge.contracts.errors import CapacityError, HashMismatchError, SchemaError
from edge.contracts.release import (
    MAX_MANIFEST_BYTES,
    Release,
    blob_path,
    blob_sizes,
    decode_manifest,
    release_of,
)
from edge.ota.disk import Disk
from edge.ota.fetch import Link, fetch_blob, fetch_small
from edge.ota.metadata import Offer
from edge.ota.slots import forget_partials, is_at_hand, partial_path


def deliver(
    offer: Offer, *, disk: Disk, link: Link, base_url: str, reserve_bytes: int, chunk_bytes: int
) -> tuple[bytes, BundleManifest]:
    """Fetch a bundle's manifest, and those of its blobs that lie in no slot into partial files.

    Returns:
        The manifest as signed, and decoded.

    Raises:
        ContractError: Something is not what was signed; nothing of it is kept.
        LinkDownError: Something did not come, or not whole; what came is kept for the next call.
        CapacityError: The disk has no room for it.
    """
    if offer.manifest_bytes > MAX_MANIFEST_BYTES:
        raise SchemaError(f"manifest of {offer.manifest_bytes} bytes, at most {MAX_MANIFEST_BYTES}")
    data = fetch_small(
        link, offer.manifest_url, sha256=offer.manifest_sha256, size_bytes=offer.manifest_bytes
    )
    manifest = decode_manifest(data)
    expect_promised(manifest, offer)
    sizes = blob_sizes(manifest)
    wanted = {s: n for s, n in sizes.items() if not is_at_hand(disk, s, n)}
    forget_partials(disk, kept=frozenset(wanted))
    _expect_room(disk, manifest.bundle_id, sizes, wanted, reserve_bytes)
    for sha256, size_bytes in wanted.items():
        url = f"{base_url.rstrip('/')}/{blob_path(sha256)}"
        fetch_blob(
            link, url, sha256=sha256, size_bytes=size_bytes, disk=disk, chunk_bytes=chunk_bytes
        )
    return data, manifest


def expect_promised(manifest: BundleManifest, offer: Offer) -> None:
    """Compare a manifest with the signed words about it.

    Raises:
        SchemaError: It is another bundle, profile, counter or size than was signed.
        HashMismatchError: It lists a blob that was not signed.
    """
    sizes = blob_sizes(manifest)
    said = msgspec.structs.replace(release_of(manifest), critical=offer.release.critical)
    if said != offer.release:
        raise SchemaError(
            f"the manifest says otherwise than the release: {_differences(said, offer)}"
        )
    for sha256, size_bytes in sizes.items():
        if offer.blob_sizes.get(sha256) != size_bytes:
            raise HashMismatchError(
                f"bundle {manifest.bundle_id} lists blob {sha256[:12]} of {size_bytes} bytes, "
                "which nobody signed; refused"
            )


def _differences(said: Release, offer: Offer) -> str:
    """Name the fields in which a manifest differs from its release, with both values."""
    pairs = [
        (name, getattr(said, name), getattr(offer.release, name)) for name in said.__struct_fields__
    ]
    return ", ".join(
        f"{name} is {found}, the release says {promised}"
        for name, found, promised in pairs
        if found != promised
    )


def _expect_room(
    disk: Disk, bundle_id: str, sizes: dict[str, int], wanted: dict[str, int], reserve_bytes: int
) -> None:
    """Refuse when the disk lacks room; blobs of the other slot are copied, so they count."""
    begun = sum(disk.size(partial_path(sha256)) or 0 for sha256 in wanted)
    needed = sum(sizes.values()) - begun + reserve_bytes
    if disk.free_bytes() < needed:
        raise CapacityError(
            f"bundle {bundle_id} waits: {needed} bytes needed with the reserve, "
            f"{disk.free_bytes()} free"
        )
