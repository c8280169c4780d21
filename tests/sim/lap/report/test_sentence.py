"""The sentence at the top of the page, and the line on the terminal."""

from collections.abc import Callable

from fleet.evaluate import Decision
from sim.lap.record import (
    BoundedScore,
    Contestant,
    LapRecord,
    SliceScore,
    VehicleEnd,
    WaveRecord,
)
from sim.lap.report.words import outcome

VEHICLES = ("v-01", "v-02", "v-03")
MakeRecord = Callable[..., LapRecord]
MakeInterval = Callable[..., BoundedScore]


def said(record: LapRecord) -> str:
    return outcome(record).sentence.replace("\u00a0", " ")


def test_sentence_of_a_pass_names_before_after_control_and_the_fleet(
    lap_record: MakeRecord,
) -> None:
    assert said(lap_record()) == (
        "The candidate finds animals that the incumbent missed: "
        "recall 0.00 → 0.41 [0.33, 0.49], control 0.08; "
        "promoted to 3 of 3 vehicles."
    )
    assert said(lap_record(lap=2)).startswith("The candidate finds more animals: recall 0.41")
    assert outcome(lap_record()).because == "All 3 rules of the gate passed."


def test_sentence_names_the_claimed_slice_and_not_its_class(
    lap_record: MakeRecord, span: MakeInterval
) -> None:
    score = SliceScore(slice="overturned_truck", metric="recall", score=span(0.5), truths=9)
    candidate = Contestant(bundle_id=lap_record().candidate.bundle_id, slices=(score,))
    record = lap_record(claimed_slice="overturned_truck", candidate=candidate)
    assert said(record).startswith(
        "The candidate finds overturned trucks that the incumbent missed: recall 0.50"
    )


def test_terminal_hears_outcome_and_reason_in_one_line_of_plain_blanks(
    lap_record: MakeRecord,
) -> None:
    line = outcome(lap_record(Decision.FAIL)).line
    assert "\u00a0" not in line and "\n" not in line
    assert line.startswith("The candidate for animals was refused: recall 0.00 → 0.41")
    assert line.endswith("got -0.051 [-0.071, -0.035].")


def test_sentence_of_a_refusal_names_the_rule_and_who_keeps_driving(lap_record: MakeRecord) -> None:
    record = lap_record(Decision.FAIL)
    assert said(record).startswith("The candidate for animals was refused: recall 0.00 → 0.41")
    assert said(record).endswith("3 of 3 vehicles keep the incumbent.")
    assert outcome(record).because == (
        "Of 3 rules, “ordinary mAP, candidate minus incumbent” failed: "
        "expected interval above -0.030, got -0.051 [-0.071, -0.035]."
    )


def test_sentence_without_enough_evidence_is_no_failure(lap_record: MakeRecord) -> None:
    record = lap_record(Decision.NOT_ENOUGH_EVIDENCE)
    assert said(record).startswith("Too little evidence to judge the candidate for animals")
    assert "lacked evidence" in outcome(record).because and "fail" not in said(record)


def test_pass_whose_rollout_halted_says_so(lap_record: MakeRecord) -> None:
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


def test_sentence_stands_without_numbers_too(lap_record: MakeRecord) -> None:
    record = lap_record(candidate=Contestant(bundle_id="b-2", slices=()))
    assert "recall" not in said(record)
