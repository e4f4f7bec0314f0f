"""Recipes: the defaults are the published recipe, and values that are not allowed are named."""

from pathlib import Path

import pytest

from selsa_training.config import CONFIGS
from selsa_training.model.detector import build_detector
from selsa_training.recipe.errors import TrainingError
from selsa_training.recipe.file import load_recipe, packaged_recipes
from selsa_training.recipe.recipe import Recipe
from selsa_training.running.optimiser import build_optimiser
from selsa_training.running.schedule import rate_factor, total_steps


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_packaged_recipe_is_allowed_and_has_its_model(name: str) -> None:
    assert load_recipe(name).model.name == name


@pytest.mark.parametrize("name", ["r50-dc5", "r101-dc5", "x101-dc5"])
def test_the_published_recipe_is_the_default(name: str) -> None:
    assert load_recipe(name) == Recipe(model=CONFIGS[name])


def test_the_baseline_differs_from_the_default_in_aggregation_alone() -> None:
    ours, baseline = load_recipe("tiny"), load_recipe("tiny-single-frame")
    assert baseline.model_copy(update={"model": ours.model}) == ours
    with_it = baseline.model.model_copy(
        update={
            "name": "tiny",
            "reference_frames": ours.model.reference_frames,
            "head": baseline.model.head.model_copy(update={"aggregation": True}),
        }
    )
    assert with_it == ours.model


def test_a_recipe_file_holds_the_differences_from_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = { base = "r50-dc5", head = { heads = 8 } }\n[optimiser]\nrate = 0.02\n')
    recipe = load_recipe(str(path), ["schedule.epochs=3", "backbone.pretrained="])
    assert (recipe.model.head.heads, recipe.model.head.width) == (8, 1024)
    assert (recipe.optimiser.rate, recipe.optimiser.momentum) == (0.02, 0.9)
    assert (recipe.schedule.epochs, recipe.backbone.pretrained) == (3, "")


@pytest.mark.parametrize(
    ("content", "overrides", "named"),
    [
        ('model = "r51"', [], "r51"),
        ('model = "r50-dc5"\nspeed = 1', [], "speed"),
        ('model = "r50-dc5"\n[optimiser]\nrate = -1', [], "optimiser.rate"),
        ('model = "r50-dc5"', ["sampling.count=3"], "even number"),
        ('model = "r50-dc5"', ["optimiser.method=adam"], "optimiser.method"),
        ('model = "r50-dc5"', ["rate"], "not an override"),
        ('model = "r50-dc5"', ["model.head.width=100"], "width 100"),
        ("model = ", [], "not TOML"),
        ("", [], "model"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(
    tmp_path: Path, content: str, overrides: list[str], named: str
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(content)
    with pytest.raises(TrainingError, match=named):
        load_recipe(str(path), overrides)


def test_an_unknown_recipe_is_refused_with_the_list_of_known_ones(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"r50-dc5.*tiny"):
        load_recipe("r52-dc5")
    with pytest.raises(TrainingError, match="No such file"):
        load_recipe(str(tmp_path / "none.toml"))


def test_the_published_schedule_warms_up_and_drops_twice() -> None:
    schedule = load_recipe("r50-dc5").schedule
    assert total_steps(schedule, 1000) == 7000
    assert rate_factor(schedule, 0, 1000) == pytest.approx(1 / 3)
    assert rate_factor(schedule, 250, 1000) == pytest.approx(2 / 3)
    steps = (500, 1999, 2000, 4999, 5000, 6999)
    assert [rate_factor(schedule, step, 1000) for step in steps] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_a_cosine_schedule_ends_at_zero() -> None:
    schedule = load_recipe("tiny").schedule
    factors = [rate_factor(schedule, step, 99) for step in range(schedule.warm_up, schedule.steps)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] > 0.99
    assert factors[-1] < 1e-5


def test_a_layer_of_many_inputs_outside_the_backbone_learns_more_slowly() -> None:
    recipe = load_recipe("tiny", ["optimiser.fan_in=256", "optimiser.rate=0.001"])
    detector = build_detector(recipe.model)
    optimiser = build_optimiser(detector, recipe.optimiser)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    named = dict(detector.named_parameters())
    assert rates[id(named["head.stages.0.fc.weight"])] == pytest.approx(0.001 * 256 / 6272)
    assert rates[id(named["head.stages.1.fc.weight"])] == 0.001
    assert rates[id(named["backbone.layer4.0.conv2.weight"])] == 0.001
    assert len(rates) == len(named)


def test_norms_and_biases_are_not_decayed_unless_the_recipe_says_so() -> None:
    for name, expected in (("tiny", {0.05, 0.0}), ("r18-dc5", {1e-4})):
        recipe = load_recipe(name)
        detector = build_detector(recipe.model)
        groups = build_optimiser(detector, recipe.optimiser).param_groups
        assert {group["weight_decay"] for group in groups} == expected
        spared = [p for group in groups if group["weight_decay"] == 0 for p in group["params"]]
        assert all(parameter.ndim < 2 for parameter in spared)
