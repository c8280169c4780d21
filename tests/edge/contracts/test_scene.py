"""What a speed is called."""

from edge.contracts.scene import Attribute, attribute_at


def test_road_user_stands_below_half_a_metre_per_second() -> None:
    assert [attribute_at(speed_mps) for speed_mps in (0.0, 0.49, 0.5, 9.0)] == [
        Attribute.STOPPED,
        Attribute.STOPPED,
        Attribute.MOVING,
        Attribute.MOVING,
    ]
