from typing import Any

import msgspec
import pytest

from edge.clip_file import decode_instant
from edge.contracts.errors import OperatorError
from edge.perceive.tensors import FUTURE_STEPS
from fleet.dataset.recipe import DataRecipe, RecipePart, load_recipe
from sim.recipes import RecipeStage, check_recipe, rows_of_share
from sim.sense.annotator import AnnotatorSettings
from sim.sense.rig import default_rig
from sim.simulation.settings import WorldSettings


def test_recipe_that_asks_for_places_that_do_not_exist_says_so_by_name() -> None:
    part = RecipePart(road_map="grid", places=60_000)
    recipe = DataRecipe(name="too_wide", split="train", parts=(part,))
    with pytest.raises(OperatorError, match=r"recipe too_wide: .*60,?000"):
        RecipeStage().rows(recipe, lambda rows: None)


@pytest.mark.parametrize(
    ("split", "part", "complaint"),
    [
        ("train", {"road_map": "moon"}, "no map 'moon'"),
        ("train", {"scenario": "nosuch"}, "no scenario 'nosuch'"),
        ("traim", {}, "recipe odd: no split 'traim'; there are train, tune, gate"),
        ("train", {"places": 60_000}, "asks for 60000 places of grid, split train"),
    ],
)
def test_recipe_that_cannot_be_rendered_is_refused_by_name(
    split: str, part: dict[str, Any], complaint: str
) -> None:
    parts = (RecipePart(**{"road_map": "grid", "places": 1} | part),)
    with pytest.raises(OperatorError, match=complaint):
        check_recipe(DataRecipe(name="odd", split=split, parts=parts))


def test_recipe_tells_how_many_rows_it_has_while_it_renders() -> None:
    part = RecipePart(road_map="grid", places=2, instants_per_visit=1)
    recipe = DataRecipe(name="two_looks", split="train", parts=(part,))
    heard: list[int] = []
    rows = RecipeStage().rows(recipe, heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == len(rows) == 2


@pytest.mark.parametrize("name", ["replay", "quick_replay", "gate", "quick_gate"])
def test_sets_that_keep_or_judge_the_plan_and_forecast_heads_have_futures(name: str) -> None:
    assert all(part.has_futures for part in load_recipe(name).parts)


def test_replay_rows_carry_the_futures_of_ego_and_agents() -> None:
    recipe = load_recipe("replay")
    parts = tuple(msgspec.structs.replace(part, places=1) for part in recipe.parts)
    rows = list(rows_of_share(msgspec.structs.replace(recipe, parts=parts), 0, default_rig()))
    assert len(rows) == sum(part.instants_per_visit for part in parts)
    assert all(len(row.labels.ego_future) == FUTURE_STEPS for row in rows)
    assert all(row.labels.teaches_driving for row in rows)
    seen = [box for row in rows for box in row.labels.boxes if box.visible_px]
    assert sum(len(box.future) == FUTURE_STEPS for box in seen) > 0.5 * len(seen)


def test_share_without_a_place_has_no_rows() -> None:
    part = RecipePart(road_map="grid", places=1, instants_per_visit=1)
    recipe = DataRecipe(name="one_place", split="train", parts=(part,))
    assert not list(rows_of_share(recipe, 1, default_rig()))


def test_rows_are_rendered_and_labelled_with_the_settings_of_the_world() -> None:
    """A camera of 32 pixels and an annotator who sees no further than 1 m: pictures, and no box."""
    world = WorldSettings(annotator=AnnotatorSettings(max_range_m=1.0))
    world.render.sky_rgb = (1.0, 0.0, 0.0)
    part = RecipePart(road_map="grid", places=2, instants_per_visit=1)
    recipe = DataRecipe(name="red_sky", split="train", parts=(part,))
    rig = default_rig(64, 32)
    rows = RecipeStage(rig, world).rows(recipe, lambda rows: None)
    assert len(rows) == 2
    assert not any(row.labels.boxes for row in rows)
    image = decode_instant(rows[0].now, rig).frames[0].image
    assert image is not None
    sky = image[0].mean(axis=0)
    assert sky[0] > 2.0 * sky[2]


def test_recipe_is_seen_with_the_rig_that_it_says() -> None:
    rig = default_rig(width_px=64, height_px=32)
    part = RecipePart(road_map="grid", places=2, instants_per_visit=1)
    stage = RecipeStage(rig)
    rows = stage.rows(DataRecipe(name="small", split="train", parts=(part,)), lambda rows: None)
    assert {row.rig_id for row in rows} == {rig.rig_id} == {r.rig_id for r in stage.rigs()}
    shapes = {f.image.shape for row in rows for f in decode_instant(row.now, rig).frames}
    assert shapes == {(32, 64, 3)}
