"""A vehicle decodes by its bundle's own list of classes, whatever it holds."""

import msgspec
import pytest

from edge.budget import VirtualClock
from edge.contracts.classes import CAR, CLASSES, SHIPPED_CLASSES, UNKNOWN, ClassRow, Kind
from edge.contracts.scene import Rung
from edge.perceive.loaded import LoadedBundle
from edge.perceive.perceiver import NetworkPerceiver
from edge.perceive.tensors import OutputFault
from edge.runtime import Runtime, RuntimeSettings
from edge.trigger import ControlStream

TEN = SHIPPED_CLASSES[:10]
FOURTEEN = (*SHIPPED_CLASSES, "tuk_tuk", "kangaroo")


@pytest.fixture
def wake(rig, manifest, profile, scripted_engine):
    """Wake a vehicle up on a network that tells these classes apart and sees a box of one of them."""

    def make(categories, box) -> Runtime:
        listed = msgspec.structs.replace(
            manifest, categories=categories, thresholds=dict.fromkeys(categories, 0.3)
        )
        engine = scripted_engine(lambda tick: [box], categories=categories)
        return Runtime(
            RuntimeSettings(),
            rig=rig,
            bundle=LoadedBundle.of(listed, {Rung.FULL: NetworkPerceiver(engine, rig, listed)}),
            profile=profile,
            control=ControlStream(seed=0, vehicle_id="v-1", drive_id="d-1"),
            clock=VirtualClock(),
            rate_hz=36.0,
        )

    return make


def drive(runtime, frame_set):
    return [runtime.tick(f, f.stamp_ns) for f in (frame_set(k, speed_mps=8.0) for k in range(4))]


@pytest.mark.parametrize("categories", [TEN, SHIPPED_CLASSES[::-1], FOURTEEN], ids=len)
def test_a_bundle_with_another_list_of_classes_drives(wake, box, frame_set, categories) -> None:
    runtime = wake(categories, box(18.0, 0.0, CAR))
    last = drive(runtime, frame_set)[-1]
    assert [b.category for b in last.perception.boxes] == [CAR]
    assert last.perception.agents[0].box.category == CAR
    assert last.plan.acceleration_mps2 < -1.0
    assert (runtime.health.faults, runtime.health.unknown_boxes) == (0, 0)


@pytest.mark.parametrize("name", FOURTEEN[12:])
def test_a_thing_of_a_class_without_a_row_is_unknown_is_counted_and_is_braked_for(
    wake, box, frame_set, caplog, name
) -> None:
    runtime = wake(FOURTEEN, box(18.0, 0.0, name))
    last = drive(runtime, frame_set)[-1]
    assert [b.category for b in last.perception.boxes] == [UNKNOWN]
    assert [a.box.category for a in last.perception.agents] == [UNKNOWN]
    assert last.plan.acceleration_mps2 < -1.0
    assert runtime.health.unknown_boxes == 4
    (said,) = [entry for entry in caplog.records if entry.message == "classes_unknown"]
    assert said.classes == ["tuk_tuk", "kangaroo"]


def test_a_class_that_gets_a_row_is_known_from_then_on(wake, box, frame_set, monkeypatch) -> None:
    row = ClassRow(**{**vars(CLASSES["bicycle"]), "name": "tuk_tuk", "plural": "tuk-tuks"})
    monkeypatch.setitem(CLASSES, "tuk_tuk", row)
    runtime = wake(FOURTEEN, box(18.0, 0.0, "tuk_tuk"))
    last = drive(runtime, frame_set)[-1]
    assert [a.box.category for a in last.perception.agents] == ["tuk_tuk"]
    assert CLASSES["tuk_tuk"].kind is Kind.VULNERABLE
    assert runtime.health.unknown_boxes == 0


def test_a_network_with_other_channels_than_its_bundle_lists_answers_nonsense(
    rig, manifest, scripted_engine, frame_set
) -> None:
    engine = scripted_engine(categories=TEN)
    with pytest.raises(OutputFault, match=r"heatmap: expected \(1, 12, .*got \(1, 10, "):
        NetworkPerceiver(engine, rig, manifest).perceive(frame_set(0))


def test_a_bundle_that_lists_a_class_twice_is_refused(manifest) -> None:
    with pytest.raises(ValueError, match="lists car more than once"):
        msgspec.structs.replace(manifest, categories=(*SHIPPED_CLASSES, CAR))
