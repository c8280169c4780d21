import pytest

from edge.contracts.errors import OperatorError
from fleet.evaluate import EpisodeResult, EpisodeSpec, compare_episodes, run_episodes


def _result(episode_id, collisions=0, **fields):
    return EpisodeResult(
        episode_id=episode_id, collisions=collisions, min_ttc_s=3.0, progress_m=100.0, **fields
    )


def _spec(episode_id):
    return EpisodeSpec(
        episode_id=episode_id,
        scenario="jaywalker",
        map_name="suburb-gate",
        place_id="p0",
        seed=1,
        duration_s=20.0,
    )


class _Runner:
    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def run(self, episodes, bundle_dir):
        self.asked += [(episode.episode_id, bundle_dir.name) for episode in episodes]
        return [self.answers[episode.episode_id] for episode in episodes]


def test_a_collision_that_the_incumbent_did_not_have_is_named():
    found = compare_episodes([_result("a"), _result("b", 1)], [_result("b"), _result("a")])
    assert found.new_collisions == ("b",)
    assert found.episodes == 2


def test_a_collision_that_both_have_is_not_new_but_a_second_one_is():
    assert compare_episodes([_result("a", 1)], [_result("a", 1)]).new_collisions == ()
    assert compare_episodes([_result("a", 2)], [_result("a", 1)]).new_collisions == ("a",)


def test_a_collision_less_elsewhere_does_not_make_up_for_a_new_one():
    found = compare_episodes([_result("a", 1), _result("b", 0)], [_result("a", 0), _result("b", 5)])
    assert found.new_collisions == ("a",)


def test_totals_add_up_and_keep_the_worst_time_to_collision():
    results = [_result("a", 1, hard_brakes=2), _result("b", 0, hard_brakes=1)]
    totals = compare_episodes(results, results).candidate
    assert (totals.collisions, totals.hard_brakes, totals.progress_m) == (1, 3, 200.0)
    assert totals.min_ttc_s == 3.0


def test_no_episodes_compare_to_nothing():
    found = compare_episodes([], [])
    assert (found.episodes, found.new_collisions, found.candidate) == (0, (), None)


def test_different_episodes_cannot_be_compared():
    with pytest.raises(OperatorError, match=r"unpaired: \['a', 'b'\]"):
        compare_episodes([_result("a")], [_result("b")])


def test_an_episode_given_twice_cannot_be_compared():
    with pytest.raises(OperatorError, match="got 2 of the candidate and 1"):
        compare_episodes([_result("a"), _result("a")], [_result("a")])


def test_every_episode_is_driven_once_in_order(tmp_path):
    runner = _Runner({"b": _result("b"), "a": _result("a", 1)})
    results = run_episodes(runner, [_spec("b"), _spec("a")], tmp_path)
    assert [r.episode_id for r in results] == ["b", "a"]
    assert runner.asked == [("b", tmp_path.name), ("a", tmp_path.name)]


def test_an_answer_that_is_lacking_is_refused(tmp_path):
    class Silent:
        def run(self, episodes, bundle_dir):
            return []

    with pytest.raises(OperatorError, match="expected a, got nothing"):
        run_episodes(Silent(), [_spec("a")], tmp_path)


def test_an_answer_for_another_episode_is_refused(tmp_path):
    with pytest.raises(OperatorError, match="expected a, got b"):
        run_episodes(_Runner({"a": _result("b")}), [_spec("a")], tmp_path)
