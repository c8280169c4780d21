import pytest

from edge.contracts.errors import OperatorError
from fleet.recipe import DataRecipe, RecipePart
from sim.recipes import RecipeStage


def test_recipe_that_asks_for_places_that_do_not_exist_says_so_by_name() -> None:
    part = RecipePart(road_map="grid", places=60_000)
    recipe = DataRecipe(name="too_wide", split="train", parts=(part,))
    with pytest.raises(OperatorError, match=r"recipe too_wide: .*60,?000"):
        RecipeStage().rows(recipe, lambda rows: None)


def test_recipe_tells_how_many_rows_it_has_while_it_renders() -> None:
    part = RecipePart(road_map="grid", places=2, instants_per_visit=1)
    recipe = DataRecipe(name="two_looks", split="train", parts=(part,))
    heard: list[int] = []
    rows = RecipeStage().rows(recipe, heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == len(rows) == 2
