"""Grad-CAM by hand, means of weights on classes against a loop, and the outline of a person."""

import math

import numpy as np
import pytest
import torch

from reidlib.data import parsing
from reidlib.saliency import attention_by_part, grad_cam, outline, upsample


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_grad_cam_of_a_linear_score_by_hand():
    """score = sum of channel 0 x 2 - sum of channel 1: the gradients are 2 and -1 everywhere."""
    maps = torch.tensor([[[[1.0, 2.0], [0.0, 3.0]], [[0.0, 1.0], [2.0, 2.0]]]], requires_grad=True)
    score = 2 * maps[:, 0].sum((1, 2)) - maps[:, 1].sum((1, 2))
    # 2 x channel 0 - channel 1 is 2, 3, -2, 4: without the negative value and divided by 4
    assert torch.equal(grad_cam(maps, score), torch.tensor([[[0.5, 0.75], [0.0, 1.0]]]))


def test_grad_cam_averages_the_gradient_of_a_channel():
    """score = value at one corner of channel 0 x 4, and channel 1 with gradients that cancel out."""
    maps = torch.tensor([[[[2.0, 1.0], [0.0, 4.0]], [[9.0, 9.0], [9.0, 9.0]]]], requires_grad=True)
    score = 4 * maps[:, 0, 0, 0] + maps[:, 1, 0, 0] - maps[:, 1, 1, 1]
    assert torch.equal(grad_cam(maps, score), torch.tensor([[[0.5, 0.25], [0.0, 1.0]]]))


def test_grad_cam_scales_each_image_by_its_own_maximum():
    maps = torch.tensor([[[[1.0, 2.0]]], [[[10.0, 40.0]]]], requires_grad=True)
    assert grad_cam(maps, maps.sum((1, 2, 3))).tolist() == [[[0.5, 1.0]], [[0.25, 1.0]]]


def test_an_image_without_a_positive_value_stays_zero():
    maps = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]], [[[1.0, 4.0]]]], requires_grad=True)
    signs = torch.tensor([-1.0, 1.0, 1.0])
    assert grad_cam(maps, signs * maps.sum((1, 2, 3))).tolist() == [[[0, 0]], [[0, 0]], [[0.25, 1]]]


def test_grad_cam_of_a_network_against_a_loop(generator):
    torch.manual_seed(0)
    trunk, head = torch.nn.Conv2d(3, 5, 3), torch.nn.Linear(5, 2)
    maps = trunk(torch.randn(3, 3, 6, 5, generator=generator)).tanh()
    score = head(maps.mean((2, 3)))[:, 1] ** 2
    cams = grad_cam(maps, score)
    assert not cams.requires_grad
    for image in range(3):
        pooled = maps[image].mean((1, 2))
        gradient = 2 * (head.weight[1] @ pooled + head.bias[1]) * head.weight[1] / 12
        cam = torch.zeros(4, 3)
        for channel in range(5):
            cam += gradient[channel].detach() * maps[image, channel].detach()
        cam = cam.clamp(min=0)
        assert torch.allclose(cams[image], cam / cam.max() if cam.max() > 0 else cam, atol=1e-5)
    assert cams.amax((1, 2)).gt(0).any()


def test_a_second_score_of_the_same_maps():
    maps = (torch.arange(4.0).reshape(1, 1, 2, 2).requires_grad_() * 1).exp()
    score = maps.square().mean((1, 2, 3))
    assert torch.allclose(grad_cam(maps, score), grad_cam(maps, 3 * score))
    assert grad_cam(maps, -score).eq(0).all()


def test_grad_cam_of_half_precision_is_float32():
    maps = torch.ones(1, 2, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    assert grad_cam(maps, maps.sum((1, 2, 3))).dtype == torch.float32


def test_grad_cam_says_what_it_cannot_explain():
    maps = torch.ones(2, 3, 4, 5, requires_grad=True)
    with pytest.raises(ValueError, match=r"a score \(b,\), got \(2, 3, 4, 5\) and \(2, 1\)"):
        grad_cam(maps, maps.sum((2, 3))[:, :1])
    with pytest.raises(ValueError, match=r"got \(3, 4, 5\) and \(3,\)"):
        grad_cam(maps[0], maps[0].sum((1, 2)))
    other = torch.ones(2, requires_grad=True)
    for a, b in ((maps, other), (maps, maps.detach().sum((1, 2, 3))), (maps.detach(), other)):
        with pytest.raises(ValueError, match=r"from these very maps, outside torch\.no_grad"):
            grad_cam(a, b)


def test_upsampling_by_hand():
    """Centres of the pixels lie at -1/4, 1/4, 3/4, 5/4 of the two positions; beyond the ends the ends count."""
    maps = torch.tensor([[[0.0, 4.0]]])
    assert upsample(maps, (1, 4)).tolist() == [[[0, 1, 3, 4]]]
    assert upsample(maps, (2, 2)).tolist() == [[[0, 4], [0, 4]]]
    assert upsample(maps.bfloat16(), (1, 4)).dtype == torch.float32
    with pytest.raises(ValueError, match=r"upsample needs maps \(b, h, w\), got \(1, 1, 1, 2\)"):
        upsample(maps[None], (1, 4))


def test_means_by_hand():
    weights = torch.tensor([[[[0.0, 4.0]]], [[[8.0, 8.0]]]])  # at four pixels: 0, 1, 3, 4 and 8, 8, 8, 8
    parts = torch.tensor([[[0, 1, 2, 2]], [[0, 0, 0, 1]]], dtype=torch.uint8)
    groups = {"background": [0], "head": [1], "body": (2,), "person": [1, 2], "bag": [7], "none": []}
    found = attention_by_part(weights, parts, groups)
    assert list(found) == list(groups)
    assert found["background"] == 24 / 4  # one pixel of the first image, three of the second
    assert found["head"] == 9 / 2
    assert found["body"] == 7 / 2
    assert found["person"] == 16 / 4
    assert math.isnan(found["bag"])
    assert math.isnan(found["none"])


def test_means_against_a_loop(generator):
    weights = torch.rand(300, 1, 4, 2, generator=generator)
    parts = torch.randint(0, 8, (300, 8, 6), generator=generator, dtype=torch.uint8)
    parts[7:] = torch.where(parts[7:] == 5, 0, parts[7:]).to(torch.uint8)  # class 5 in few images
    groups = {"head": parsing.members("drawn", "head"), "limbs": [5], "odd": [1, 3, 5, 7]}
    found = attention_by_part(weights, parts, groups)
    values = torch.nn.functional.interpolate(weights, (8, 6), mode="bilinear").double().numpy()
    for name, numbers in groups.items():
        kept = [values[i, 0, y, x] for i, y, x in np.argwhere(np.isin(parts.numpy(), numbers))]
        assert found[name] == pytest.approx(sum(kept) / len(kept), rel=1e-6)


def test_the_last_class_of_a_map_counts():
    parts = torch.tensor([[[1, 255]]], dtype=torch.uint8)
    found = attention_by_part(torch.tensor([[[[1.0, 2.0]]]]), parts, {"first": [1], "last": [255]})
    assert found == {"first": 1.0, "last": 2.0}


def test_weights_of_a_model_may_be_in_a_graph_and_in_half_precision():
    weights = torch.full((1, 1, 2, 2), 0.5, dtype=torch.bfloat16, requires_grad=True)
    assert attention_by_part(weights, torch.ones(1, 4, 4, dtype=torch.uint8), {"all": [1]}) == {"all": 0.5}


def test_means_of_what_does_not_fit():
    weights, parts = torch.zeros(2, 1, 2, 2), torch.zeros(2, 4, 4, dtype=torch.uint8)
    for a, b in (
        (weights[:, 0], parts),
        (weights.expand(2, 3, 2, 2), parts),
        (weights, parts[:1]),
        (weights, parts[0]),
    ):
        with pytest.raises(ValueError, match=r"needs weights \(b, 1, h, w\) and parts \(b, H, W\), got"):
            attention_by_part(a, b, {"head": [1]})
    with pytest.raises(ValueError, match=r"parts must be uint8 class numbers, got torch\.int64"):
        attention_by_part(weights, parts.long(), {"head": [1]})


def test_the_outline_by_hand():
    parts = torch.tensor(
        [
            [0, 0, 0, 0, 0],
            [0, 1, 2, 3, 0],
            [0, 1, 2, 3, 0],
            [0, 1, 2, 3, 0],
            [0, 0, 0, 0, 0],
        ],
        dtype=torch.uint8,
    )
    expected = torch.tensor(
        [
            [0, 1, 1, 1, 0],  # a corner touches the person by a corner only
            [1, 1, 1, 1, 1],
            [1, 1, 0, 1, 1],  # between two classes of the person there is no outline
            [1, 1, 1, 1, 1],
            [0, 1, 1, 1, 0],
        ],
        dtype=torch.bool,
    )
    assert torch.equal(outline(parts[None])[0], expected)


def test_the_outline_against_a_loop(generator):
    parts = torch.randint(0, 3, (4, 9, 7), generator=generator, dtype=torch.uint8)
    parts[torch.rand(4, 9, 7, generator=generator) < 0.5] = 0
    found = outline(parts)
    for image, row, column in np.ndindex(4, 9, 7):
        person = parts[image, row, column] > 0
        near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        crossed = [(parts[image, y, x] > 0) != person for y, x in near if 0 <= y < 9 and 0 <= x < 7]
        assert found[image, row, column] == any(crossed)


def test_the_frame_is_no_outline():
    assert not outline(torch.ones(2, 4, 3, dtype=torch.uint8)).any()
    assert not outline(torch.zeros(2, 4, 3, dtype=torch.uint8)).any()
    assert outline(torch.ones(1, 1, 1, dtype=torch.uint8)).tolist() == [[[False]]]
    with pytest.raises(ValueError, match=r"outline needs label maps \(b, H, W\), got \(4, 3\)"):
        outline(torch.ones(4, 3, dtype=torch.uint8))
