"""Name the kinds of boards that are known, and read what each costs: ``conf/device/<name>.yaml``."""

from __future__ import annotations

from importlib.resources import files

from omegaconf import OmegaConf

from conf.compose import settings_from
from edge.contracts.bundle import DeviceProfile
from edge.contracts.errors import OperatorError


def device_names() -> tuple[str, ...]:
    """List the kinds of boards that have a profile."""
    folder = files("conf") / "device"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml")))


def device_profile(name: str) -> DeviceProfile:
    """Read the profile of one kind of board.

    Raises:
        OperatorError: There is none of that name, or its file makes no sense.
    """
    if name not in device_names():
        raise OperatorError(
            f"there is no device profile {name!r}; there are {', '.join(device_names())}"
        )
    text = (files("conf") / "device" / f"{name}.yaml").read_text(encoding="utf-8")
    values = OmegaConf.to_container(OmegaConf.create(text))
    return settings_from(values, DeviceProfile, origin=f"device profile {name}")
