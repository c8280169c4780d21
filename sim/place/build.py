"""Make the committed road networks: ``python -m sim.place.build``. Needs the extra ``maps``.

The ``recipe`` in a map's YAML file says how. SUMO's ``netgenerate`` draws a bare graph. Then dead ends
are pruned, so that no drive ever has to end, roads are bent, and every road gets one or two driving
lanes, a parking strip and a pavement on each side. SUMO's ``netconvert`` adds junctions, crossings and
traffic lights. The same recipe gives the same bytes: comments and stamps are stripped and the archive
carries no time.
"""

from __future__ import annotations

import gzip
import math
import re
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from edge.contracts.errors import OperatorError
from sim.place.description import NETS, NetRecipe, find_map, map_names, read_description

DRIVING_WIDTH_M = 3.25
PARKING_WIDTH_M = 2.4
PAVEMENT_WIDTH_M = 2.2
LONGEST_PHASE_S = 8

_NETCONVERT = (
    *("--crossings.guess", "true", "--crossings.guess.speed-threshold", "20"),
    *("--default.crossing-width", "3.5", "--walkingareas", "true"),
    *("--no-turnarounds", "true", "--junctions.limit-turn-speed", "2.5"),
    *("--tls.crossing-clearance.time", "3", "--junctions.internal-link-detail", "9"),
    *("--no-warnings", "true"),
)


def recipes() -> tuple[NetRecipe, ...]:
    """Return the recipe of every shipped map that has one."""
    told = (read_description(find_map(name)).recipe for name in map_names())
    return tuple(recipe for recipe in told if recipe is not None)


def build_net(recipe: NetRecipe) -> bytes:
    """Run the recipe and return the gzipped network.

    Raises:
        OperatorError: SUMO's tools are not installed, or one of them failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain"
        seed = ("--seed", str(recipe.seed))
        _run("netgenerate", *recipe.netgenerate, *seed, "--plain-output-prefix", str(plain))
        nodes = ElementTree.parse(f"{plain}.nod.xml").getroot()
        edges = ElementTree.parse(f"{plain}.edg.xml").getroot()
        _write(f"{plain}.nod.xml", _plain_nodes(nodes, edges, recipe))
        _write(f"{plain}.edg.xml", _plain_edges(nodes, edges, recipe))
        net = Path(folder) / "net.xml"
        files = ("-n", f"{plain}.nod.xml", "-e", f"{plain}.edg.xml", "-o", str(net))
        _run("netconvert", *files, *_NETCONVERT)
        text = net.read_text(encoding="utf-8")
    return gzip.compress(with_short_phases(stripped(text)).encode("utf-8"), mtime=0)


def stripped(text: str) -> str:
    """Take comments (stamp, version, paths) and schema addresses out of an XML text."""
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    return re.sub(r' xmlns:xsi="[^"]*"| xsi:\w+="[^"]*"', "", text)


def with_short_phases(text: str) -> str:
    """Cut the phases of all traffic lights to ``LONGEST_PHASE_S``: waiting teaches a network nothing."""
    return re.sub(
        r'(<phase duration=")(\d+)"',
        lambda phase: f'{phase[1]}{min(int(phase[2]), LONGEST_PHASE_S)}"',
        text,
    )


def roads_without_dead_ends(roads: set[frozenset[str]]) -> set[frozenset[str]]:
    """Prune roads to those of the largest connected part in which every junction has two roads."""
    roads = set(roads)
    while dead := {node for node, degree in _degrees(roads).items() if degree == 1}:
        roads = {road for road in roads if not road & dead}
    return max(_connected_parts(roads), key=lambda part: (len(part), sorted(map(sorted, part))))


def _degrees(roads: set[frozenset[str]]) -> dict[str, int]:
    degrees: dict[str, int] = {}
    for road in roads:
        for node in road:
            degrees[node] = degrees.get(node, 0) + 1
    return degrees


def _connected_parts(roads: set[frozenset[str]]) -> list[set[frozenset[str]]]:
    parts: list[set[frozenset[str]]] = []
    for road in roads:
        touching = [part for part in parts if any(road & other for other in part)]
        parts = [part for part in parts if part not in touching]
        parts.append({road}.union(*touching))
    return parts


def _positions(nodes: ElementTree.Element) -> dict[str, tuple[float, float]]:
    return {
        n.attrib["id"]: (float(n.attrib["x"]), float(n.attrib["y"])) for n in nodes.iter("node")
    }


def _roads(
    nodes: ElementTree.Element, edges: ElementTree.Element, recipe: NetRecipe
) -> set[frozenset[str]]:
    """Return the roads to build, each as its two junctions."""
    where = _positions(nodes)
    middle = np.mean(
        [np.min(list(where.values()), axis=0), np.max(list(where.values()), axis=0)], 0
    )
    half = np.array(recipe.extent_m) / 2.0
    inside = {name for name, at in where.items() if np.all(np.abs(np.array(at) - middle) <= half)}
    pairs = (frozenset((e.attrib["from"], e.attrib["to"])) for e in edges.iter("edge"))
    return roads_without_dead_ends({pair for pair in pairs if pair <= inside})


def _draw(recipe: NetRecipe, *keys: str) -> float:
    """Draw a number in [0, 1) that depends on the recipe and the keys alone, not on any order."""
    return zlib.crc32("|".join((recipe.name, str(recipe.seed), *keys)).encode()) / 2.0**32


def _plain_nodes(
    nodes: ElementTree.Element, edges: ElementTree.Element, recipe: NetRecipe
) -> ElementTree.Element:
    degrees = _degrees(_roads(nodes, edges, recipe))
    out = ElementTree.Element("nodes")
    for node in nodes.iter("node"):
        name = node.attrib["id"]
        if name not in degrees:
            continue
        is_drawn = degrees[name] == 3 and _draw(recipe, "light", name) < recipe.light_ratio
        has_light = degrees[name] > 3 or is_drawn
        kind = "traffic_light" if has_light else "priority"
        place = {"id": name, "x": node.attrib["x"], "y": node.attrib["y"]}
        ElementTree.SubElement(out, "node", {**place, "type": kind, "radius": "7"})
    return out


def _plain_edges(
    nodes: ElementTree.Element, edges: ElementTree.Element, recipe: NetRecipe
) -> ElementTree.Element:
    where = _positions(nodes)
    out = ElementTree.Element("edges")
    for road in sorted(map(sorted, _roads(nodes, edges, recipe))):
        first, last = road
        line = _bent_line(where[first], where[last], recipe, _draw(recipe, "bend", *road))
        lanes = (
            2
            if _draw(recipe, "lanes", _street_of(recipe, first, last)) < recipe.avenue_ratio
            else 1
        )
        speeds = recipe.speeds_mps
        speed = speeds[int(_draw(recipe, "speed", *road) * len(speeds))]
        for start, end, points in ((first, last, line), (last, first, line[::-1])):
            edge = ElementTree.SubElement(
                out,
                "edge",
                {
                    "id": f"{start}-{end}",
                    "from": start,
                    "to": end,
                    "numLanes": str(lanes + 2),
                    "speed": f"{speed:.2f}",
                    "priority": str(lanes),
                    "spreadType": "right",
                    "shape": " ".join(f"{x:.2f},{y:.2f}" for x, y in points),
                },
            )
            _add_lanes(edge, lanes)
    return out


def _add_lanes(edge: ElementTree.Element, driving_lanes: int) -> None:
    pavement = {"index": "0", "allow": "pedestrian", "width": str(PAVEMENT_WIDTH_M)}
    ElementTree.SubElement(edge, "lane", pavement)
    parking = {"index": "1", "disallow": "all", "width": str(PARKING_WIDTH_M)}
    ElementTree.SubElement(edge, "lane", parking)
    for index in range(2, driving_lanes + 2):
        driving = {
            "index": str(index),
            "disallow": "pedestrian",
            "width": str(DRIVING_WIDTH_M),
        }
        ElementTree.SubElement(edge, "lane", driving)


def _street_of(recipe: NetRecipe, first: str, last: str) -> str:
    """Name the street of a road: in a grid a whole row or column, elsewhere the road itself."""
    if recipe.netgenerate[0] != "--grid":
        return f"{first}-{last}"
    column, row = first[0], first[1:]
    return column if last[0] == column else row


def _bent_line(
    first: tuple[float, float],
    last: tuple[float, float],
    recipe: NetRecipe,
    draw: float,
) -> list[tuple[float, float]]:
    """Bend a straight road sideways by a sin^2 profile, which leaves its directions at the ends."""
    (x0, y0), (x1, y1) = first, last
    count = 2 if recipe.bend_ratio == 0.0 else 2 + int(math.hypot(x1 - x0, y1 - y0) / 8.0)
    bend = (2.0 * draw - 1.0) * recipe.bend_ratio
    line = []
    for t in np.linspace(0.0, 1.0, count):
        aside = bend * math.sin(math.pi * t) ** 2
        line.append(
            (
                float(x0 + t * (x1 - x0) - aside * (y1 - y0)),
                float(y0 + t * (y1 - y0) + aside * (x1 - x0)),
            )
        )
    return line


def _write(path: str, root: ElementTree.Element) -> None:
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _run(tool: str, *arguments: str) -> None:
    try:
        done = subprocess.run((tool, *arguments), capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise OperatorError(
            f"cannot build maps: {tool} is not installed; pip install 'ringroad[maps]'"
        ) from error
    if done.returncode != 0:
        raise OperatorError(
            f"{tool} failed with exit {done.returncode}: {done.stderr.strip()[-500:]}"
        )


def main() -> None:
    """Write the network of every shipped map beside its YAML file."""
    for recipe in recipes():
        path = NETS / f"{recipe.name}.net.xml.gz"
        path.write_bytes(build_net(recipe))
        sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
