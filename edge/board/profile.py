"""Name the kinds of boards that are known, and read what each costs: ``conf/device/<name>.yaml``."""

from __future__ import annotations

from conf.named import load
from edge.contracts.bundle import DeviceProfile


def device_profile(name: str) -> DeviceProfile:
    """Read the profile of one kind of board, or one of one's own by the path of its file.

    Raises:
        OperatorError: There is none of that name, or its file makes no sense.
    """
    return load("device", name, DeviceProfile, what="device profile")
