"""What a vehicle drives on after the factory, and a rollout from its plan to its healing."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.contracts.errors import HashMismatchError, OperatorError
from edge.contracts.scene import Rung
from edge.contracts.time import NS_PER_S
from edge.ota import BundlePhase, active_bundle, install_factory_bundle
from fleet.bundle.bundle import rereleased, write_bundle
from fleet.rollout import (
    CanaryRule,
    Reported,
    RolloutPlan,
    RolloutStage,
    Started,
    decide_rollout,
    publish_decision,
)

NOW_NS = 1_800_000_000 * NS_PER_S


@pytest.fixture
def factory(tmp_path, toy_release):
    bundle, _ = toy_release(tmp_path, 1.0, 1)
    write_bundle(bundle, tmp_path / "factory")
    return bundle


def test_factory_bundle_drives(tmp_path, factory):
    install_factory_bundle(tmp_path / "car", tmp_path / "factory")
    manifest, folder = active_bundle(tmp_path / "car")
    assert manifest == factory.manifest
    assert (folder / manifest.engines[0].sha256).read_bytes() in factory.blobs.values()


def test_factory_bundle_installed_twice_is_installed_once(tmp_path, factory):
    for _ in range(2):
        install_factory_bundle(tmp_path / "car", tmp_path / "factory")
    assert active_bundle(tmp_path / "car")[0] == factory.manifest


def test_factory_bundle_over_another_is_refused(tmp_path, factory, toy_release):
    install_factory_bundle(tmp_path / "car", tmp_path / "factory")
    other, _ = toy_release(tmp_path, 2.0, 2)
    write_bundle(other, tmp_path / "other")
    with pytest.raises(OperatorError, match="only an update may replace it"):
        install_factory_bundle(tmp_path / "car", tmp_path / "other")


def test_damaged_factory_folder_installs_nothing_and_a_whole_one_does_after_it(tmp_path, factory):
    engine = tmp_path / "factory" / factory.manifest.engines[0].sha256
    data = engine.read_bytes()
    for broken in (b"other", None):
        if broken is None:
            engine.unlink()
        else:
            engine.write_bytes(broken)
        with pytest.raises(HashMismatchError):
            install_factory_bundle(tmp_path / "car", tmp_path / "factory")
        with pytest.raises(OperatorError, match="no bundle is installed"):
            active_bundle(tmp_path / "car")
    engine.write_bytes(data)
    install_factory_bundle(tmp_path / "car", tmp_path / "factory")
    assert active_bundle(tmp_path / "car")[0] == factory.manifest


def test_folder_without_a_manifest_is_the_operators_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(OperatorError, match="holds no manifest"):
        install_factory_bundle(tmp_path / "car", tmp_path / "empty")


class Control:
    """The fleet's side of one rollout to one vehicle: its plan, its events, its director."""

    def __init__(self, fleet, key):
        self.fleet = fleet
        self.key = key
        candidate = fleet.release(fleet.build(2.0, 2))
        heal = fleet.release(rereleased(fleet.build(1.0, 1), 3))
        self.plan = RolloutPlan(
            rollout_id="r-1",
            candidate=candidate,
            heal=heal,
            waves=(("car-1",),),
            report_keys={"car-1": key.public_key().public_bytes_raw()},
            rule=CanaryRule(ticks=10, report_s=60.0),
        )
        self.events = [Started(at_ns=NOW_NS, actor="operator")]

    def look(self, now_ns=NOW_NS):
        decision = decide_rollout(self.plan, self.events, now_ns)
        self.events += decision.events
        publish_decision(decision, self.fleet.director, now_ns)
        return decision

    def hear(self, agent, rungs):
        for report in agent.reports(rungs, 0):
            payload = msgspec.msgpack.encode(report)
            signature = self.key.sign(payload)
            self.events.append(
                Reported(at_ns=NOW_NS, vehicle_id="car-1", payload=payload, signature=signature)
            )
            agent.acknowledge(report.sequence)


@pytest.fixture
def control(fleet):
    return Control(fleet, Ed25519PrivateKey.generate())


def test_rollout_passes_on_what_the_vehicle_really_reports(control, vehicle):
    control.look()
    with vehicle.start() as agent:
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL
        control.hear(agent, {})
        assert control.look().stage is RolloutStage.RUNNING
        agent.on_ticks(10, 0, NOW_NS)
        control.hear(agent, {Rung.FULL: 10})
        assert control.look().stage is RolloutStage.PASSED
        assert agent.step(NOW_NS).refusal is None
        assert agent.active()[0].release_counter == 2


def test_silent_rollout_halts_and_the_switched_vehicle_is_healed(control, vehicle):
    control.look()
    later_ns = NOW_NS + 61 * NS_PER_S
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        agent.on_ticks(10, 0, NOW_NS)
        assert control.look(later_ns).stage is RolloutStage.HALTED
        assert agent.step(later_ns).phase is BundlePhase.TRIAL
        agent.on_ticks(10, 0, NOW_NS)
        manifest, _ = agent.active()
        assert (manifest.bundle_id, manifest.release_counter) == (control.plan.heal.bundle_id, 3)
        control.hear(agent, {Rung.FULL: 10})
        assert control.look(later_ns).unhealed == ()


def test_vehicle_that_turned_the_candidate_out_halts_the_rollout(control, vehicle):
    control.look()
    with vehicle.start() as agent:
        agent.step(NOW_NS)
        agent.on_ticks(1, 1, NOW_NS)
        control.hear(agent, {Rung.FULL: 1})
        decision = control.look()
        assert decision.stage is RolloutStage.HALTED
        assert "reverted the candidate" in decision.reasons[0]
        assert agent.step(NOW_NS).phase is BundlePhase.TRIAL
        agent.on_ticks(10, 0, NOW_NS)
        assert agent.active()[0].release_counter == 3
