"""Small drawings for the page: intervals on an axis, stacked bars, squares that can be counted.

Horizontal places are percentages and heights are pixels, without a viewBox: a drawing then grows
with its column while dots stay round and lines stay thin, on a telephone and on paper alike. Colours
come from the page by class name. Elements are built, never pasted, so nothing here needs escaping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

LANE_PX = 15
_DOT_PX = 4.5
_EDGE_RATIO = 0.02
"""Room left at both ends of an axis, so that a dot at zero is whole."""
_SQUARE_PX, _PITCH_PX = 11, 14
_SQUARES_PER_ROW = 20


@dataclass(frozen=True)
class Axis:
    """Values at the two ends of a drawing."""

    low: float = 0.0
    high: float = 1.0

    def place(self, value: float) -> str:
        """Return where a value stands, as a percentage."""
        ratio = (value - self.low) / (self.high - self.low)
        return _percent(_EDGE_RATIO + (1.0 - 2.0 * _EDGE_RATIO) * min(max(ratio, 0.0), 1.0))

    @property
    def ticks(self) -> tuple[float, ...]:
        """Five round values from end to end."""
        step = (self.high - self.low) / 4.0
        return tuple(self.low + k * step for k in range(5))


@dataclass(frozen=True)
class Mark:
    """A value with its bounds; ``name`` is the class that colours it and chooses its shape."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BarPart:
    """A piece of a bar."""

    name: str
    value: float


def interval_plot(marks: Sequence[Mark], axis: Axis, *, label: str) -> str:
    """Draw one lane per mark: a line over its interval and a dot at its value."""
    svg = _svg(LANE_PX * len(marks) + 4, label, "plot")
    for tick in axis.ticks:
        place = axis.place(tick)
        _add(svg, "line", class_="grid", x1=place, x2=place, y1="0", y2="100%")
    for k, mark in enumerate(marks):
        y = 2 + LANE_PX * k + LANE_PX / 2
        group = _add(svg, "g", class_=mark.name)
        ends = {"x1": axis.place(mark.low), "x2": axis.place(mark.high)}
        _add(group, "line", class_="whisker", y1=y, y2=y, **ends)
        # A nested drawing moves a shape to a percentage, which a path by itself cannot.
        _dot(_add(group, "svg", x=axis.place(mark.value), y=y, overflow="visible"), mark.name)
    return _text_of(svg)


def axis_labels(axis: Axis) -> str:
    """Write the axis' values above its plots."""
    svg = _svg(16, f"axis from {axis.low:g} to {axis.high:g}", "plot axis")
    for tick in axis.ticks:
        _add(svg, "text", x=axis.place(tick), y=12).text = f"{tick:g}"
    return _text_of(svg)


def bar(parts: Sequence[BarPart], of: float, *, label: str, height_px: int = 12) -> str:
    """Draw parts one after the other, as long as their share of ``of``."""
    svg = _svg(height_px, label, "bar")
    _add(svg, "rect", class_="track", x=0, y=0, width="100%", height="100%")
    start = 0.0
    for part in parts:
        share = part.value / of if of > 0.0 else 0.0
        if share > 0.0:
            sides = {"x": _percent(start), "width": _percent(share)}
            _add(svg, "rect", class_=part.name, y=0, height="100%", **sides)
        start += share
    return _text_of(svg)


def squares(filled: int, count: int, *, name: str, label: str) -> str:
    """Draw ``count`` small squares, the first ``filled`` of them full."""
    rows = max(1, -(-count // _SQUARES_PER_ROW))
    svg = _svg(rows * _PITCH_PX, label, f"squares {name}")
    svg.set("width", str(_SQUARES_PER_ROW * _PITCH_PX))
    for k in range(count):
        row, column = divmod(k, _SQUARES_PER_ROW)
        _add(
            svg,
            "rect",
            class_="full" if k < filled else "empty",
            x=column * _PITCH_PX + 1,
            y=row * _PITCH_PX + 1,
            width=_SQUARE_PX,
            height=_SQUARE_PX,
            rx=2,
        )
    return _text_of(svg)


def _dot(parent: ET.Element, name: str) -> None:
    """Draw a shape that can be told from the others without its colour."""
    if name == "incumbent":
        _add(parent, "circle", class_="dot hollow", r=_DOT_PX - 0.5)
    elif name == "control":
        side = 2.0 * _DOT_PX - 2.0
        square = {"x": -side / 2, "y": -side / 2, "width": side, "height": side}
        _add(parent, "rect", class_="dot", **square)
    else:
        _add(parent, "circle", class_="dot", r=_DOT_PX)


def _svg(height_px: float, label: str, name: str) -> ET.Element:
    attributes = {"class": name, "width": "100%", "height": _number(height_px)}
    return ET.Element("svg", {**attributes, "role": "img", "aria-label": label})


def _add(parent: ET.Element, tag: str, **attributes: str | float) -> ET.Element:
    named = {
        key.rstrip("_"): value if isinstance(value, str) else _number(value)
        for key, value in attributes.items()
    }
    return ET.SubElement(parent, tag, named)


def _text_of(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")


def _percent(ratio: float) -> str:
    return f"{_number(100.0 * ratio)}%"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
