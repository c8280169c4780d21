"""The page of a lap: self-contained, readable without eyes, complete, and deaf to hostile text."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fleet.evaluate import Decision, Reason
from sim.lap.record import (
    BoundedScore,
    Contestant,
    DriveRecord,
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
    write_report,
)
from sim.lap.report.page import render
from sim.lap.report.rows import class_rows

HOSTILE = '<script>alert("x")</script><img src="https://example.org/x.png" onerror=a()>&lt;'
MakeRecord = Callable[..., LapRecord]
MakeInterval = Callable[..., BoundedScore]
ReadPage = Callable[[str], Any]
Pictures = tuple[Picture, ...]


@pytest.fixture(params=[*Decision, "one lap of three", "no history", "nothing measured"])
def page(request: pytest.FixtureRequest, lap_record: MakeRecord, pictures: Pictures) -> str:
    """A page of every kind."""
    if request.param == "one lap of three":
        return render(lap_record(lap=3), pictures, [lap_record(lap=1), lap_record(lap=2)])
    if request.param == "no history":
        return render(lap_record(lap=2), ())
    if request.param == "nothing measured":
        empty = Contestant(slices=())
        models = {"incumbent": empty, "candidate": empty, "control": empty}
        return render(lap_record(Decision.NOT_ENOUGH_EVIDENCE, is_quick=True, **models), ())
    return render(lap_record(request.param), pictures)


def renumbered(value: object, count: Iterator[int]) -> object:
    """Give a record's parts with every number replaced by one that stands nowhere else."""
    if isinstance(value, dict):
        return {key: renumbered(part, count) for key, part in value.items()}
    if isinstance(value, list):
        return [renumbered(part, count) for part in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return type(value)(next(count)) if is_number else value  # type: ignore[call-arg]


def test_page_asks_nothing_of_the_network(page: str, read_page: ReadPage) -> None:
    parsed = read_page(page)
    links = [a[k] or "" for _, a in parsed.tags for k in ("src", "href", "action") if k in a]
    assert links and all(link.startswith("data:") for link in links)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|srcset|xlink", page)
    (policy,) = [a for a in parsed.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_page_is_well_formed_and_can_be_read_without_eyes(page: str, read_page: ReadPage) -> None:
    parsed = read_page(page)
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
def test_every_number_of_the_record_is_on_the_page(
    decision: Decision, lap_record: MakeRecord, read_page: ReadPage
) -> None:
    first = 20_001
    count = iter(range(first, 90_000))
    parts = renumbered(msgspec.json.decode(msgspec.json.encode(lap_record(decision))), count)
    record, end = msgspec.convert(parts, LapRecord), next(count)
    assert end - first > 120
    text = read_page(render(record, ())).text.replace(",", "")
    shown = {int(found) for found in re.findall(r"(?<!\d)\d{5}(?!\d)", text)}
    fewer = {s.truths for model in (record.incumbent, record.candidate) for s in model.slices}
    assert set(range(first, end)) - shown == fewer, "of a slice's counts the largest is shown"


@pytest.mark.parametrize("decision", list(Decision))
def test_every_rule_and_every_id_is_on_the_page(
    decision: Decision, lap_record: MakeRecord, read_page: ReadPage
) -> None:
    record = lap_record(decision)
    text = read_page(render(record, ())).text
    for rule in record.verdict.rules:
        assert rule.rule in text and rule.expected in text and rule.got in text
    ids = [record.dataset_id, record.incumbent.bundle_id, record.candidate.bundle_id]
    assert all(identity in text for identity in ids if identity)


def test_errors_of_plans_and_forecasts_stand_beside_driving_straight_on(
    lap_record: MakeRecord, read_page: ReadPage
) -> None:
    text = read_page(render(lap_record(), ())).text
    plan = "Plan, L2 1.77 [1.69, 1.85] 1.85 [1.77, 1.93] 2.18 [2.10, 2.26] +0.41"
    assert plan in text
    assert "Straight on at constant speed 2.27 [2.19, 2.35]" in text
    assert "on 1,197 of the frames" in text


def test_lap_of_a_time_when_nobody_measured_plans_still_has_its_page(
    lap_record: MakeRecord,
) -> None:
    record = msgspec.json.decode(msgspec.json.encode(lap_record()))
    for model in ("incumbent", "candidate", "control"):
        del record[model]["plan_l2_m"], record[model]["forecast_ade_m"]
    del record["straight_l2_m"], record["gate"]["futures"]
    assert "Plans and forecasts" not in render(msgspec.convert(record, LapRecord), ())


def test_reasons_stand_as_they_are_where_the_record_has_no_rules(
    lap_record: MakeRecord, read_page: ReadPage
) -> None:
    record = lap_record()
    verdict = VerdictRecord(decision="pass", reasons=record.verdict.reasons)
    text = read_page(render(lap_record(verdict=verdict), ())).text
    assert all(reason in text for reason in verdict.reasons)


def test_every_guarded_class_stands_with_its_change_and_its_answer(
    lap_record: MakeRecord, read_page: ReadPage
) -> None:
    text = read_page(render(lap_record(Decision.FAIL), ())).text
    assert "bicycle 767 0.467 0.373 −0.094 [−0.130, −0.058] failed" in text
    assert "traffic cone 3,464 0.496 0.520 +0.024 [+0.012, +0.041] passed" in text
    assert "The incumbent is the shipped baseline, so it is the anchor too." in text


def test_a_later_lap_shows_the_anchor_beside_the_incumbent(
    lap_record: MakeRecord, read_page: ReadPage
) -> None:
    record = lap_record(Decision.FAIL, lap=2)
    text = read_page(render(record, (), [lap_record()])).text
    changes = "−0.094 [−0.130, −0.058] −0.129 [−0.171, −0.083]"
    assert f"bicycle 767 0.467 0.502 0.373 {changes} failed" in text
    rows = class_rows(record)
    assert [row["anchor"] for row in rows] == [0.502, 0.488]
    assert rows[0]["answer"] == "failed"
    assert "anchor" not in class_rows(lap_record())[0]


def test_a_record_without_guarded_classes_still_has_its_page(
    lap_record: MakeRecord, read_page: ReadPage
) -> None:
    record = lap_record()
    verdict = VerdictRecord(decision="pass", reasons=(), rules=record.verdict.rules)
    assert "Class by class" not in read_page(render(lap_record(verdict=verdict), ())).text


def test_hostile_text_is_shown_and_never_obeyed(
    lap_record: MakeRecord, span: MakeInterval, read_page: ReadPage
) -> None:
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
    page = read_page(render(record, (picture,), [lap_record(lap=9, claimed_slice=HOSTILE)]))
    assert page.all("script") == []
    assert len(page.all("img")) == 1 and not any("onerror" in a for _, a in page.tags)
    assert page.text.count('<script>alert("x")</script>') > 15


def test_clips_that_labelling_skipped_stand_on_the_page_with_their_reasons(
    lap_record: MakeRecord, read_page: ReadPage
) -> None:
    words = (
        "clip aaaaaaaaaaaa of v-01: it is cut",
        "clip bbbbbbbbbbbb of v-01: its bytes hash to <i>",
    )
    text = read_page(render(lap_record(skipped=words), ())).text
    assert all(f"Skipped: {line}" in text for line in words)
    assert "Skipped" not in read_page(render(lap_record(), ())).text


def test_same_record_gives_the_same_page(
    tmp_path: Path, lap_record: MakeRecord, pictures: Pictures
) -> None:
    for name in ("a.html", "b.html"):
        write_report(lap_record(lap=2), pictures, tmp_path / name, [lap_record(lap=1)])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_record_survives_its_own_json(lap_record: MakeRecord) -> None:
    record = lap_record(Decision.FAIL)
    assert msgspec.json.decode(msgspec.json.encode(record), type=LapRecord) == record


def test_drives_before_and_after_the_gate_are_summed_apart(
    lap_record: MakeRecord, read_page: ReadPage
) -> None:
    text = read_page(render(lap_record(), ())).text
    assert "Before the gate 3 drives, 6,420 ticks, 993 m, 3 faults, 1 collision " in text
    assert "After the gate 3 drives, 3,180 ticks, 498 m, 3 faults, 0 collisions " in text


def test_measures_of_a_drive_stand_beside_it(lap_record: MakeRecord, read_page: ReadPage) -> None:
    text = read_page(render(lap_record(), ())).text
    assert all(f"; standing ratio {ratio}" in text for ratio in ("0.12", "0.38", "0.62"))


def test_many_clips_are_a_bar(lap_record: MakeRecord) -> None:
    clips = msgspec.structs.replace(lap_record().clips, triggered=900, with_rare_triggered=450)
    assert 'width="50%"' in render(lap_record(clips=clips), ())


def test_pictures_of_a_clip_stand_together_views_first(
    lap_record: MakeRecord, read_page: ReadPage, pictures: Pictures
) -> None:
    page = read_page(render(lap_record(), pictures))
    assert [str(image["alt"]).partition(":")[0] for image in page.all("img")] == [
        "Incumbent",
        "Candidate",
        "From above",
        "Incumbent",
        "Eight cameras",
    ]


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(scheme: str, lap_record: MakeRecord) -> None:
    page = render(lap_record(), ())
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6});", part)) for part in page.split("@media")[:2]
    )
    colors = light if scheme == "light" else light | dark
    for name in ("ink", "soft", "incumbent", "candidate", "control", "good", "bad", "doubt"):
        for under in ("ground", "paper"):
            values = sorted((luminance(colors[name]), luminance(colors[under])))
            assert (values[1] + 0.05) / (values[0] + 0.05) >= 4.5, (name, under)
