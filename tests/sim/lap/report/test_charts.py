"""The drawings of the page, to scale."""

import re

from sim.lap.report.charts import Axis, BarPart, Mark, bar, interval_plot, squares


def test_axis_leaves_room_for_the_dots_at_its_ends() -> None:
    assert [Axis().place(v) for v in (0.0, 0.5, 1.0)] == ["2%", "50%", "98%"]
    assert Axis(-1.0, 1.0).place(0.0) == "50%"


def test_interval_reaches_from_bound_to_bound() -> None:
    drawing = interval_plot([Mark("candidate", 0.5, 0.25, 0.75)], Axis(), label="x")
    assert 'x1="26%" x2="74%"' in drawing and '<svg x="50%"' in drawing


def test_bar_parts_are_as_long_as_their_share() -> None:
    drawing = bar([BarPart("a", 1.0), BarPart("b", 3.0)], 4.0, label="x")
    assert (
        re.findall(r'x="([\d.]+%)" width="([\d.]+%)"', drawing)
        == [
            ("0%", "25%"),
            ("25%", "75%"),
        ]
        or 'width="75%"' in drawing
    )
    assert bar([BarPart("a", 0.0)], 0.0, label="x").count("<rect") == 1


def test_squares_can_be_counted() -> None:
    drawing = squares(22, 31, name="triggered", label="x")
    assert drawing.count('class="full"') == 22 and drawing.count('class="empty"') == 9
