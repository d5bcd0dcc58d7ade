"""The network of the clothing-change chapter: shapes, sizes, weighted maps, and which loss reaches which weights."""

import copy

import pytest
import torch
import torch.nn.functional as F

from reidlib import models
from reidlib.models.ifd import IFD, feature_maps

PIDS = torch.tensor([0, 0, 1, 1])


@pytest.fixture
def images():
    return torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def clothing():
    """A shirt whose edges do not fall between the cells of an 8x4 map; the last image shows none."""
    pixels = torch.zeros(4, 64, 32, dtype=torch.bool)
    pixels[:3, 19:45, 6:29] = True
    return pixels


@pytest.fixture
def masked(images, clothing):
    return images.masked_fill(clothing[:, None], 0)


def small(two_streams=True, **options):
    torch.manual_seed(0)
    main, attention = models.build("resnet-small"), models.build("resnet-small")
    return IFD(main, attention if two_streams else None, identities=5, **options)


def resnet50():
    return models.build("resnet50", weights=None)


def used(module):
    """Statistics that are neither 0 nor 1, so that a batch norm in eval mode does something."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            torch.nn.init.normal_(norm.bias, 0, 0.1, generator=generator)
    return module.eval()


def close(a, b, atol=1e-5):
    return torch.allclose(a, b, atol=atol)


def test_shapes_at_the_size_of_the_paper():
    torch.manual_seed(0)
    model = IFD(resnet50(), resnet50(), identities=77).eval()
    images = torch.randn(1, 3, 384, 192)
    clothing = torch.zeros(1, 384, 192, dtype=torch.bool)
    clothing[:, 100:300, 60:140] = True
    summary = []
    model.attention_conv.register_forward_hook(lambda _, args, __: summary.append(args[0].shape))
    with torch.no_grad():
        seen = model(images, images.masked_fill(clothing[:, None], 0), clothing)
        main, attention = model.identity_logits(seen)
    assert seen.maps.shape == (1, 2048, 24, 12)
    assert summary == [(1, 2, 24, 12)]
    assert seen.weights.shape == (1, 1, 24, 12)
    assert seen.main.shape == seen.attention.shape == seen.clothing.shape == (1, 2048)
    assert main.shape == attention.shape == (1, 77)
    assert seen.dressed.tolist() == [True]


def test_a_small_trunk_gives_maps_of_8x4(images, masked, clothing):
    seen = small()(images, masked, clothing)
    assert seen.maps.shape == (4, 128, 8, 4)
    assert seen.weights.shape == (4, 1, 8, 4)
    assert seen.main.shape == seen.attention.shape == seen.clothing.shape == (4, 128)
    assert seen.dressed.tolist() == [True, True, True, False]
    assert seen.clothing.dtype == torch.float32


@pytest.mark.parametrize("identities", [150, 77])
def test_parameters_of_the_paper(identities):
    with torch.device("meta"):
        model = IFD(resnet50(), resnet50(), identities=identities)
    sizes = [parameter.numel() for parameter in model.parameters()]
    assert sum(sizes) == 2 * 23_508_032 + 98 + 3 * 4_096 + 2 * 2_048 * identities
    stage_1 = sum(parameter.numel() for parameter in model.attention_parameters())
    assert stage_1 == 23_508_032 + 4_096 + 2_048 * identities


def test_parameters_of_one_stream():
    with torch.device("meta"):
        baseline = IFD(resnet50(), identities=150, clothing_branch=False)
        debiased = IFD(resnet50(), identities=150)
    assert sum(p.numel() for p in baseline.parameters()) == 23_508_032 + 4_096 + 2_048 * 150
    assert sum(p.numel() for p in debiased.parameters()) == 23_508_032 + 2 * 4_096 + 2_048 * 150


@pytest.mark.parametrize(("backbone", "norm"), [("resnet50", "bn1"), ("resnet-small", "bn")])
def test_feature_maps_are_the_trunk_before_its_pooling(backbone, norm, images):
    base = used(models.build(backbone, weights=None))
    names = {name for name in base.trunk.state_dict() if not name.startswith("fc.")}
    maps = feature_maps(base)
    with torch.no_grad():
        assert close(maps(images).mean((2, 3)), base.trunk_features(images), atol=1e-4)
    assert set(maps.state_dict()) == names
    assert getattr(maps, norm) is getattr(base.trunk, norm)


def test_the_last_stage_of_a_resnet50_keeps_its_resolution():
    maps = feature_maps(resnet50()).eval()
    with torch.no_grad():
        assert maps(torch.zeros(1, 3, 64, 32)).shape == (1, 2048, 4, 2)


def test_the_attention_matrix_by_hand():
    """Two channels, a window of 1, whose weights are 2 for the largest channel and -1 for the mean."""
    model = small(kernel=1)
    with torch.no_grad():
        model.attention_conv.weight.copy_(torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1))
    maps = torch.tensor([[[[1.0, 0.0]], [[3.0, -2.0]]]])
    expected = torch.tensor([2 * 3.0 - 2.0, 2 * 0.0 + 1.0]).sigmoid()
    assert close(model.attention_weights(maps), expected.reshape(1, 1, 1, 2))


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_the_attention_matrix_against_a_loop(kernel, images, masked):
    model = used(small(kernel=kernel))
    seen = model(images, masked)
    attended = model.attention(masked)
    weight = model.attention_conv.weight[0]
    assert weight.shape == (2, kernel, kernel)
    half = kernel // 2
    for image, row, column in [(0, 0, 0), (1, 3, 1), (2, 7, 3), (3, 4, 2)]:
        total = torch.zeros(())
        for u in range(kernel):
            for v in range(kernel):
                y, x = row + u - half, column + v - half
                if 0 <= y < 8 and 0 <= x < 4:
                    channels = attended[image, :, y, x]
                    total = total + weight[0, u, v] * channels.max() + weight[1, u, v] * channels.mean()
        assert close(seen.weights[image, 0, row, column], 1 / (1 + (-total).exp()))


def test_maps_and_features_against_a_loop(images, masked, clothing):
    model = used(small())
    seen = model(images, masked, clothing)
    seen_maps, weights = model.main(images), seen.weights
    refined, covered = torch.zeros(4, 128, 8, 4), torch.zeros(4, 128, 8, 4)
    for row in range(8):
        for column in range(4):
            refined[:, :, row, column] = seen_maps[:, :, row, column] * weights[:, :, row, column]
            cell = clothing[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            share = cell.float().flatten(1).mean(1)
            covered[:, :, row, column] = refined[:, :, row, column] * share[:, None]
    assert close(seen.maps, refined)
    assert close(seen.main, normed(model.main_neck, refined))
    assert close(seen.attention, normed(model.attention_neck, model.attention(masked)))
    expected = normed(model.clothing_neck, covered)
    assert close(seen.clothing, expected / expected.square().sum(1, keepdim=True).sqrt())
    assert close(model.attention_only(masked), seen.attention)


def normed(neck, maps):
    """Mean over the positions of maps, then batch norm in eval mode."""
    pooled = maps.sum((2, 3)) / (maps.shape[2] * maps.shape[3])
    return (pooled - neck.running_mean) / (neck.running_var + neck.eps).sqrt() * neck.weight + neck.bias


def test_each_batch_norm_learns_the_statistics_of_its_own_features(images, masked, clothing):
    model = small().train()
    pooled = {}
    for name in ("main_neck", "attention_neck", "clothing_neck"):
        getattr(model, name).register_forward_hook(lambda _, args, __, n=name: pooled.setdefault(n, []).append(args[0]))
    seen = model(images, masked, clothing)
    assert close(pooled["main_neck"][0], seen.maps.mean((2, 3)))
    for name, inputs in pooled.items():
        assert len(inputs) == 1
        assert close(getattr(model, name).running_mean, 0.1 * inputs[0].mean(0))
    assert close(seen.main, model.main_neck(pooled["main_neck"][0]))


def test_logits_are_linear_in_the_features_before_they_are_scaled(images, masked):
    model = used(small())
    seen = model(images, masked)
    main, attention = model.identity_logits(seen)
    assert close(main, seen.main @ model.main_classifier.weight.T)
    assert close(attention, seen.attention @ model.attention_classifier.weight.T)
    assert torch.equal(attention, model.attention_logits(seen.attention))


def test_initial_weights():
    torch.manual_seed(0)
    wide = models.build("resnet-small", widths=(16, 4096))
    model = IFD(wide, models.build("resnet-small", widths=(16, 4096)), identities=100)
    for neck in (model.main_neck, model.attention_neck, model.clothing_neck):
        assert neck.weight.mean().item() == pytest.approx(1, abs=0.002)
        assert neck.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert neck.bias.eq(0).all()
        assert neck.bias.requires_grad
    for classifier in (model.main_classifier, model.attention_classifier):
        assert classifier.bias is None
        assert classifier.weight.mean().item() == pytest.approx(0, abs=1e-5)
        assert classifier.weight.std().item() == pytest.approx(0.001, rel=0.01)


PARTS = (
    "main",
    "main_neck",
    "main_classifier",
    "attention",
    "attention_neck",
    "attention_classifier",
    "attention_conv",
    "clothing_neck",
)


def reached(model, loss):
    """Names of the parts of which every weight got a gradient that is not 0; a part reached in places is an error."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = set()
    for part in PARTS:
        module = getattr(model, part)
        flags = [p.grad is not None and bool(p.grad.ne(0).any()) for p in module.parameters()] if module else []
        assert len(set(flags)) <= 1, f"{part} is reached in places: {flags}"
        if any(flags):
            found.add(part)
    return found


def pull_together(seen):
    """A loss of the clothing features as Eq. 4 uses them: similarities of the images that show clothes."""
    features = seen.clothing[seen.dressed]
    similarities = features @ features.T * 16
    return F.cross_entropy(similarities.fill_diagonal_(-1e4), torch.tensor([1, 0, 0]))


def test_stage_1_reaches_the_attention_stream_only(masked):
    model = small().train()
    loss = F.cross_entropy(model.attention_logits(model.attention_only(masked)), PIDS)
    parts = reached(model, loss)
    assert parts == {"attention", "attention_neck", "attention_classifier"}
    trained = {id(p) for part in parts for p in getattr(model, part).parameters()}
    assert {id(p) for p in model.attention_parameters()} == trained
    assert len(model.attention_parameters()) == len(trained)


def test_the_identity_loss_of_the_main_stream_reaches_both_streams(images, masked, clothing):
    model = small().train()
    loss = F.cross_entropy(model.identity_logits(model(images, masked, clothing))[0], PIDS)
    assert reached(model, loss) == {"main", "main_neck", "main_classifier", "attention", "attention_conv"}


def test_the_identity_loss_of_the_attention_stream_stays_there(images, masked, clothing):
    model = small().train()
    loss = F.cross_entropy(model.identity_logits(model(images, masked, clothing))[1], PIDS)
    assert reached(model, loss) == {"attention", "attention_neck", "attention_classifier"}


def test_the_clothing_loss_reaches_both_streams_and_no_classifier(images, masked, clothing):
    model = small().train()
    loss = pull_together(model(images, masked, clothing))
    assert reached(model, loss) == {"main", "clothing_neck", "attention", "attention_conv"}


def test_a_stopped_gradient_shields_the_attention_stream(images, masked, clothing):
    model = small(stop_gradient=True).train()
    identity = F.cross_entropy(model.identity_logits(model(images, masked, clothing))[0], PIDS)
    assert reached(model, identity) == {"main", "main_neck", "main_classifier"}
    assert reached(model, pull_together(model(images, masked, clothing))) == {"main", "clothing_neck"}
    own = F.cross_entropy(model.identity_logits(model(images, masked, clothing))[1], PIDS)
    assert reached(model, own) == {"attention", "attention_neck", "attention_classifier"}


def test_a_stopped_gradient_changes_no_value(images, masked, clothing):
    free, stopped = used(small()), used(small(stop_gradient=True))
    assert torch.equal(free(images, masked, clothing).clothing, stopped(images, masked, clothing).clothing)


def test_gradients_of_one_stream(images, clothing):
    model = small(two_streams=False).train()
    identity = F.cross_entropy(model.identity_logits(model(images, None, clothing))[0], PIDS)
    assert reached(model, identity) == {"main", "main_neck", "main_classifier"}
    assert reached(model, pull_together(model(images, None, clothing))) == {"main", "clothing_neck"}


def test_one_stream_weighs_nothing(images, masked, clothing):
    model = used(small(two_streams=False))
    seen = model(images, clothing=clothing)
    assert seen.attention is None
    assert seen.weights is None
    assert torch.equal(seen.maps, model.main(images))
    main, attention = model.identity_logits(seen)
    assert main.shape == (4, 5)
    assert attention is None
    assert torch.equal(model(images, masked, clothing).clothing, seen.clothing)


def test_without_attention_two_streams_are_one(images, masked, clothing):
    model = used(small())
    seen = model(images, clothing=clothing, use_attention=False)
    one = used(small(two_streams=False))
    assert seen.attention is None
    assert seen.weights is None
    assert torch.equal(seen.maps, one(images).maps)
    assert not close(seen.maps, model(images, masked).maps)


def test_no_branch_and_no_clothing_pixels_give_no_clothing_features(images, masked, clothing):
    for seen in (small()(images, masked), small(clothing_branch=False)(images, masked, clothing)):
        assert seen.clothing is None
        assert seen.dressed is None
    assert small(clothing_branch=False).clothing_neck is None


def test_an_image_without_clothes_gets_the_direction_of_the_bias(images, masked, clothing):
    model = small().eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.clothing_neck.bias)
        seen = model(images, masked, clothing)
    assert seen.dressed.tolist() == [True, True, True, False]
    bias = model.clothing_neck.bias.detach()
    assert close(seen.clothing[3], bias / bias.norm())
    assert not close(seen.clothing[0], bias / bias.norm(), atol=1e-2)


def test_one_clothing_pixel_is_enough(images, masked):
    clothing = torch.zeros(4, 64, 32, dtype=torch.bool)
    clothing[1, 63, 31] = True
    assert small()(images, masked, clothing).dressed.tolist() == [False, True, False, False]


def test_a_batch_without_clothes_has_finite_gradients(images, masked):
    model = small().train()
    seen = model(images, masked, torch.zeros(4, 64, 32, dtype=torch.bool))
    assert not seen.dressed.any()
    assert reached(model, seen.clothing[seen.dressed].sum() + seen.clothing.sum() * 0) == set()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_streams_have_separate_weights(images, masked, clothing):
    model = small().train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.attention_parameters(), lr=0.1)
    F.cross_entropy(model.attention_logits(model.attention_only(masked)), PIDS).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert {name.split(".")[0] for name in changed} == {"attention", "attention_neck", "attention_classifier"}


def test_autocast_keeps_features_and_logits_in_float32(images, masked, clothing):
    model = used(small())
    plain = model(images, masked, clothing)
    with torch.autocast("cpu", torch.bfloat16):
        seen = model(images, masked, clothing)
        logits = model.identity_logits(seen)
    assert seen.maps.dtype == torch.bfloat16
    for name in ("main", "attention", "clothing"):
        assert getattr(seen, name).dtype == torch.float32
        assert F.cosine_similarity(getattr(seen, name), getattr(plain, name)).min() > 0.99
    assert {part.dtype for part in logits} == {torch.float32}
    assert close(logits[0], seen.main @ model.main_classifier.weight.T, atol=1e-7)
    assert reached(model.train(), pull_together(seen)) == {"main", "clothing_neck", "attention", "attention_conv"}


def test_channels_last_gives_the_same(images, masked, clothing):
    model = used(small())
    plain = model(images, masked, clothing)
    model = model.to(memory_format=torch.channels_last)
    seen = model(*(part.to(memory_format=torch.channels_last) for part in (images, masked)), clothing)
    for name in ("main", "attention", "clothing", "weights", "maps"):
        assert close(getattr(seen, name), getattr(plain, name))


def test_a_double_model_stays_double(images, masked, clothing):
    seen = small().double()(images.double(), masked.double(), clothing)
    assert {seen.main.dtype, seen.attention.dtype, seen.clothing.dtype} == {torch.float64}


@pytest.mark.parametrize("kernel", [0, -1, 2, 8])
def test_the_kernel_is_odd(kernel):
    with pytest.raises(ValueError, match=f"must be odd and at least 1, got {kernel}"):
        small(kernel=kernel)


def test_models_that_cannot_be_built():
    base = models.build("resnet-small")
    with pytest.raises(ValueError, match="at least 1 identity, got identities=0"):
        IFD(base, identities=0)
    with pytest.raises(ValueError, match="the same trunk: build a second model"):
        IFD(base, base, identities=5)
    with pytest.raises(ValueError, match="not from MILDNet: choose a resnet backbone"):
        IFD(models.build("mildnet-small"), identities=5)
    with pytest.raises(ValueError, match="not from MILDNet: choose a resnet backbone"):
        IFD(base, models.build("mildnet-small"), identities=5)


def test_inputs_that_do_not_fit(images, masked, clothing):
    model = small()
    with pytest.raises(ValueError, match="needs the masked images: pass masked, or use_attention=False"):
        model(images)
    with pytest.raises(ValueError, match=r"shape of the images \(4, 3, 64, 32\), got \(3, 3, 64, 32\)"):
        model(images, masked[:3])
    with pytest.raises(ValueError, match=r"bool of shape \(4, 64, 32\), one value a pixel, got torch.bool of shape"):
        model(images, masked, clothing[:, ::2])
    with pytest.raises(ValueError, match=r"got torch.bool of shape \(4, 1, 64, 32\)"):
        model(images, masked, clothing[:, None])
    with pytest.raises(ValueError, match=r"clothing must be bool .* got torch\.uint8"):
        model(images, masked, clothing.byte())


def test_streams_of_two_resolutions(images, masked):
    coarse = models.build("resnet-small", widths=(16, 32, 32, 32, 128))
    model = IFD(models.build("resnet-small"), coarse, identities=5)
    with pytest.raises(ValueError, match="maps of 8x4 and 4x2 positions: use one backbone for both"):
        model(images, masked)


def test_one_stream_has_no_attention_to_train(masked):
    model = small(two_streams=False)
    calls = (
        model.attention_parameters,
        lambda: model.attention_only(masked),
        lambda: model.attention_logits(torch.zeros(4, 128)),
    )
    for call in calls:
        with pytest.raises(ValueError, match="this model has one stream: build it with attention="):
            call()
