"""What the tests of the page share: a lap on paper, and a reader of pages."""

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from fleet.evaluate import Decision, Reason
from sim.lap.record import (
    BoundedScore,
    ClassScore,
    ClipCounts,
    Contestant,
    Deadline,
    DriveRecord,
    GateCounts,
    LapLabelCounts,
    LapRecord,
    SliceScore,
    StageCost,
    VehicleEnd,
    VerdictRecord,
    WaveRecord,
)
from sim.lap.report import (
    Picture,
    PictureKind,
)

VEHICLES = ("v-01", "v-02", "v-03")


def _span(value: float, half: float = 0.08) -> BoundedScore:
    return BoundedScore(value=value, low=max(0.0, value - half), high=value + half)


def _contestant(bundle_id: str | None, animal: float, near: float, ap: float) -> Contestant:
    scores = (
        ("animal", "recall", _span(animal), 211),
        ("animal_near", "recall", _span(near, 0.11), 37),
        ("animal_night", "recall", None, 0),
        ("ordinary", "map", _span(ap, 0.015), 8417),
        ("pedestrian_night", "ap", _span(ap - 0.09, 0.03), 623),
    )
    return Contestant(
        bundle_id=bundle_id,
        slices=tuple(SliceScore(slice=s, metric=m, score=v, truths=n) for s, m, v, n in scores),
        plan_l2_m=_span(1.77 + animal),
        forecast_ade_m=_span(1.02 + near),
    )


def _rules(decision: Decision) -> tuple[Reason, ...]:
    guard = {
        Decision.PASS: ("-0.004 [-0.012, +0.003]", Decision.PASS),
        Decision.FAIL: ("-0.051 [-0.071, -0.035]", Decision.FAIL),
        Decision.NOT_ENOUGH_EVIDENCE: (
            "-0.011 [-0.062, +0.035]",
            Decision.NOT_ENOUGH_EVIDENCE,
        ),
    }[decision]
    ordinary = "ordinary mAP, candidate minus incumbent"
    rows = (
        ("encounters of animal", Decision.PASS, "at least 60 encounters", "72"),
        (
            "recall of animal, candidate minus incumbent",
            Decision.PASS,
            "interval above +0.000",
            "+0.41 [+0.33, +0.49]",
        ),
        (ordinary, guard[1], "interval above -0.030", guard[0]),
    )
    return tuple(Reason(rule=r, outcome=o, expected=e, got=g) for r, o, e, g in rows)


def _guarded(decision: Decision, *, has_anchor: bool) -> tuple[ClassScore, ...]:
    """Two guarded classes; in a later lap the anchor stands beside the incumbent."""
    fallen = ClassScore(
        category="bicycle",
        truths=767,
        candidate=0.373,
        incumbent=0.467,
        anchor=0.502 if has_anchor else None,
        over_incumbent=BoundedScore(value=-0.094, low=-0.13, high=-0.058),
        over_anchor=BoundedScore(value=-0.129, low=-0.171, high=-0.083) if has_anchor else None,
        outcome=str(decision),
    )
    kept = ClassScore(
        category="traffic_cone",
        truths=3464,
        candidate=0.52,
        incumbent=0.496,
        anchor=0.488 if has_anchor else None,
        over_incumbent=BoundedScore(value=0.024, low=0.012, high=0.041),
        over_anchor=BoundedScore(value=0.032, low=0.011, high=0.052) if has_anchor else None,
        outcome="pass",
    )
    return (fallen, kept)


def _lap_record(
    decision: Decision = Decision.PASS, *, lap: int = 1, **changes: object
) -> LapRecord:
    """A lap with believable numbers, no two of them alike where it matters."""
    start = 0.0 if lap == 1 else 0.41 + 0.05 * (lap - 2)
    incumbent, candidate = f"b-{lap:032x}", f"b-{lap + 1:032x}"
    is_passed = decision is Decision.PASS
    reasons = _rules(decision)
    drives = tuple(
        DriveRecord(
            vehicle_id=vehicle,
            drive_id=f"{vehicle}-{kind}-{lap}",
            bundle_id=candidate if is_passed and kind == "after" else incumbent,
            scenario="animal_crossing",
            ticks=ticks - 20,
            seconds=(ticks - 20) / 36,
            faults=k,
            collisions=1 if kind == "before" and k == 1 else 0,
            progress_m=5.5 * ticks / 36 + k,
            rungs={"full": ticks - 41 - k, "small": 16, "radar_only": 5 + k},
            measures={"standing_ratio": 0.125 + 0.25 * k},
            is_redrive=kind == "after",
        )
        for kind, ticks in (("before", 2160), ("after", 1080))
        for k, vehicle in enumerate(VEHICLES)
    )
    stages = (
        ("drive", 98.2, 171.4, "three worlds, 60 s each"),
        ("upload", 6.1, 7.3, "over loopback, encrypted"),
        ("label", 41.7, 52.9, "hindsight, then the review queue"),
        ("dataset", 3.3, 3.1, "frozen by content"),
        ("train", 131.6, 254.8, "candidate and control side by side"),
        ("evaluate", 118.4, 208.5, "through the vehicle's own code"),
        ("bundle", 5.2, 6.6, "two signatures"),
        ("rollout", 12.9, 14.7, "canary, then the rest"),
        ("redrive", 55.8, 97.1, "30 s each"),
    )
    values: dict[str, object] = {
        "seed": 7,
        "lap": lap,
        "stages": tuple(
            StageCost(name=n, seconds=s, cpu_seconds=c, note=t) for n, s, c, t in stages
        ),
        "ticks": sum(drive.ticks for drive in drives),
        "drives": drives,
        "deadline": Deadline(
            p50_ms=21.34, p99_ms=44.81, max_ms=131.92, missed=4, modelled_p99_ms=19.57
        ),
        "clips": ClipCounts(
            captured=64,
            evicted=19,
            uploaded=45,
            admitted=43,
            quarantined=2,
            bytes_uploaded=183_442_907,
            with_rare_triggered=22,
            triggered=31,
            with_rare_random=3,
            random=12,
        ),
        "labels": LapLabelCounts(
            auto=3127,
            reviewed=268,
            masked=451,
            questions=95,
            asked=80,
            reviewer_seconds=1_284.5,
        ),
        "dataset_id": "d-5f1c9e0b7a3348d2",
        "claim": "animal",
        "claimed_slice": "animal",
        "incumbent": _contestant(incumbent, start, start + 0.03, 0.612),
        "candidate": _contestant(
            candidate, start + 0.41 if lap == 1 else start + 0.05, 0.73, 0.608
        ),
        "control": _contestant(None, 0.08, 0.14, 0.614),
        "straight_l2_m": _span(2.27),
        "gate": GateCounts(frames=1312, places=118, encounters=72, futures=1197),
        "verdict": VerdictRecord(
            decision=str(decision),
            reasons=tuple(map(str, reasons)),
            rules=reasons,
            classes=_guarded(decision, has_anchor=lap > 1),
        ),
        "rollout": (
            WaveRecord(vehicles=VEHICLES[:1], state="passed", reason="canary: 324 ticks, no fault"),
            WaveRecord(vehicles=VEHICLES[1:], state="passed"),
        )
        if is_passed
        else (),
        "vehicles": tuple(
            VehicleEnd(vehicle_id=v, bundle_id=candidate if is_passed else incumbent, phase="idle")
            for v in VEHICLES
        ),
    }
    return LapRecord(**(values | changes))  # type: ignore[arg-type]


class _Page(HTMLParser):
    """What a reader's program finds in a page: text, tags in order, and whether every tag is closed."""

    VOID = frozenset({"meta", "link", "img"})

    def __init__(self, content: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute of {tag} stands twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self._open or tag == "svg", f"<{tag}/> closes itself only inside a drawing"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


_PICTURES = tuple(
    Picture(title=title, caption=f"{title} of {clip}", png=b"\x89PNG", kind=kind, clip_id=clip)
    for clip, kind, title in (
        ("c-1", PictureKind.BIRDS_EYE, "From above"),
        ("c-1", PictureKind.EDGE_CASE, "Incumbent"),
        ("c-2", PictureKind.EDGE_CASE, "Incumbent"),
        ("c-1", PictureKind.EDGE_CASE, "Candidate"),
        ("c-1", PictureKind.MOSAIC, "Eight cameras"),
    )
)


@pytest.fixture
def lap_record() -> Callable[..., LapRecord]:
    """Make a lap with believable numbers; what a test names replaces its field."""
    return _lap_record


@pytest.fixture
def span() -> Callable[..., BoundedScore]:
    """Make an interval of a value and its half width."""
    return _span


@pytest.fixture
def read_page() -> Callable[[str], Any]:
    """Parse a page as a reader's program does."""
    return _Page


@pytest.fixture
def pictures() -> tuple[Picture, ...]:
    """Pictures of two clips, in no order."""
    return _PICTURES
