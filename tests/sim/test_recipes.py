import msgspec
import pytest

from edge.contracts.errors import OperatorError
from fleet.recipe import FUTURE_STEPS, DataRecipe, RecipePart, load_recipe
from sim.lap.opening import RECIPES
from sim.recipes import RecipeStage, rows_of_share
from sim.rig import default_rig


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


@pytest.mark.parametrize("name", ["replay", "quick_replay", "gate", "quick_gate"])
def test_sets_that_keep_or_judge_the_plan_and_forecast_heads_have_futures(name: str) -> None:
    assert all(part.has_futures for part in load_recipe(RECIPES / f"{name}.yaml").parts)


def test_replay_rows_carry_the_futures_of_ego_and_agents() -> None:
    recipe = load_recipe(RECIPES / "replay.yaml")
    parts = tuple(msgspec.structs.replace(part, places=1) for part in recipe.parts)
    rows = list(rows_of_share(msgspec.structs.replace(recipe, parts=parts), 0, default_rig()))
    assert len(rows) == sum(part.instants_per_visit for part in parts)
    assert all(len(row.labels.ego_future) == FUTURE_STEPS for row in rows)
    assert all(row.labels.teaches_driving for row in rows)
    seen = [box for row in rows for box in row.labels.boxes if box.visible_px]
    assert sum(len(box.future) == FUTURE_STEPS for box in seen) > 0.5 * len(seen)
