"""Forms of a class that a teacher has not seen, and the run that they name."""

from pathlib import Path

import pytest

from edge.contracts.classes import CAR, SHIPPED_CLASSES, TRUCK, Category
from edge.contracts.scene import Attribute, Box3D
from fleet.label.form import Form
from fleet.label.job import LabelJob
from fleet.label.order import LabelOrder

FALLEN_TRUCK = Form(category=TRUCK, attribute=Attribute.FALLEN)


@pytest.mark.parametrize(
    ("category", "attribute", "is_held"),
    [
        (TRUCK, Attribute.FALLEN, True),
        (TRUCK, Attribute.PARKED, False),
        (CAR, Attribute.FALLEN, False),
    ],
)
def test_a_form_holds_a_box_of_its_class_and_attribute(
    category: Category, attribute: Attribute, is_held: bool
) -> None:
    box = Box3D(category=category, attribute=attribute, x_m=1.0, y_m=0.0, z_m=1.0, length_m=6.0,
                width_m=2.0, height_m=2.0, yaw_rad=0.0)  # fmt: skip
    assert FALLEN_TRUCK.holds(box) is is_held
    assert Form(category=TRUCK).holds(box) is (category == TRUCK)


def test_unseen_forms_name_another_run_and_an_order_without_them_keeps_its_old_name(
    tmp_path: Path,
) -> None:
    teacher = tmp_path / "teacher.onnx"
    teacher.write_bytes(b"teacher")

    def run_id(*unseen: Form) -> str:
        job = LabelJob(
            size="pico",
            categories=SHIPPED_CLASSES,
            known=(CAR,),
            labeler="m:f",
            labeler_folder="t",
            budget_tracks=80,
            unseen=unseen,
        )
        return LabelOrder(clips=(), model=teacher, job=job).run_id

    assert run_id() == "l-27d54caa8bd60929"
    assert run_id(FALLEN_TRUCK) != run_id()
