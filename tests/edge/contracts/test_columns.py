"""Rows of records of arrays."""

from dataclasses import dataclass

import numpy as np

from edge.contracts.columns import Columns


@dataclass(eq=False)
class Things(Columns):
    """Two things with a place each."""

    number: np.ndarray
    place: np.ndarray


def things(*numbers: int) -> Things:
    return Things(np.array(numbers), np.array([(n, -n) for n in numbers], float).reshape(-1, 2))


def test_rows_are_kept_by_mask_and_by_number_in_the_order_asked_for() -> None:
    all_three = things(4, 5, 6)
    kept = all_three.select(np.array([True, False, True]))
    assert isinstance(kept, Things)
    assert kept.number.tolist() == [4, 6] and kept.place.tolist() == [[4, -4], [6, -6]]
    assert all_three.select(np.array([2, 0])).number.tolist() == [6, 4]
    assert all_three.select(np.zeros(3, bool)).place.shape == (0, 2)


def test_rows_of_another_record_follow() -> None:
    both = things(4).followed_by(things(5, 6))
    assert both.number.tolist() == [4, 5, 6] and both.place.tolist() == [[4, -4], [5, -5], [6, -6]]
