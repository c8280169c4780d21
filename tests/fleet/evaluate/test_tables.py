import json

import pytest

from edge.contracts.classes import ANIMAL, BUS, CAR
from fleet.evaluate import (
    SLICES,
    BootstrapSettings,
    Contender,
    GateSettings,
    Table,
    claim_table,
    class_table,
    detection_scores,
    gather_evidence,
    heading_errors,
    heading_table,
    judge_candidate,
    match,
    nds_table,
    range_table,
    score_table,
    slice_table,
    verdict_table,
)

FEW = BootstrapSettings(resamples=50)


def test_a_table_is_one_record_per_row():
    table = Table("Scores", ("class", "ap"), (("car", 0.5), ("a|b", None)))
    assert json.loads(json.dumps(table.to_records())) == [
        {"class": "car", "ap": 0.5},
        {"class": "a|b", "ap": None},
    ]


def test_the_score_table_ends_with_the_mean_and_lists_classes_with_too_few(frame, truth, box):
    truths = [truth(), truth(x_m=20.0), truth(category="bus", y_m=9.0)]
    scores = detection_scores(match([frame(truths, [box(), box(x_m=20.0)])]), min_instances=2)
    records = {r["category"]: r for r in score_table(scores).to_records()}
    assert records["car"]["ap_0.5m"] == pytest.approx(1.0)
    assert (records["bus"]["truths"], records["bus"]["ap"]) == (1, None)
    assert records["mean"]["nds"] == pytest.approx(scores.nds)


def test_the_range_table_has_a_row_per_band_and_class(frame, truth, box):
    matches = match([frame([truth(x_m=5.0), truth(x_m=15.0)], [box(x_m=5.0)])])
    records = range_table(matches, {CAR: 0.5}).to_records()
    assert [(r["slice"], r["truths"], r["recall"]) for r in records] == [
        ("all", 2, 0.5),
        ("all 0-10 m", 1, 1.0),
        ("all 10-20 m", 1, 0.0),
        ("all 20-30 m", 0, None),
    ]


def test_the_heading_table_speaks_degrees(frame, truth, box):
    matches = match([frame([truth()], [box(yaw_rad=0.1)])])
    records = heading_table(heading_errors(matches, [CAR], {})).to_records()
    assert records[0]["heading"] == "along"
    assert records[0]["median_deg"] == pytest.approx(5.7296, abs=1e-4)


def test_the_slice_table_shows_models_side_by_side_and_skips_what_is_empty(frame, truth, box):
    label = truth(category=ANIMAL, encounter_id="e")
    models = {
        "incumbent": match([frame([label])]),
        "candidate": match([frame([label], [box(category=ANIMAL)])]),
    }
    thresholds = {name: {ANIMAL: 0.5} for name in models}
    parts = [SLICES["animal"], SLICES["animal_night"]]
    records = slice_table(models, thresholds, parts, FEW).to_records()
    assert len(records) == 1
    assert (records[0]["incumbent"], records[0]["candidate_lower"]) == (0.0, 1.0)


def test_the_nds_table_compares_models_slice_by_slice_and_skips_what_is_too_small(
    frame, truth, box
):
    models = {"a": match([frame([truth()], [box()])]), "b": match([frame([truth()])])}
    parts = [SLICES["all"], SLICES["night"]]
    records = nds_table(models, parts, min_instances=1).to_records()
    assert [r["slice"] for r in records] == ["all"]
    assert records[0]["a_map"] == pytest.approx(1.0)
    assert (records[0]["b_map"], records[0]["b_nds"]) == (0.0, 0.0)
    assert nds_table(models, parts).rows == ()


def test_no_models_make_an_empty_slice_table():
    assert slice_table({}, {}, [SLICES["all"]], FEW).rows == ()


def test_the_verdict_and_its_claims_are_tables_too(frame, truth, box):
    label = truth(category=ANIMAL, encounter_id="e")
    frames = [frame([label], [box(category=ANIMAL)]), frame(frame_id="clean")]
    model = Contender(match(frames), match(frames), (ANIMAL,))
    evidence = gather_evidence(model, model, model, [SLICES["animal"]], None, GateSettings())
    rules = verdict_table(judge_candidate(evidence, GateSettings())).to_records()
    assert rules[0]["rule"].startswith("false alarms of animal")
    assert {r["outcome"] for r in rules} <= {"pass", "fail", "not_enough_evidence"}
    claims = claim_table(evidence).to_records()
    assert [r["model"] for r in claims] == ["incumbent", "candidate", "control"]
    assert claims[0]["recall"] == 1.0
    assert (claims[0]["gate_false_alarms_per_frame"], claims[0]["alarms_upper"]) == (0.0, 0.0)


def test_the_class_table_says_what_is_compared_with_what(frame, truth, box):
    settings = GateSettings(min_instances=1, min_guard_frames=1, min_guard_places=1)
    good = match([frame([truth()], [box()], frame_id="f"), frame(frame_id="clean")])
    blind = match([frame([truth()], frame_id="f"), frame(frame_id="clean")])
    knows_bus = Contender(good, good, (CAR, BUS))
    evidence = gather_evidence(
        Contender(blind, blind, (CAR,)),
        knows_bus,
        None,
        [SLICES["animal"]],
        None,
        settings,
        anchor=Contender(good, good, (CAR,)),
    )
    rows = {r["class"]: r for r in class_table(judge_candidate(evidence, settings)).to_records()}
    assert [rows["car"][k] for k in ("incumbent", "anchor", "candidate")] == [1.0, 1.0, 0.0]
    assert (rows["car"]["to_incumbent"], rows["car"]["lower_anchor"]) == (-1.0, -1.0)
    assert (rows["bus"]["truths"], rows["bus"]["incumbent"]) == (0, None)
    assert (rows["car"]["outcome"], rows["bus"]["outcome"]) == ("fail", "not_enough_evidence")
