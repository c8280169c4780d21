"""The Director: per vehicle, the one released bundle it should run, signed on line.

It can only point at what the Image repository published, and vehicles check that it does; so a stolen
Director key chooses among bundles that two people signed, and cannot go below a vehicle's counter.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]

from edge.contracts.errors import OperatorError, SignatureError
from edge.contracts.release import (
    IMAGE_METADATA,
    Assignment,
    Recipient,
    director_metadata,
    manifest_path,
)
from fleet.repository.expiry import Expiry
from fleet.repository.metadata import (
    Lifetimes,
    MetadataFolder,
    RoleKeys,
    alone,
    as_custom,
    published_targets,
    release_in,
)
from fleet.repository.signing import KeyRing

DIRECTOR_KEYS: RoleKeys = {
    "root": (("director-root-a", "director-root-b", "director-root-c"), 2),
    "targets": (("director-targets",), 1),
    "snapshot": (("director-snapshot",), 1),
    "timestamp": (("director-timestamp",), 1),
}
_ONLINE = frozenset({"targets", "snapshot", "timestamp"})
DIRECTOR_ROOT = "director/_root"
"""The Director's root, one for all vehicles; no vehicle can have that name."""


class DirectorRepository:
    """Per vehicle, the one bundle it should run."""

    def __init__(self, tree: Path, keys: KeyRing, lifetimes: Lifetimes | None = None) -> None:
        """Open, without touching anything; ``tree`` is what is served."""
        self._tree = tree
        self._keys = keys
        self._lifetimes = lifetimes or Lifetimes()
        self._root = MetadataFolder(tree / DIRECTOR_ROOT, keys, self._lifetimes)
        self._image = MetadataFolder(tree / IMAGE_METADATA, keys, self._lifetimes)

    def create(self, now_ns: int) -> None:
        """Start with no vehicle; without effect when the repository exists."""
        if not self._root.is_started():
            self._root.start(DIRECTOR_KEYS, now_ns)

    def root_bytes(self) -> bytes:
        """Return the root that vehicles are delivered with."""
        return self._root.root_bytes()

    def enrol(self, vehicle_id: str, now_ns: int) -> None:
        """Begin a vehicle's metadata, with nothing assigned; without effect when it has some."""
        with self._writing():
            if self._vehicle(vehicle_id).published() is None:
                self._give_roots(vehicle_id)
                self._publish(vehicle_id, {}, now_ns)

    def assign(self, assignment: Assignment, now_ns: int) -> bool:
        """Assign a released bundle to a vehicle; assigning it again changes nothing.

        Returns:
            Whether anything was written.

        Raises:
            OperatorError: The vehicle is not enrolled, or the release is not published by the Image
                repository word for word.
        """
        path = manifest_path(assignment.release)
        released = published_targets(self._image).targets.get(path)
        if released is None or release_in(released) != assignment.release:
            raise OperatorError(f"{path} is not released like that; not assigned to any vehicle")
        target = TargetFile(released.length, released.hashes, path)
        target.unrecognized_fields["custom"] = as_custom(assignment)
        with self._writing():
            present = published_targets(self._vehicle(assignment.vehicle_id)).targets
            if present == {path: target}:
                return False
            self._publish(assignment.vehicle_id, {path: target}, now_ns)
        return True

    def vehicles(self) -> tuple[str, ...]:
        """List the enrolled vehicles."""
        found = (self._tree / "director").glob("*/metadata/timestamp.json")
        return tuple(sorted(path.parts[-3] for path in found))

    def renew(self, now_ns: int) -> tuple[str, ...]:
        """Sign afresh what has lived half its life; run it on a timer.

        Returns:
            The vehicles whose metadata was renewed.

        Raises:
            SignatureError: A private key is not here; nothing was written of that vehicle.
        """
        return tuple(v for v in self.vehicles() if self.renew_vehicle(v, now_ns))

    def renew_vehicle(self, vehicle_id: str, now_ns: int, *, waits: bool = True) -> bool:
        """Sign one vehicle's metadata afresh if it has lived half its life.

        Args:
            waits: Whether to wait for another process that changes the repository.

        Raises:
            SignatureError: A private key is not here; nothing was written.
            StoreUnavailableError: Another process changes the repository.
        """
        metadata = self._vehicle(vehicle_id)
        if not metadata.due(now_ns) & _ONLINE:
            return False
        with self._writing(waits=waits):
            return self._renew_vehicle(vehicle_id, now_ns)

    def expiries(self, vehicle_id: str) -> tuple[Expiry, ...]:
        """Return when each file that a vehicle sees expires."""
        return self._vehicle(vehicle_id).expiries(director_metadata(vehicle_id), _ONLINE)

    def rotate(self, role: str, old: str, new: str, now_ns: int) -> None:
        """Replace a key for every vehicle and sign everything afresh."""
        with self._writing():
            self._root.rotate(role, old, new, now_ns)
            for vehicle_id in self.vehicles():
                self._give_roots(vehicle_id)
                present = published_targets(self._vehicle(vehicle_id)).targets
                self._publish(vehicle_id, present, now_ns)

    def _renew_vehicle(self, vehicle_id: str, now_ns: int) -> bool:
        metadata = self._vehicle(vehicle_id)
        due = metadata.due(now_ns)
        if "targets" in due and metadata.can_sign("targets"):
            self._publish(vehicle_id, published_targets(metadata).targets, now_ns)
        elif due & {"snapshot", "timestamp"}:
            metadata.publish(None, now_ns)
        else:
            return False
        return True

    def _publish(self, vehicle_id: str, targets: dict[str, TargetFile], now_ns: int) -> None:
        metadata = self._vehicle(vehicle_id)
        draft = metadata.next_targets(now_ns)
        recipient = Recipient(vehicle_id=vehicle_id)
        draft.signed.unrecognized_fields["custom"] = as_custom(recipient)
        draft.signed.targets = targets
        if not metadata.sign(draft, "targets"):
            raise SignatureError(
                f"no private key of director targets is here; {vehicle_id} is told nothing new"
            )
        metadata.publish(draft, now_ns)

    def _give_roots(self, vehicle_id: str) -> None:
        for version in range(1, self._root.root().signed.version + 1):
            self._vehicle(vehicle_id).adopt_root(self._root.root_bytes(version))

    def _vehicle(self, vehicle_id: str) -> MetadataFolder:
        folder = self._tree / director_metadata(vehicle_id)
        return MetadataFolder(folder, self._keys, self._lifetimes)

    def _writing(self, *, waits: bool = True) -> AbstractContextManager[None]:
        return alone(self._tree / "director" / ".lock", waits=waits)
