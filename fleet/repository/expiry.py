"""Ends of signed metadata, and warnings for an operator before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.contracts.time import NS_PER_S

NEAR_RATIO = 0.25
"""Share of its life under which a file is late: files that are renewed at all are renewed at half life."""

_REMEDIES = {
    "root": "the holders of the root keys have to sign a new root",
    "targets": "`ringroad bundle renew --targets` drafts it afresh, two people sign and publish it",
}
_ONLINE_REMEDY = (
    "`ringroad fleet serve` renews it where its key is, `ringroad bundle renew` does it by hand"
)


@dataclass(frozen=True)
class Expiry:
    """The end of one metadata file."""

    file: str
    """Below the folder that is served, for instance ``image/metadata/timestamp.json``."""
    role: str
    expires_ns: int
    """UTC."""
    lifetime_ns: int
    """From its signature to its end."""
    is_online: bool
    """Whether the service renews it; else people do."""


def warnings_of(expiries: Sequence[Expiry], now_ns: int) -> list[str]:
    """Name, per kind of metadata, the first file that is expired or near it, and the remedy."""
    late = [e for e in expiries if e.expires_ns - now_ns < e.lifetime_ns * NEAR_RATIO]
    firsts: dict[str, Expiry] = {}
    for expiry in sorted(late, key=lambda e: e.expires_ns):
        firsts.setdefault("online" if expiry.is_online else expiry.role, expiry)
    return [_warning(expiry, now_ns) for expiry in firsts.values()]


def utc_text(at_ns: int) -> str:
    """Write a time for a person, for instance ``2027-01-15T08:00:00Z``."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _warning(expiry: Expiry, now_ns: int) -> str:
    verb = "expires" if expiry.expires_ns > now_ns else "expired"
    remedy = _ONLINE_REMEDY if expiry.is_online else _REMEDIES[expiry.role]
    return f"{expiry.file} {verb} {utc_text(expiry.expires_ns)}: {remedy}"
