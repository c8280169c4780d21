"""Why an update did not go on. A refusal is a value: the vehicle keeps driving on what it has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge.contracts.errors import (
    CapacityError,
    HashMismatchError,
    LinkError,
    RollbackError,
    SchemaError,
    SignatureError,
)


class RefusalKind(StrEnum):
    """Kind of fault; only ``LINK`` and ``SPACE`` may pass by themselves."""

    LINK = "link"
    SPACE = "space"
    EXPIRED = "expired"
    SIGNATURE = "signature"
    ROLLBACK = "rollback"
    HASH = "hash"
    SCHEMA = "schema"
    FOREIGN_VEHICLE = "foreign_vehicle"
    AMBIGUOUS = "ambiguous"
    MISMATCH = "mismatch"
    PROFILE = "profile"
    CRITICAL = "critical"
    BAD_BUNDLE = "bad_bundle"
    PROBE = "probe"
    MEMORY_LOST = "memory_lost"


@dataclass(frozen=True)
class Refusal:
    """One refusal, with the bundle it is about when that is known."""

    kind: RefusalKind
    reason: str
    bundle_id: str | None = None

    @property
    def is_temporary(self) -> bool:
        """Return whether trying again later, unchanged, may succeed."""
        return self.kind in {RefusalKind.LINK, RefusalKind.SPACE}

    @property
    def is_verdict(self) -> bool:
        """Return whether it judges the bundle itself, and not the transfer."""
        return self.bundle_id is not None and self.kind in _VERDICTS


_VERDICTS = frozenset(
    {
        RefusalKind.PROBE,
        RefusalKind.BAD_BUNDLE,
        RefusalKind.PROFILE,
        RefusalKind.CRITICAL,
        RefusalKind.ROLLBACK,
        RefusalKind.SCHEMA,
    }
)

_KINDS: dict[type[Exception], RefusalKind] = {
    LinkError: RefusalKind.LINK,
    CapacityError: RefusalKind.SPACE,
    OSError: RefusalKind.SPACE,
    RollbackError: RefusalKind.ROLLBACK,
    HashMismatchError: RefusalKind.HASH,
    SignatureError: RefusalKind.SIGNATURE,
    SchemaError: RefusalKind.SCHEMA,
}


def refusal_of(error: Exception, bundle_id: str | None = None) -> Refusal:
    """Turn an error of the update path into the refusal it means, and name the bundle."""
    kind = next((k for cls, k in _KINDS.items() if isinstance(error, cls)), RefusalKind.SCHEMA)
    reason = str(error)
    if bundle_id is not None and not reason.startswith(f"bundle {bundle_id} "):
        reason = f"bundle {bundle_id} not installed: {reason}"
    return Refusal(kind, reason, bundle_id)
