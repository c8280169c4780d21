import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edge.contracts.geometry import Pose
from edge.contracts.rig import Rig
from edge.contracts.scene import Box3D, Category
from edge.contracts.sensors import (
    EgoState,
    Frame,
    FrameSet,
    FrameStatus,
    RadarScan,
    UltrasonicScan,
    frames_of,
)
from fleet.evaluate import SLICES, Decision, Reason
from sim.lap.record import (
    ClassScore,
    ClipCounts,
    Contestant,
    Deadline,
    DriveRecord,
    GateCounts,
    Interval,
    LabelCounts,
    LapRecord,
    SliceScore,
    StageCost,
    VehicleEnd,
    VerdictRecord,
    WaveRecord,
)
from sim.lap.report import (
    EdgeCase,
    Picture,
    PictureKind,
    clarity_px,
    edge_case_pictures,
    mosaic_picture,
    write_report,
)
from sim.lap.report.charts import Axis, Mark, Part, bar, interval_plot, squares
from sim.lap.report.history import lap_matrix
from sim.lap.report.loop import steps
from sim.lap.report.page import render
from sim.lap.report.rows import class_rows, rungs, uplink, wilson
from sim.lap.report.words import outcome
from sim.place.ground import Ground
from sim.render.cameras import Renderer
from sim.show.pictures import CANDIDATE_RGB, INCUMBENT_RGB, TRUTH_RGB
from sim.world.snapshot import Entity, Snapshot

VEHICLES = ("v-01", "v-02", "v-03")
HOSTILE = '<script>alert("x")</script><img src="https://example.org/x.png" onerror=a()>&lt;'


def span(value: float, half: float = 0.08) -> Interval:
    return Interval(value=value, low=max(0.0, value - half), high=value + half)


def contestant(bundle_id: str | None, animal: float, near: float, ap: float) -> Contestant:
    scores = (
        ("animal", "recall", span(animal), 211),
        ("animal_near", "recall", span(near, 0.11), 37),
        ("animal_night", "recall", None, 0),
        ("ordinary", "map", span(ap, 0.015), 8417),
        ("pedestrian_night", "ap", span(ap - 0.09, 0.03), 623),
    )
    return Contestant(
        bundle_id=bundle_id,
        slices=tuple(SliceScore(slice=s, metric=m, score=v, truths=n) for s, m, v, n in scores),
        plan_l2_m=span(1.77 + animal),
        forecast_ade_m=span(1.02 + near),
    )


def rules(decision: Decision) -> tuple[Reason, ...]:
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


def guarded(decision: Decision, *, has_anchor: bool) -> tuple[ClassScore, ...]:
    """Two guarded classes; in a later lap the anchor stands beside the incumbent."""
    fallen = ClassScore(
        category="bicycle",
        truths=767,
        candidate=0.373,
        incumbent=0.467,
        anchor=0.502 if has_anchor else None,
        over_incumbent=Interval(value=-0.094, low=-0.13, high=-0.058),
        over_anchor=Interval(value=-0.129, low=-0.171, high=-0.083) if has_anchor else None,
        outcome=str(decision),
    )
    kept = ClassScore(
        category="traffic_cone",
        truths=3464,
        candidate=0.52,
        incumbent=0.496,
        anchor=0.488 if has_anchor else None,
        over_incumbent=Interval(value=0.024, low=0.012, high=0.041),
        over_anchor=Interval(value=0.032, low=0.011, high=0.052) if has_anchor else None,
        outcome="pass",
    )
    return (fallen, kept)


def lap_record(decision: Decision = Decision.PASS, *, lap: int = 1, **changes: object) -> LapRecord:
    """A lap with believable numbers, no two of them alike where it matters."""
    start = 0.0 if lap == 1 else 0.41 + 0.05 * (lap - 2)
    incumbent, candidate = f"b-{lap:032x}", f"b-{lap + 1:032x}"
    is_passed = decision is Decision.PASS
    reasons = rules(decision)
    drives = tuple(
        DriveRecord(
            vehicle_id=vehicle,
            drive_id=f"{vehicle}-{kind}-{lap}",
            bundle_id=candidate if is_passed and kind == "after" else incumbent,
            scenario="animal_crossing",
            ticks=ticks - 20,
            faults=k,
            collisions=1 if kind == "before" and k == 1 else 0,
            progress_m=5.5 * ticks / 36 + k,
            rungs={"full": ticks - 41 - k, "small": 16, "radar_only": 5 + k},
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
        "labels": LabelCounts(
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
        "incumbent": contestant(incumbent, start, start + 0.03, 0.612),
        "candidate": contestant(candidate, start + 0.41 if lap == 1 else start + 0.05, 0.73, 0.608),
        "control": contestant(None, 0.08, 0.14, 0.614),
        "straight_l2_m": span(2.27),
        "gate": GateCounts(frames=1312, places=118, encounters=72, futures=1197),
        "verdict": VerdictRecord(
            decision=str(decision),
            reasons=tuple(map(str, reasons)),
            rules=reasons,
            classes=guarded(decision, has_anchor=lap > 1),
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


class Page(HTMLParser):
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


PICTURES = tuple(
    Picture(title=title, caption=f"{title} of {clip}", png=b"\x89PNG", kind=kind, clip_id=clip)
    for clip, kind, title in (
        ("c-1", PictureKind.BIRDS_EYE, "From above"),
        ("c-1", PictureKind.EDGE_CASE, "Incumbent"),
        ("c-2", PictureKind.EDGE_CASE, "Incumbent"),
        ("c-1", PictureKind.EDGE_CASE, "Candidate"),
        ("c-1", PictureKind.MOSAIC, "Eight cameras"),
    )
)


@pytest.fixture(params=[*Decision, "one lap of three", "no history", "nothing measured"])
def page(request: pytest.FixtureRequest) -> str:
    """A page of every kind."""
    if request.param == "one lap of three":
        return render(lap_record(lap=3), PICTURES, [lap_record(lap=1), lap_record(lap=2)])
    if request.param == "no history":
        return render(lap_record(lap=2), ())
    if request.param == "nothing measured":
        empty = Contestant(slices=())
        models = {"incumbent": empty, "candidate": empty, "control": empty}
        return render(lap_record(Decision.NOT_ENOUGH_EVIDENCE, is_quick=True, **models), ())
    return render(lap_record(request.param), PICTURES)


def renumbered(value: object, count: Iterator[int]) -> object:
    """Give a record's parts with every number replaced by one that stands nowhere else."""
    if isinstance(value, dict):
        return {key: renumbered(part, count) for key, part in value.items()}
    if isinstance(value, list):
        return [renumbered(part, count) for part in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return type(value)(next(count)) if is_number else value  # type: ignore[call-arg]


def test_page_asks_nothing_of_the_network(page: str) -> None:
    parsed = Page(page)
    links = [a[k] or "" for _, a in parsed.tags for k in ("src", "href", "action") if k in a]
    assert links and all(link.startswith("data:") for link in links)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|srcset|xlink", page)
    (policy,) = [a for a in parsed.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_page_is_well_formed_and_can_be_read_without_eyes(page: str) -> None:
    parsed = Page(page)
    assert parsed.all("html") == [{"lang": "en"}] and len(parsed.all("h1")) == 1
    assert all(image["alt"] for image in parsed.all("img"))
    drawings = [a for a in parsed.all("svg") if "height" in a]
    assert drawings
    assert all(a.get("aria-hidden") or (a["role"] == "img" and a["aria-label"]) for a in drawings)
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in parsed.tags if "aria-labelledby" in a} <= set(ids)


@pytest.mark.parametrize("decision", list(Decision))
def test_every_number_of_the_record_is_on_the_page(decision: Decision) -> None:
    first = 20_001
    count = iter(range(first, 90_000))
    parts = renumbered(msgspec.json.decode(msgspec.json.encode(lap_record(decision))), count)
    record, end = msgspec.convert(parts, LapRecord), next(count)
    assert end - first > 120
    text = Page(render(record, ())).text.replace(",", "")
    shown = {int(found) for found in re.findall(r"(?<!\d)\d{5}(?!\d)", text)}
    fewer = {s.truths for model in (record.incumbent, record.candidate) for s in model.slices}
    assert set(range(first, end)) - shown == fewer, "of a slice's counts the largest is shown"


@pytest.mark.parametrize("decision", list(Decision))
def test_every_rule_and_every_id_is_on_the_page(decision: Decision) -> None:
    record = lap_record(decision)
    text = Page(render(record, ())).text
    for rule in record.verdict.rules:
        assert rule.rule in text and rule.expected in text and rule.got in text
    ids = [record.dataset_id, record.incumbent.bundle_id, record.candidate.bundle_id]
    assert all(identity in text for identity in ids if identity)


def test_errors_of_plans_and_forecasts_stand_beside_driving_straight_on() -> None:
    text = Page(render(lap_record(), ())).text
    plan = "Plan, L2 1.77 [1.69, 1.85] 1.85 [1.77, 1.93] 2.18 [2.10, 2.26] +0.41"
    assert plan in text
    assert "Straight on at constant speed 2.27 [2.19, 2.35]" in text
    assert "on 1,197 of the frames" in text


def test_lap_of_a_time_when_nobody_measured_plans_still_has_its_page() -> None:
    record = msgspec.json.decode(msgspec.json.encode(lap_record()))
    for model in ("incumbent", "candidate", "control"):
        del record[model]["plan_l2_m"], record[model]["forecast_ade_m"]
    del record["straight_l2_m"], record["gate"]["futures"]
    assert "Plans and forecasts" not in render(msgspec.convert(record, LapRecord), ())


def test_reasons_stand_as_they_are_where_the_record_has_no_rules() -> None:
    record = lap_record()
    verdict = VerdictRecord(decision="pass", reasons=record.verdict.reasons)
    text = Page(render(lap_record(verdict=verdict), ())).text
    assert all(reason in text for reason in verdict.reasons)


def test_every_guarded_class_stands_with_its_change_and_its_answer() -> None:
    text = Page(render(lap_record(Decision.FAIL), ())).text
    assert "bicycle 767 0.467 0.373 −0.094 [−0.130, −0.058] failed" in text
    assert "traffic cone 3,464 0.496 0.520 +0.024 [+0.012, +0.041] passed" in text
    assert "The incumbent is the shipped baseline, so it is the anchor too." in text


def test_a_later_lap_shows_the_anchor_beside_the_incumbent() -> None:
    record = lap_record(Decision.FAIL, lap=2)
    text = Page(render(record, (), [lap_record()])).text
    changes = "−0.094 [−0.130, −0.058] −0.129 [−0.171, −0.083]"
    assert f"bicycle 767 0.467 0.502 0.373 {changes} failed" in text
    rows = class_rows(record)
    assert [row["anchor"] for row in rows] == [0.502, 0.488]
    assert rows[0]["answer"] == "failed"
    assert "anchor" not in class_rows(lap_record())[0]


def test_a_record_without_guarded_classes_still_has_its_page() -> None:
    record = lap_record()
    verdict = VerdictRecord(decision="pass", reasons=(), rules=record.verdict.rules)
    assert "Class by class" not in Page(render(lap_record(verdict=verdict), ())).text


def test_hostile_text_is_shown_and_never_obeyed() -> None:
    rule = Reason(rule=HOSTILE, outcome=Decision.FAIL, expected=HOSTILE, got=HOSTILE)
    record = lap_record(
        Decision.FAIL,
        dataset_id=HOSTILE,
        claim=HOSTILE,
        claimed_slice=HOSTILE,
        stages=(StageCost(name=HOSTILE, seconds=1.0, cpu_seconds=1.0, note=HOSTILE),),
        incumbent=Contestant(
            bundle_id=HOSTILE,
            slices=(SliceScore(slice=HOSTILE, metric="recall", score=span(0.5), truths=1),),
        ),
        verdict=VerdictRecord(decision="fail", reasons=(HOSTILE,), rules=(rule,)),
        rollout=(WaveRecord(vehicles=(HOSTILE,), state=HOSTILE, reason=HOSTILE),),
        vehicles=(VehicleEnd(vehicle_id=HOSTILE, bundle_id=HOSTILE, phase=HOSTILE),),
        drives=(
            DriveRecord(
                vehicle_id=HOSTILE,
                drive_id=HOSTILE,
                bundle_id=HOSTILE,
                scenario=HOSTILE,
                ticks=1,
                faults=0,
                collisions=0,
                progress_m=1.0,
                rungs={HOSTILE: 1},
            ),
        ),
    )
    picture = Picture(
        title=HOSTILE, caption=HOSTILE, png=b"", kind=PictureKind.EDGE_CASE, clip_id=HOSTILE
    )
    page = Page(render(record, (picture,), [lap_record(lap=9, claimed_slice=HOSTILE)]))
    assert page.all("script") == []
    assert len(page.all("img")) == 1 and not any("onerror" in a for _, a in page.tags)
    assert page.text.count('<script>alert("x")</script>') > 15


def test_clips_that_labelling_skipped_stand_on_the_page_with_their_reasons() -> None:
    words = (
        "clip aaaaaaaaaaaa of v-01: it is cut",
        "clip bbbbbbbbbbbb of v-01: its bytes hash to <i>",
    )
    text = Page(render(lap_record(skipped=words), ())).text
    assert all(f"Skipped: {line}" in text for line in words)
    assert "Skipped" not in Page(render(lap_record(), ())).text


def test_same_record_gives_the_same_page(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(lap_record(lap=2), PICTURES, tmp_path / name, [lap_record(lap=1)])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_record_survives_its_own_json() -> None:
    record = lap_record(Decision.FAIL)
    assert msgspec.json.decode(msgspec.json.encode(record), type=LapRecord) == record


# --- the sentence -------------------------------------------------------------------------------


def said(record: LapRecord) -> str:
    return outcome(record).sentence.replace("\u00a0", " ")


def test_sentence_of_a_pass_names_before_after_control_and_the_fleet() -> None:
    assert said(lap_record()) == (
        "The candidate finds animals that the incumbent missed: "
        "recall 0.00 → 0.41 [0.33, 0.49], control 0.08; "
        "promoted to 3 of 3 vehicles."
    )
    assert said(lap_record(lap=2)).startswith("The candidate finds more animals: recall 0.41")
    assert outcome(lap_record()).because == "All 3 rules of the gate passed."


def test_sentence_names_the_claimed_slice_and_not_its_class() -> None:
    score = SliceScore(slice="overturned_truck", metric="recall", score=span(0.5), truths=9)
    candidate = Contestant(bundle_id=lap_record().candidate.bundle_id, slices=(score,))
    record = lap_record(claimed_slice="overturned_truck", candidate=candidate)
    assert said(record).startswith(
        "The candidate finds overturned trucks that the incumbent missed: recall 0.50"
    )


def test_terminal_hears_outcome_and_reason_in_one_line_of_plain_blanks() -> None:
    line = outcome(lap_record(Decision.FAIL)).line
    assert "\u00a0" not in line and "\n" not in line
    assert line.startswith("The candidate for animals was refused: recall 0.00 → 0.41")
    assert line.endswith("got -0.051 [-0.071, -0.035].")


def test_sentence_of_a_refusal_names_the_rule_and_who_keeps_driving() -> None:
    record = lap_record(Decision.FAIL)
    assert said(record).startswith("The candidate for animals was refused: recall 0.00 → 0.41")
    assert said(record).endswith("3 of 3 vehicles keep the incumbent.")
    assert outcome(record).because == (
        "Of 3 rules, “ordinary mAP, candidate minus incumbent” failed: "
        "expected interval above -0.030, got -0.051 [-0.071, -0.035]."
    )


def test_sentence_without_enough_evidence_is_no_failure() -> None:
    record = lap_record(Decision.NOT_ENOUGH_EVIDENCE)
    assert said(record).startswith("Too little evidence to judge the candidate for animals")
    assert "lacked evidence" in outcome(record).because and "fail" not in said(record)


def test_pass_whose_rollout_halted_says_so() -> None:
    passed = lap_record()
    kept = tuple(
        VehicleEnd(vehicle_id=v, bundle_id=str(passed.incumbent.bundle_id), phase="idle")
        for v in VEHICLES
    )
    wave = WaveRecord(vehicles=VEHICLES[:1], state="halted", reason="v-01 fell silent")
    record = lap_record(vehicles=kept, rollout=(wave,))
    assert outcome(record).label == "Rollout stopped"
    assert said(record).endswith("the rollout stopped with 0 of 3 vehicles on it.")
    assert "v-01 fell silent" in outcome(record).because


def test_sentence_stands_without_numbers_too() -> None:
    record = lap_record(candidate=Contestant(bundle_id="b-2", slices=()))
    assert "recall" not in said(record)


# --- tables and drawings ------------------------------------------------------------------------


def test_stages_are_timed_at_their_step_of_the_loop() -> None:
    seconds = {step.title: step.seconds for step in steps(lap_record())}
    assert seconds["Drive"] == pytest.approx(98.2), "the second drive is not the first"
    assert seconds["Learn"] == pytest.approx(3.3 + 131.6)
    assert seconds["Sign and roll out"] == pytest.approx(5.2 + 12.9)
    assert seconds["Admit"] is None


def test_drives_before_and_after_the_gate_are_summed_apart() -> None:
    text = Page(render(lap_record(), ())).text
    assert "Before the gate 3 drives, 6,420 ticks, 993 m, 3 faults, 1 collision " in text
    assert "After the gate 3 drives, 3,180 ticks, 498 m, 3 faults, 0 collisions " in text


def test_drive_counts_the_ticks_before_the_gate_alone() -> None:
    (drive,) = [step for step in steps(lap_record()) if step.title == "Drive"]
    assert drive.lines == ("3 vehicles", "6,420 ticks")


def test_rungs_that_were_never_used_are_left_out() -> None:
    drive = msgspec.structs.replace(
        lap_record().drives[0], rungs={"minimum_risk": 3, "small": 0, "full": 2157, "unknown": 0}
    )
    assert rungs(drive) == [("full", 2157), ("minimum_risk", 3)]


def test_uplink_is_told_per_clip_per_minute_and_per_find() -> None:
    clips = msgspec.structs.replace(
        lap_record().clips, uploaded=20, bytes_uploaded=321_000_000, with_rare_triggered=10
    )
    # Three drives of 2,140 ticks at 36 Hz are 2.97 minutes.
    found = uplink(lap_record(clips=clips))
    assert found is not None
    assert (found.per_clip_bytes, found.per_find_bytes) == (16_050_000, 32_100_000)
    assert found.per_minute_bytes == 108_000_000
    nothing = msgspec.structs.replace(clips, uploaded=0, bytes_uploaded=0)
    assert uplink(lap_record(clips=nothing)) is None


def test_three_laps_show_what_was_kept() -> None:
    laps = [lap_record(lap=k) for k in (1, 2, 3)]
    rows = {row.slice: row for row in lap_matrix(laps)}
    assert rows["animal"].scores == pytest.approx((0.0, 0.41, 0.46, 0.51))
    assert rows["animal"].claimed_in == 1 and rows["animal"].forward is None
    assert rows["animal"].backward == pytest.approx(0.10)
    assert rows["animal"].forgetting == pytest.approx(-0.05)
    assert rows["ordinary"].backward is None
    assert rows["ordinary"].forgetting == pytest.approx(0.612 - 0.608)
    assert rows["animal_night"].forgetting is None


def test_slice_claimed_later_has_forward_transfer() -> None:
    second = lap_record(lap=2, claimed_slice="pedestrian_night")
    scores = tuple(
        SliceScore(slice="pedestrian_night", metric="recall", score=span(v), truths=9)
        for v in (0.2, 0.3, 0.6)
    )
    laps = [
        lap_record(
            incumbent=Contestant(bundle_id="b-1", slices=scores[:1]),
            candidate=Contestant(
                bundle_id=lap_record().candidate.bundle_id, slices=(*scores[1:2],)
            ),
        ),
        lap_record(
            lap=2,
            claimed_slice="pedestrian_night",
            candidate=Contestant(bundle_id=second.candidate.bundle_id, slices=scores[2:]),
        ),
    ]
    (row,) = lap_matrix(laps)
    assert row.claimed_in == 2 and row.scores == pytest.approx((0.2, 0.3, 0.6))
    assert row.forward == pytest.approx(0.1) and row.backward is None


def test_refused_candidate_leaves_no_trace_in_the_matrix() -> None:
    rows = {row.slice: row for row in lap_matrix([lap_record(Decision.FAIL)])}
    assert rows["animal"].scores == pytest.approx((0.0, 0.0))


def test_history_may_hold_the_lap_itself() -> None:
    laps = [lap_record(lap=1), lap_record(lap=2)]
    assert render(laps[1], (), laps) == render(laps[1], (), laps[:1])


@pytest.mark.parametrize(
    ("hits", "draws", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634)]
)
def test_wilson_interval(hits: int, draws: int, low: float, high: float) -> None:
    bounds = wilson(hits, draws)
    assert (bounds.low, bounds.high) == pytest.approx((low, high), abs=1e-4)


def test_axis_leaves_room_for_the_dots_at_its_ends() -> None:
    assert [Axis().place(v) for v in (0.0, 0.5, 1.0)] == ["2%", "50%", "98%"]
    assert Axis(-1.0, 1.0).place(0.0) == "50%"


def test_interval_reaches_from_bound_to_bound() -> None:
    drawing = interval_plot([Mark("candidate", 0.5, 0.25, 0.75)], Axis(), label="x")
    assert 'x1="26%" x2="74%"' in drawing and '<svg x="50%"' in drawing


def test_bar_parts_are_as_long_as_their_share() -> None:
    drawing = bar([Part("a", 1.0), Part("b", 3.0)], 4.0, label="x")
    assert (
        re.findall(r'x="([\d.]+%)" width="([\d.]+%)"', drawing)
        == [
            ("0%", "25%"),
            ("25%", "75%"),
        ]
        or 'width="75%"' in drawing
    )
    assert bar([Part("a", 0.0)], 0.0, label="x").count("<rect") == 1


def test_squares_can_be_counted() -> None:
    drawing = squares(22, 31, name="triggered", label="x")
    assert drawing.count('class="full"') == 22 and drawing.count('class="empty"') == 9


def test_many_clips_are_a_bar() -> None:
    clips = msgspec.structs.replace(lap_record().clips, triggered=900, with_rare_triggered=450)
    assert 'width="50%"' in render(lap_record(clips=clips), ())


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(scheme: str) -> None:
    page = render(lap_record(), ())
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6});", part)) for part in page.split("@media")[:2]
    )
    colors = light if scheme == "light" else light | dark
    for name in ("ink", "soft", "incumbent", "candidate", "control", "good", "bad", "doubt"):
        for under in ("ground", "paper"):
            values = sorted((luminance(colors[name]), luminance(colors[under])))
            assert (values[1] + 0.05) / (values[0] + 0.05) >= 4.5, (name, under)


# --- pictures -----------------------------------------------------------------------------------


def animal(x_m: float, y_m: float, score: float = 1.0, category: str = "animal") -> Box3D:
    return Box3D(
        category=Category(category),
        x_m=x_m,
        y_m=y_m,
        z_m=0.6,
        length_m=1.6,
        width_m=0.5,
        height_m=1.2,
        yaw_rad=1.4,
        score=score,
    )


@pytest.fixture
def edge_case(rig: Rig, ego_pose: Pose) -> EdgeCase:
    """An animal that stands 9 m ahead and 1 m to the left, on grey pictures."""
    frame_set = FrameSet(
        index=0,
        stamp_ns=0,
        frames=frames_of(np.full((8, 128, 256, 3), 90, dtype=np.uint8), 0),
        radar=RadarScan(),
        ultrasonics=UltrasonicScan(),
        ego=EgoState(stamp_ns=0, world_from_ego=ego_pose),
    )
    return EdgeCase(
        clip_id="c-1",
        frame_set=frame_set,
        rig=rig,
        claim=SLICES["animal"],
        labels=(animal(9.0, 1.0),),
        incumbent=(animal(9.2, 1.2, 0.5, "pedestrian"),),
        candidate=(animal(9.3, 1.4, 0.62),),
        caught_by=("radar_without_box",),
    )


def replaced(case: EdgeCase, **changes: object) -> EdgeCase:
    return EdgeCase(**(vars(case) | changes))  # type: ignore[arg-type]


def decoded(picture: Picture) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(picture.png, dtype=np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(image)[..., ::-1].astype(int)


def has_color(picture: Picture, color: tuple[int, int, int]) -> bool:
    return int((np.abs(decoded(picture) - color).max(axis=-1) < 40).sum()) > 15


def test_each_model_is_drawn_beside_the_other_with_the_label(edge_case: EdgeCase) -> None:
    incumbent, candidate, above = edge_case_pictures(edge_case)
    assert decoded(incumbent).shape == decoded(candidate).shape == decoded(above).shape
    assert has_color(incumbent, INCUMBENT_RGB) and not has_color(incumbent, CANDIDATE_RGB)
    assert has_color(candidate, CANDIDATE_RGB) and not has_color(candidate, INCUMBENT_RGB)
    assert all(has_color(p, TRUTH_RGB) for p in (incumbent, candidate, above))
    assert above.kind is PictureKind.BIRDS_EYE


def test_captions_say_what_each_model_made_of_the_object(edge_case: EdgeCase) -> None:
    incumbent, candidate, above = edge_case_pictures(edge_case)
    assert incumbent.caption == "Takes the animal for a pedestrian (score 0.50)."
    assert candidate.caption == "Sees the animal: score 0.62, 0.5 m off."
    assert above.caption == (
        "The animal, ringed, is 9 m ahead, 1 m to the left. Caught by: radar without box."
    )
    blind = edge_case_pictures(replaced(edge_case, incumbent=(animal(9.0, 3.1),)))[0]
    assert blind.caption == "Misses the animal: no box of its own within 2 m."


def test_a_box_about_the_neighbour_is_no_mistake_about_the_object(edge_case: EdgeCase) -> None:
    pedestrian = animal(9.4, 1.3, 1.0, "pedestrian")
    case = replaced(edge_case, labels=(*edge_case.labels, pedestrian))
    assert edge_case_pictures(case)[0].caption == "Misses the animal: no box of its own within 2 m."


def test_pictures_of_unseen_places_stand_apart_from_those_that_taught(edge_case: EdgeCase) -> None:
    gate = edge_case_pictures(replaced(edge_case, is_unseen=True, clip_id="gate-088"))
    text = Page(render(lap_record(), [*edge_case_pictures(edge_case), *gate])).text
    taught, unseen = text.split("On places that no model was trained on")
    assert "The candidate has learnt from these very clips" in taught and "c-1" in taught
    assert "gate-088" in unseen and "gate-088" not in taught
    assert "On places that no model" not in Page(render(lap_record(), PICTURES)).text


def test_place_leaves_out_what_is_no_distance(edge_case: EdgeCase) -> None:
    straight = edge_case_pictures(replaced(edge_case, labels=(animal(9.0, -0.3),)))[2]
    assert straight.caption.startswith("The animal, ringed, is 9 m ahead. ")


def test_clip_without_the_rare_object_shows_the_label_of_what_it_is_about(
    edge_case: EdgeCase,
) -> None:
    case = replaced(edge_case, labels=(animal(9.0, 1.0, 1.0, "pedestrian"),), incumbent=())
    incumbent = edge_case_pictures(case)[0]
    assert "pedestrian" in incumbent.caption and has_color(incumbent, TRUTH_RGB)
    assert has_color(mosaic_picture(case), TRUTH_RGB)


def test_crop_comes_from_the_camera_that_shows_the_object_best(edge_case: EdgeCase) -> None:
    ahead = edge_case_pictures(edge_case)[0]
    behind = edge_case_pictures(replaced(edge_case, labels=(animal(-12.0, 0.0),)))[0]
    assert "front narrow" in ahead.title and "rear camera" in behind.title
    first, _, *others = edge_case.frame_set.frames
    gone = Frame(None, 0, FrameStatus.MISSING)
    frame_set = replace(edge_case.frame_set, frames=(first, gone, *others))
    without = edge_case_pictures(replaced(edge_case, frame_set=frame_set))[0]
    assert "front main" in without.title


def test_object_is_in_the_middle_of_its_crop(edge_case: EdgeCase) -> None:
    picture = decoded(edge_case_pictures(replaced(edge_case, incumbent=()))[0])
    rows, columns = np.argwhere(np.abs(picture - TRUTH_RGB).max(axis=-1) < 40).T
    assert columns.mean() == pytest.approx(384, abs=50)
    assert 120 < np.ptp(rows) < 600


def test_case_without_a_label_or_a_box_still_has_its_pictures(edge_case: EdgeCase) -> None:
    empty = replaced(edge_case, labels=(), incumbent=(), candidate=(), caught_by=())
    incumbent, _, above = edge_case_pictures(empty)
    assert incumbent.caption == "0 boxes." and above.caption == ""


def test_clearest_instant_is_chosen_by_the_object_and_not_by_the_models(
    edge_case: EdgeCase,
) -> None:
    far = replaced(edge_case, labels=(animal(25.0, 1.0),))
    blind = replaced(edge_case, candidate=(), incumbent=())
    assert clarity_px(edge_case) == clarity_px(blind) > clarity_px(far)


def test_ground_lies_under_the_scene(edge_case: EdgeCase, ground: Ground) -> None:
    bare, laid = (decoded(edge_case_pictures(edge_case, g)[2]) for g in (None, ground))
    assert not np.array_equal(bare, laid)


def test_pictures_of_a_clip_stand_together_views_first() -> None:
    page = Page(render(lap_record(), PICTURES))
    assert [str(image["alt"]).partition(":")[0] for image in page.all("img")] == [
        "Incumbent",
        "Candidate",
        "From above",
        "Incumbent",
        "Eight cameras",
    ]


def test_six_real_edge_cases_and_a_mosaic_stay_under_three_megabytes(
    edge_case: EdgeCase,
    renderer: Renderer,
    snapshot_of: Callable[..., Snapshot],
    entity_at: Callable[..., Entity],
    ground: Ground,
) -> None:
    snapshot = snapshot_of(
        entity_at("animal", 9.0, 1.0, 1.4), entity_at("car", 16.0, -2.0, entity_id=2)
    )
    images = renderer.render(snapshot).images
    frame_set = replace(edge_case.frame_set, frames=frames_of(images, 0))
    case = replaced(edge_case, frame_set=frame_set)
    cases = [replaced(case, clip_id=f"c-{k}") for k in range(6)]
    pictures = [p for c in cases for p in edge_case_pictures(c, ground)]
    page = render(lap_record(), [*pictures, mosaic_picture(case)])
    assert 100_000 < len(page.encode()) < 3_000_000
