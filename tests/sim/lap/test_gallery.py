from sim.lap.gallery import SHOWN, shown_ranks


def test_gate_encounters_run_from_the_best_visible_to_the_median() -> None:
    assert shown_ranks(81) == [0, 20, 40]
    assert SHOWN == 3


def test_few_encounters_are_shown_once_each() -> None:
    assert shown_ranks(0) == []
    assert shown_ranks(1) == [0]
    assert shown_ranks(3) == [0, 1]
