"""The training objective: boxes are matched as published, losses do not depend on the rest of the batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from selsa_training.config import ModelConfig
from selsa_training.data.samples import SampleBatch
from selsa_training.model.aggregation import AggregationHead
from selsa_training.model.boxes import decode_boxes, encode_boxes, pairwise_iou
from selsa_training.model.detector import build_detector
from selsa_training.model.roi_align_matrices import roi_align_matrices
from selsa_training.objective.ground_truth import GroundTruth
from selsa_training.objective.losses import head_losses, rpn_losses
from selsa_training.objective.matching import Match, add_true_boxes, match_boxes
from selsa_training.objective.objective import LOSSES, DetectorObjective
from selsa_training.objective.sampling import Choice, choose, random_numbers
from selsa_training.recipe.file import load_recipe
from selsa_training.recipe.recipe import MatchingRecipe, Recipe
from selsa_training.running.starting_weights import freeze, initialise, training_mode

RPN = MatchingRecipe(positive=0.7, negative=0.3, least=0.3)
STD = (0.2, 0.2, 0.2, 0.2)


def truth_of(*frames: list[list[float]], most: int | None = None) -> GroundTruth:
    """Objects per frame, labels 1, 2, ..."""
    boxes = tuple(torch.tensor(frame, dtype=torch.float32).reshape(-1, 4) for frame in frames)
    labels = tuple(torch.arange(1, len(frame) + 1) for frame in frames)
    ignored = tuple(torch.zeros(len(frame), dtype=torch.bool) for frame in frames)
    nothing = torch.zeros(0)
    return GroundTruth.of(SampleBatch((), nothing, nothing, boxes, labels, ignored, 1, nothing))


# Boxes and features --------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_encoded_deltas_decode_to_the_same_box(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 300, (2, 20, 2))
    boxes = torch.from_numpy(np.concatenate([corners, corners + random.uniform(5, 200, corners.shape)], 2))
    anchors, targets = boxes.float()
    assert torch.allclose(decode_boxes(anchors, encode_boxes(anchors, targets, STD), STD), targets, atol=1e-2)


def test_iou_is_the_share_of_the_union() -> None:
    a = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 0, 0]]])
    b = torch.tensor([[[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]]])
    assert pairwise_iou(a, b).tolist() == [
        [pytest.approx([1, 1 / 3, 0], abs=1e-6), pytest.approx([0, 0, 0], abs=1e-6)]
    ]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_pooling_by_matrices_is_roi_align(seed: int) -> None:
    random = np.random.default_rng(seed)
    features = torch.from_numpy(random.standard_normal((2, 5, 7, 9))).float()
    low = random.uniform(-60, 160, (2, 11, 2))
    boxes = torch.from_numpy(np.concatenate([low, low + random.uniform(0, 120, low.shape)], 2)).float()
    rois = torch.cat([torch.arange(2.0).repeat_interleave(11)[:, None], boxes.reshape(-1, 4)], 1)
    wanted = roi_align(features, rois, (7, 7), 1 / 16, 2, aligned=True)
    found = roi_align_matrices(features, boxes, size=7, sampling_ratio=2, scale=1 / 16)
    assert torch.allclose(found.transpose(2, 3).reshape(wanted.shape), wanted, atol=1e-4)


@pytest.mark.parametrize("aggregation", [True, False])
def test_training_and_engines_aggregate_equally(aggregation: bool) -> None:
    torch.manual_seed(0)
    samples, frames, proposals, channels, cells = 2, 3, 4, 6, 9
    head = AggregationHead(channels * cells, 16, 2, 2, aggregation=aggregation)
    pooled = torch.randn(samples, frames, proposals, channels, cells)
    valid = torch.rand(samples, frames, proposals) < 0.7
    cell_by_cell = pooled.transpose(3, 4).reshape(samples, frames * proposals, cells, channels)
    learned = head.learn(cell_by_cell, None, valid.flatten(1)).reshape(samples, frames, proposals, -1)
    head.eval()
    for sample in range(samples):
        queries, memory = head.memorise(pooled[sample].flatten(2))
        for key in range(frames):
            others = [frame for frame in range(frames) if frame != key]
            bank = torch.cat([memory[other] for other in others], dim=2)
            found = head.aggregate(
                queries[key : key + 1],
                valid[sample, key : key + 1],
                memory[key : key + 1],
                bank,
                valid[sample, others].flatten(),
            )
            rows = valid[sample, key]
            assert torch.allclose(found[0, rows], learned[sample, key, rows], atol=1e-5)


# Matching ------------------------------------------------------------------------------------------------


def test_a_box_is_positive_negative_or_neither_by_its_overlap() -> None:
    truth = truth_of([[0, 0, 100, 100]])
    boxes = torch.tensor([[[0.0, 0, 100, 100], [0, 0, 100, 80], [0, 0, 100, 50], [0, 0, 100, 20]]])
    match = match_boxes(boxes, torch.ones(1, 4, dtype=torch.bool), truth, RPN)
    assert match.positive.tolist() == [[True, True, False, False]]
    assert match.negative.tolist() == [[False, False, False, True]]


def test_an_object_keeps_its_best_box_even_if_that_overlaps_it_little() -> None:
    truth = truth_of([[0, 0, 100, 100], [0, 0, 100, 20]])
    boxes = torch.tensor([[[0.0, 0, 100, 50], [0, 60, 100, 62]]])
    match = match_boxes(boxes, torch.ones(1, 2, dtype=torch.bool), truth, RPN)
    # The box overlaps the first object by .5 and the second by .4: best for both, the last one gets it.
    assert match.positive.tolist() == [[True, False]]
    assert match.object[0, 0] == 1
    assert match.negative.tolist() == [[False, True]]


def test_a_true_box_is_a_positive_of_its_own_and_changes_no_proposal() -> None:
    truth = truth_of([[0, 0, 100, 100], [0, 0, 100, 60]])
    # The proposal overlaps the first object by .8 and the second by .75: the best that the second has.
    boxes = torch.tensor([[[0.0, 0, 100, 80], [0, 0, 100, 100], [0, 0, 100, 60]]])
    own = torch.tensor([[-1, 0, 1]])
    recipe = MatchingRecipe(positive=0.5, negative=0.5, least=0.5)
    match = add_true_boxes(match_boxes(boxes, own < 0, truth, recipe), own)
    assert match.positive.all()
    assert match.object.tolist() == [[1, 0, 1]]


def test_a_frame_without_positive_anchors_has_a_divisor_of_one_more() -> None:
    positive, negative = torch.zeros(1, 300, dtype=torch.bool), torch.zeros(1, 300, dtype=torch.bool)
    negative[0, :256] = True
    match = Match(positive, negative, torch.zeros(1, 300, dtype=torch.int64))
    losses = rpn_losses(
        torch.zeros(1, 300),
        torch.zeros(1, 300, 4),
        torch.ones(300, 4),
        match,
        Choice(positive, negative),
        truth_of([]),
        beta=1 / 9,
    )
    assert losses.divisor.tolist() == [257]


def test_boxes_that_are_no_candidates_are_neither_positive_nor_negative() -> None:
    truth = truth_of([[0, 0, 100, 100]])
    boxes = torch.tensor([[[0.0, 0, 100, 100], [200, 200, 300, 300]]])
    match = match_boxes(boxes, torch.zeros(1, 2, dtype=torch.bool), truth, RPN)
    assert not match.positive.any()
    assert not match.negative.any()


def test_a_frame_without_objects_is_all_background() -> None:
    truth = truth_of([[0, 0, 10, 10]], [])
    match = match_boxes(torch.rand(2, 5, 4), torch.ones(2, 5, dtype=torch.bool), truth, RPN)
    assert not match.positive[1].any()
    assert match.negative[1].all()


def test_ignored_objects_are_not_learned() -> None:
    boxes = (torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]),)
    batch = SampleBatch(
        (),
        torch.zeros(0),
        torch.zeros(0),
        boxes,
        (torch.tensor([3, 4]),),
        (torch.tensor([True, False]),),
        1,
        torch.ones(1, dtype=torch.bool),
    )
    truth = GroundTruth.of(batch)
    assert truth.labels.tolist() == [[4]]
    assert truth.boxes.tolist() == [[[20, 20, 40, 40]]]


# Sampling ------------------------------------------------------------------------------------------------


def test_a_choice_is_balanced_and_filled_with_background() -> None:
    positive = torch.zeros(2, 100, dtype=torch.bool)
    positive[0, :40], positive[1, :3] = True, True
    match = Match(positive, ~positive, torch.zeros(2, 100, dtype=torch.int64))
    choice = choose(match, torch.rand(2, 100), count=20, positive_share=0.25)
    assert choice.positive.sum(1).tolist() == [5, 3]
    assert choice.negative.sum(1).tolist() == [15, 17]
    assert not (choice.positive & ~positive).any()


def test_random_numbers_depend_on_the_sample_alone() -> None:
    alone = random_numbers(torch.tensor([7]), 1, 2, 50)
    beside = random_numbers(torch.tensor([3, 7]), 1, 2, 80)
    assert torch.equal(alone, beside[2:, :50])
    assert not torch.equal(alone, random_numbers(torch.tensor([7]), 2, 2, 50))


# Losses --------------------------------------------------------------------------------------------------


def test_a_correct_head_has_no_loss_and_a_wrong_one_has() -> None:
    truth = truth_of([[10, 10, 50, 50]])
    boxes = torch.tensor([[[12.0, 10, 50, 48], [100, 100, 120, 130]]])
    match = match_boxes(boxes, torch.ones(1, 2, dtype=torch.bool), truth, RPN)
    choice = Choice(match.positive, match.negative)
    logits = torch.full((1, 2, 4), -20.0)
    logits[0, 0, 1], logits[0, 1, 3] = 20, 20
    deltas = torch.zeros(1, 2, 3, 4)
    deltas[0, 0, 1] = encode_boxes(boxes[0, 0], truth.boxes[0, 0], STD)
    score, box, count = head_losses(logits, deltas, boxes, match, choice, truth, std=STD, beta=1.0)
    assert float(score) < 1e-6
    assert float(box) < 1e-9
    assert int(count) == 2
    # Only the true class's deltas count.
    deltas[0, 0, 0] = 9
    assert float(head_losses(logits, deltas, boxes, match, choice, truth, std=STD, beta=1.0)[1]) < 1e-9
    _, wrong, _ = head_losses(logits, torch.zeros(1, 2, 3, 4), boxes, match, choice, truth, std=STD, beta=1.0)
    assert float(wrong) > 0.01


def small_recipe(name: str) -> Recipe:
    return load_recipe(
        name,
        [
            "model.preprocess.long_side=96",
            "model.preprocess.short_side=64",
            "model.anchors.scales=[1.0,2.0,4.0]",
            "model.proposals.candidates=50",
            "model.proposals.proposals=8",
            "model.head.width=64",
            "rpn.proposals=12",
            "backbone.frozen_norm=true",
            'model.classes=["a","b","c"]',
        ],
    )


def batch_of(samples: list[int], frames_each: int = 3) -> SampleBatch:
    """Sample i is the same whatever it is beside; it has i objects a frame, at least one."""
    frames, boxes, labels = [], [], []
    for sample in samples:
        random = np.random.default_rng(sample)
        for _ in range(frames_each):
            frames.append(random.integers(0, 256, (64, 96, 3), np.uint8))
            low = random.uniform(0, 40, (max(1, sample), 2)).astype(np.float32)
            boxes.append(
                torch.from_numpy(np.concatenate([low, low + random.uniform(10, 24, low.shape)], 1)).float()
            )
            labels.append(torch.from_numpy(random.integers(0, 3, len(low))))
    return SampleBatch(
        tuple(map(str, samples)),
        torch.from_numpy(np.stack(frames)),
        torch.tensor([[64, 96]] * len(frames)),
        tuple(boxes),
        tuple(labels),
        tuple(torch.zeros(len(x), dtype=torch.bool) for x in labels),
        frames_each,
        torch.ones(len(frames), dtype=torch.bool),
    )


def losses_of(objective: DetectorObjective, batch: SampleBatch) -> torch.Tensor:
    seeds = torch.tensor([int(name) for name in batch.names])
    losses = objective(batch.frames, batch.image_size, GroundTruth.of(batch), seeds, batch.frames_each)
    return torch.stack([losses[name] for name in LOSSES])


@pytest.mark.parametrize("name", ["tiny", "tiny-single-frame", "r18-dc5"])
def test_the_losses_of_a_batch_are_the_mean_over_its_samples(name: str) -> None:
    recipe = small_recipe(name)
    torch.manual_seed(0)
    detector = build_detector(recipe.model)
    initialise(detector)
    freeze(detector, recipe.backbone)
    training_mode(detector, recipe.backbone)
    objective = DetectorObjective(detector, recipe)
    together = losses_of(objective, batch_of([1, 4]))
    alone = torch.stack([losses_of(objective, batch_of([sample])) for sample in (1, 4)])
    assert torch.allclose(together, alone.mean(0), rtol=1e-3, atol=1e-5)


def test_frames_that_fill_up_a_sample_change_no_loss() -> None:
    recipe = small_recipe("r18-dc5")
    torch.manual_seed(0)
    detector = build_detector(recipe.model)
    initialise(detector)
    training_mode(detector, recipe.backbone)
    objective = DetectorObjective(detector, recipe)
    batch = batch_of([4])

    def losses(frames: list[int], present: list[bool]) -> torch.Tensor:
        truth, rows = GroundTruth.of(batch), torch.tensor(frames)
        found = objective(
            batch.frames[rows],
            batch.image_size[rows],
            truth[rows],
            torch.tensor([4]),
            len(rows),
            torch.tensor(present),
        )
        return torch.stack([found[name] for name in LOSSES])

    alone = losses([0, 1], [True, True])
    assert torch.allclose(losses([0, 1, 2], [True, True, False]), alone, rtol=1e-5)
    assert not torch.allclose(losses([0, 1, 2], [True, True, True]), alone, rtol=1e-5)


def test_every_trained_part_gets_a_gradient_and_frozen_ones_none() -> None:
    recipe = small_recipe("r18-dc5")
    torch.manual_seed(0)
    detector = build_detector(recipe.model)
    initialise(detector)
    freeze(detector, recipe.backbone)
    training_mode(detector, recipe.backbone)
    # Residual branches begin with a scale of zero, and nothing would reach what lies before it.
    for module in detector.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    losses_of(DetectorObjective(detector, recipe), batch_of([2])).sum().backward()  # type: ignore[no-untyped-call]
    got = {name for name, p in detector.named_parameters() if p.grad is not None and bool(p.grad.any())}
    frozen = {name for name, p in detector.named_parameters() if not p.requires_grad}
    assert {name.split(".")[1] for name in frozen} == {"conv1", "bn1", "layer1"}
    silent = {name for name, _ in detector.named_parameters()} - got - frozen
    # A softmax does not change when every row's score shifts by the same amount.
    assert all(".attention.key.bias" in name for name in silent), silent


def test_a_model_without_aggregation_has_no_attention() -> None:
    config: ModelConfig = load_recipe("tiny-single-frame").model
    assert not any("attention" in name for name in build_detector(config).state_dict())
