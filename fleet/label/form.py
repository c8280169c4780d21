"""Forms of a class that a teacher has not seen, though it knows the class: a truck that lies on its side."""

from __future__ import annotations

import msgspec

from edge.contracts.classes import Category
from edge.contracts.scene import Attribute, Box3D


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of a class, or those of them with one attribute."""

    category: Category
    attribute: Attribute | None = None
    """None means every object of the class."""

    def holds(self, box: Box3D) -> bool:
        """Return whether a box is of this form."""
        is_class = box.category == self.category
        return is_class and self.attribute in (None, box.attribute)
