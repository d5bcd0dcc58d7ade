"""Joint training of DG-Net: which term reaches which network, its schedules and batches, and what stops and resumes."""

import doctest
import sys
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlib import dgnet as module
from reidlib import dgnet_batches, dgnet_terms, training
from reidlib.data.augment import normalise
from reidlib.dgnet import train
from reidlib.dgnet_batches import edge_crop, pair_batches, prepare
from reidlib.dgnet_terms import Weights, decode, terms, weights_at
from reidlib.models.dgnet import AppearanceEncoder, Decoder, DGNet, Discriminator, StructureEncoder, gray
from reidlib.models.resnet import SmallResNet

ALL = asdict(Weights())
CLASSES = 3
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 1, 2, 2, 0, 1, 2])


def l1(x, target):
    return (x - target.detach()).abs().mean()


def tiny(seed=0):
    torch.manual_seed(seed)
    appearance = AppearanceEncoder(SmallResNet(widths=(4, 8)), CLASSES, width=6)
    structure = StructureEncoder(width=2, blocks=1, dilations=(1,))
    return DGNet(appearance, structure, Decoder(16, 32, blocks=4, hidden=4), Discriminator(2, blocks=1, scales=1))


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, CLASSES)

    def forward(self, images):
        return self.layer(images.mean((2, 3)))


def pictures(n=12, seed=0, height=16, width=16):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), generator=generator, dtype=torch.uint8)


def a_batch(step=0, size=4):
    return prepare(pictures(), LABELS, next(pair_batches(LABELS, size, 0, step)), 0, step)


def reached(value, model):
    """Which of the four networks a scalar has a gradient other than 0 in."""
    if not value.requires_grad:
        return set()
    model.zero_grad()
    value.backward()
    return {
        name
        for name, network in model.named_children()
        if any(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())
    }


def run(model=None, **options):
    model = tiny() if model is None else model
    options = {"steps": 6, "seed": 3, "batch": 4, "progress": False} | options
    return model, train(model, pictures(), LABELS, l1, **options)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


# ---------------------------------------------------------------- schedule, batches, augmentation


def test_weights_by_hand():
    """As released: by 0.0005 a step after step 30,000 of 100,000, up to 1 and 2."""
    assert weights_at(0, 100_000, Weights()) == ALL | dict.fromkeys(dgnet_terms.RISING, 0.0)
    assert weights_at(30_000, 100_000, Weights())["cycle"] == 0
    first = weights_at(30_001, 100_000, Weights())
    assert [first[name] for name in dgnet_terms.RISING] == pytest.approx([0.0005] * 4)
    assert weights_at(31_000, 100_000, Weights())["structure_code"] == pytest.approx(0.5)
    at_32 = weights_at(32_000, 100_000, Weights())
    assert [at_32[name] for name in dgnet_terms.RISING] == pytest.approx([1, 1, 1, 1])
    at_33 = weights_at(33_000, 100_000, Weights())
    assert [at_33[name] for name in dgnet_terms.RISING] == pytest.approx([1, 1, 1.5, 1.5])
    assert weights_at(34_000, 100_000, Weights()) == pytest.approx(ALL)
    assert weights_at(99_999, 100_000, Weights()) == ALL


def test_weights_of_another_length_and_start():
    assert weights_at(620, 2000, Weights())["teacher"] == pytest.approx(0.5)  # 31%
    assert weights_at(20, 1000, Weights(), warm_from=0.0)["cycle"] == pytest.approx(1)
    assert weights_at(999, 1000, Weights(), warm_from=1.0)["cycle"] == 0
    low = weights_at(33, 100, Weights(cycle=0.25, teacher=0.0))
    assert (low["cycle"], low["teacher"], low["fine"]) == (0.25, 0.0, 0.2)


def test_partners_are_other_images_of_the_same_person():
    labels = torch.tensor([4, 7, 4, 4, 9, 7, 5, 7, 7])  # one image each of 9 and of 5
    alone, seen = {4, 6}, {row: set() for row in range(9)}
    batches = pair_batches(labels, 4, seed=0)
    for _ in range(200):
        a, partners_a, b, partners_b = next(batches)
        for rows, partners in ((a, partners_a), (b, partners_b)):
            assert rows.dtype == partners.dtype == torch.int64
            assert torch.equal(labels[rows], labels[partners])
            for row, partner in zip(rows.tolist(), partners.tolist(), strict=True):
                assert (row == partner) == (row in alone)
                seen[row].add(partner)
    expected = {row: {o for o in range(9) if o != row and labels[o] == labels[row]} or {row} for row in range(9)}
    assert seen == expected


def test_both_orders_run_through_all_images_and_differ():
    batches = pair_batches(LABELS[:11], 3, seed=1)
    epochs = [[next(batches) for _ in range(3)] for _ in range(20)]
    for side in (0, 2):
        rows = [torch.cat([batch[side] for batch in epoch]) for epoch in epochs]
        assert all(len(set(epoch.tolist())) == 9 for epoch in rows)
        assert set(torch.cat(rows).tolist()) == set(range(11))
        assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(epochs[0][0][0], epochs[0][0][2])


@pytest.mark.parametrize("start", [0, 1, 3, 4, 10])
def test_batches_can_start_anywhere(start):
    whole = pair_batches(LABELS, 4, seed=2)
    expected = [next(whole) for _ in range(start + 5)][start:]
    later = pair_batches(LABELS, 4, seed=2, start=start)
    for one, other in zip(expected, [next(later) for _ in range(5)], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("batch", [0, 13])
def test_batches_that_cannot_be(batch):
    with pytest.raises(ValueError, match=f"cannot draw batches of {batch} from 12 images"):
        pair_batches(LABELS, batch, 0)
    with pytest.raises(ValueError, match=r"labels must be of shape \(n,\)"):
        pair_batches(LABELS[None], 2, 0)


def test_crops_repeat_the_border():
    images = pictures(200, height=6, width=5)
    found = edge_crop(images, 2, torch.Generator().manual_seed(0))
    padded = F.pad(images.float(), (2, 2, 2, 2), mode="replicate").byte()
    places = []
    for image, crop in zip(padded, found, strict=True):
        fits = [(y, x) for y in range(5) for x in range(5) if torch.equal(image[:, y : y + 6, x : x + 5], crop)]
        assert len(fits) == 1
        places += fits
    assert len(set(places)) == 25
    assert torch.equal(edge_crop(images, 0), images)


def test_a_batch_without_chance(monkeypatch):
    """Without mirroring and shifts it is the images themselves, in the order a, b, partners; erased ones are 0."""
    monkeypatch.setattr(dgnet_batches, "flip", lambda images, generator: (images, None))
    monkeypatch.setattr(dgnet_batches, "PADDING", 0)
    a, partners_a, b, partners_b = rows = next(pair_batches(LABELS, 4, 0))
    batch = prepare(pictures(), LABELS, rows, 0, 0)
    for found, erased, chosen in zip(batch.images, batch.erased, (a, b, partners_a, partners_b), strict=True):
        assert torch.equal(found, normalise(pictures()[chosen]))
        assert ((erased == found) | (erased == 0)).all()
    assert not torch.equal(torch.cat(batch.images), torch.cat(batch.erased))
    assert torch.equal(batch.labels[0], LABELS[a])
    assert torch.equal(batch.labels[1], LABELS[b])


def test_a_batch_depends_on_seed_and_step_alone():
    rows = next(pair_batches(LABELS, 4, 0))
    torch.manual_seed(1)
    one = prepare(pictures(), LABELS, rows, 0, 5)
    torch.manual_seed(2)
    other = prepare(pictures(), LABELS, rows, 0, 5)
    for part in ("images", "erased"):
        assert all(torch.equal(x, y) for x, y in zip(getattr(one, part), getattr(other, part), strict=True))
    for seed, step in ((1, 5), (0, 6)):
        assert not torch.equal(prepare(pictures(), LABELS, rows, seed, step).images[0], one.images[0])


# ---------------------------------------------------------------- terms

REACHED = {
    "adversarial": {"structure", "decoder"},
    "image": {"structure", "decoder"},
    "same_identity": {"structure", "decoder"},
    "identity": {"appearance"},
    "partner": {"appearance"},
    "generated_identity": {"structure", "decoder"},
    "structure_code": {"structure"},
    "appearance_code": set(),
    "cycle": {"structure", "decoder"},
    "teacher": {"appearance"},
}


@pytest.mark.parametrize("name", dgnet_terms.TERMS)
def test_which_network_a_term_reaches(name):
    model = tiny().train()
    values = terms(model, Teacher(), a_batch(), l1, ALL)
    assert tuple(values) == dgnet_terms.TERMS
    assert values[name].shape == ()
    assert values[name] > 0
    assert reached(values[name], model) == REACHED[name]


def test_the_appearance_code_term_is_inert_unless_its_code_is_live():
    for live, expected in ((False, set()), (True, {"structure", "decoder"})):
        model = tiny().train()
        value = terms(model, None, a_batch(), l1, ALL, live_code=live)["appearance_code"]
        assert reached(value, model) == expected
        assert (module._largest_gradient(terms(model, None, a_batch(), l1, ALL, live_code=live)["appearance_code"],
                                         model) > 0) == live  # fmt: skip


def test_the_coin_decides_who_learns_structure():
    """The encoder learns from a generated image that is given, or the generator from an encoder that is."""
    model, batch = tiny().train(), a_batch()
    to_encoder = terms(model, None, batch, l1, ALL, encoder_learns=True)["structure_code"]
    assert reached(to_encoder, model) == {"structure"}
    to_generator = terms(model, None, batch, l1, ALL, encoder_learns=False)["structure_code"]
    assert to_encoder.item() == pytest.approx(to_generator.item(), rel=1e-5)
    assert reached(to_generator, model) == {"structure", "decoder"}
    # the encoder is reached through the first reading of a and b only: cut that and it is not
    decoded = decode(model, batch, ALL)
    structures = tuple(s.detach() for s in decoded.structures)
    cross = model.decoder(torch.cat(structures[::-1]), torch.cat(decoded.codes[:2])).chunk(2)
    cut = decoded._replace(structures=structures, cross=cross)
    value = terms(model, None, batch, l1, ALL, decoded=cut, encoder_learns=False)["structure_code"]
    assert reached(value, model) == {"decoder"}


def slow_terms(model, teacher, batch, apply, now, encoder_learns):
    """Each term by its definition, one direction and one image pass at a time; the model's modes are eval."""
    g, e_s = model.decoder, lambda images: model.structure(gray(images))
    code = [model.appearance(images).code for images in batch.images]
    values = dict.fromkeys(dgnet_terms.TERMS, 0.0)
    cross = [g(e_s(batch.images[1 - i]), code[i]) for i in (0, 1)]  # appearance of i
    for i in (0, 1):
        x, label, other = batch.images[i], batch.labels[i], batch.labels[1 - i]
        s = e_s(x)
        values["adversarial"] += 2 * sum(((d - 1) ** 2).mean() for d in model.discriminator(cross[i]))
        values["image"] += apply["image"](g(s, code[i]), x)
        values["same_identity"] += apply["image"](g(s, code[i + 2]), x)
        seen = model.appearance(batch.erased[i])
        values["identity"] += F.cross_entropy(seen.prim, label)
        values["identity"] += now["teacher"] * now["fine"] * F.cross_entropy(seen.fine, label)
        values["partner"] += F.cross_entropy(model.appearance(batch.erased[i + 2]).prim, label)
        again = model.appearance(cross[i])
        values["generated_identity"] += F.cross_entropy(again.prim, label)
        s_again = e_s(cross[1 - i])  # the image with the structure of i
        values["structure_code"] += apply["code"](s_again, s)
        values["appearance_code"] += apply["code"](again.code, code[i])
        values["cycle"] += apply["cycle"](g(s_again, again.code), x)
        soft = sum(teacher(images).softmax(1) for images in (cross[i], cross[i].flip(-1))) / 2
        rows = (soft * (soft.log() - again.prim.log_softmax(1))).sum(1)
        values["teacher"] += rows.mean() + now["fine"] * F.cross_entropy(again.fine, other)
    return values


@pytest.mark.parametrize("encoder_learns", [True, False])
def test_terms_against_their_definitions(encoder_learns):
    model, teacher = tiny().eval(), Teacher().eval()
    with torch.no_grad():  # heads that say something
        for head in (model.appearance.prim, model.appearance.fine):
            head[-1].weight.normal_()
    apply = {"image": l1, "code": F.mse_loss, "cycle": lambda x, target: 3 * l1(x, target)}
    now = ALL | {"teacher": 0.7, "fine": 0.3}
    found = terms(model, teacher, a_batch(), apply, now, encoder_learns=encoder_learns)
    expected = slow_terms(model, teacher, a_batch(), apply, now, encoder_learns)
    for name in dgnet_terms.TERMS:
        assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-4), name
    one = terms(model, teacher, a_batch(), l1, now)
    assert one["image"].item() == pytest.approx(found["image"].item())
    assert one["cycle"].item() == pytest.approx(found["cycle"].item() / 3, rel=1e-5)


@pytest.mark.parametrize("name", dgnet_terms.TERMS)
def test_a_term_without_weight_is_not_computed(name):
    model, batch = tiny().eval(), a_batch()
    whole = terms(model, Teacher().eval(), batch, l1, ALL)
    values = terms(model, None if name == "teacher" else Teacher(), batch, l1, ALL | {name: 0.0})
    assert values[name] == 0
    assert not values[name].requires_grad
    others = set(dgnet_terms.TERMS) - {name, "teacher", *({"identity"} if name == "teacher" else ())}
    assert all(values[other].item() == pytest.approx(whole[other].item(), rel=1e-5) for other in others)


def test_no_pass_without_need(monkeypatch):
    """Before the warm-up: 4 plain and 4 erased passes and 2 of the frozen copy; no teacher, one pass of E_s."""
    model, calls = tiny().train(), []
    for name, network in (("appearance", model.appearance), ("structure", model.structure)):
        network.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    teacher = Teacher()
    teacher.register_forward_pre_hook(lambda *_: calls.append("teacher"))
    terms(model, teacher, a_batch(), l1, weights_at(0, 100, Weights()))
    assert sorted(calls) == ["appearance"] * 10 + ["structure"]
    calls.clear()
    terms(model, teacher, a_batch(), l1, ALL)
    assert calls.count("appearance") == 12
    assert calls.count("structure") == 2
    assert calls.count("teacher") == 4


def test_frozen_copies_leave_the_network_alone():
    model = tiny().train()
    before = {name: value.clone() for name, value in model.appearance.state_dict().items()}
    images = a_batch().images[0].clone().requires_grad_()
    one, other = (dgnet_terms.frozen(model.appearance, images) for _ in range(2))
    assert torch.equal(one.prim, other.prim)  # no dropout
    one.prim.square().sum().backward()
    assert images.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in model.appearance.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.appearance.state_dict().items())
    assert all(layer.training for layer in model.modules())
    trained = model.appearance(images)  # batch statistics, not running ones, in both
    torch.testing.assert_close(one.code, trained.code)
    assert not torch.allclose(dgnet_terms.frozen(model.eval().appearance, images).code, one.code)


def test_identity_dropout_does_not_depend_on_other_terms():
    values = []
    for now in (ALL, weights_at(0, 100, Weights()) | {"image": 0.0}):
        torch.manual_seed(8)
        values.append(terms(tiny().train(), None, a_batch(), l1, now | {"fine": 0.0})["partner"].item())
    assert values[0] == values[1]


# ---------------------------------------------------------------- discriminator


class Linear(nn.Module):
    """Scores of two scales: sum(w x) + 0.5 of each image, and 3 times the top left red value."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        return [(self.weight * images).sum((1, 2, 3)).view(-1, 1, 1, 1) + 0.5, 3 * images[:, :1, :1, :1]]


def test_losses_of_a_linear_discriminator_by_hand():
    weight = torch.zeros(3, 2, 2)
    weight[0, 0, 0], weight[2, 1, 1] = 2.0, -1.0
    discriminator = Linear(weight)
    real, fake = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    real[0, 0, 0, 0], real[1, 2, 1, 1] = 1.0, 1.0  # scores 2.5, -0.5; and 3, 0
    fake[0, 0, 0, 0] = 0.25  # scores 1, 0.5; and 0.75, 0
    first = (1 + 0.25) / 2 + (2.25 + 2.25) / 2 + 0.01 * 5
    second = (0.5625 + 0) / 2 + (4 + 1) / 2 + 0.01 * 9
    loss = dgnet_terms.discriminator_loss(discriminator, fake, real)
    assert loss.item() == pytest.approx(first + second)
    loss.backward()
    # by w[0, 0, 0]: fakes 2 (1 x 0.25) / 2, reals 2 (1.5 x 1) / 2, penalty 0.01 x 2 x 2
    assert discriminator.weight.grad[0, 0, 0].item() == pytest.approx(0.25 + 1.5 + 0.04)
    fake.requires_grad_()
    value = dgnet_terms.adversarial_loss(discriminator, fake)
    assert value.item() == pytest.approx(2 * ((0 + 0.25) / 2 + (0.0625 + 1) / 2))
    discriminator.weight.grad = None
    value.backward()
    assert discriminator.weight.grad is None
    assert fake.grad[1, 0, 0, 0].item() == pytest.approx(2 * (-0.5 * 2 - 1 * 3))


def test_the_discriminators_step_reaches_it_alone():
    model, batch = tiny().train(), a_batch()
    decoded = decode(model, batch, ALL)
    loss = dgnet_terms.discriminator_loss(model.discriminator, decoded.cross[0], batch.images[0])
    assert reached(loss, model) == {"discriminator"}


# ---------------------------------------------------------------- training


def test_history():
    seen = []

    def watch(model, step):
        seen.append(model.training)
        return {"step twice": 2 * step}

    model, history = run(steps=10, watch=watch, watch_at=(4, 10, 30), teacher=Teacher())
    names = {*dgnet_terms.TERMS, "discriminator", "total"}
    assert set(history) == names | {"watch/step", "watch/step twice", "appearance_code_gradient"}
    assert all([type(value) for value in history[name]] == [float] * 10 for name in names)
    assert history["watch/step"] == [4, 10]
    assert history["watch/step twice"] == [8.0, 20.0]
    assert seen == [False, False]
    assert model.training
    for name in dgnet_terms.RISING:
        assert history[name][:4] == [0.0] * 4
        assert min(history[name][4:]) > 0
    total = [
        sum(weights_at(step, 10, Weights())[name] * history[name][step] for name in dgnet_terms.TERMS)
        for step in range(10)
    ]
    assert history["total"] == pytest.approx(total, rel=1e-5)


def test_the_gradient_of_the_appearance_code_is_kept():
    assert run(steps=4)[1]["appearance_code_gradient"] == [0.0]
    (live,) = run(steps=4, live_code=True)[1]["appearance_code_gradient"]
    assert live > 0
    assert "appearance_code_gradient" not in run(steps=4, weights=Weights(appearance_code=0))[1]


def test_the_same_call_gives_the_same_model():
    torch.manual_seed(5)
    one, history = run()
    torch.manual_seed(6)
    other, again = run()
    assert history == again
    assert same(one, other)
    assert not same(one, run(seed=4)[0])


def test_a_step_by_hand():
    """One step of each optimiser from gradients taken here: Adam with beta1 0 moves by about its rate, SGD by lr g."""
    model, plain = tiny(), tiny().train()
    _, history = run(model, steps=1, warm_from=1.0, lr_appearance=0.1, head_factor=3)
    torch.manual_seed(training.stream_seed(3, "step", 0))
    batch = prepare(pictures(), LABELS, next(pair_batches(LABELS, 4, 3)), 3, 0)
    now = weights_at(0, 1, Weights(), 1.0)
    decoded = decode(plain, batch, now)
    judged = sum(dgnet_terms.discriminator_loss(plain.discriminator, decoded.cross[i], batch.images[i]) for i in (0, 1))
    adam = torch.optim.Adam(plain.discriminator.parameters(), 1e-4, betas=(0.0, 0.999), weight_decay=5e-4)
    judged.backward()
    adam.step()
    assert history["discriminator"] == [pytest.approx(judged.item(), rel=1e-5)]
    values = terms(plain, None, batch, l1, now, decoded=decoded)
    for name, weight in (("adversarial", 1), ("image", 5), ("same_identity", 5), ("identity", 1), ("partner", 1)):
        (weight * values[name]).backward(retain_graph=True)
    (0.5 * values["generated_identity"]).backward()
    for part, factor in ((plain.appearance.trunk, 1), (plain.appearance.prim, 3)):
        for parameter in part.parameters():
            step = parameter.grad + 5e-4 * parameter.data
            parameter.data -= 0.1 * factor * (step + 0.9 * step)  # Nesterov's first step
    adam = torch.optim.Adam(plain.generator_parameters(), 1e-4, betas=(0.0, 0.999), weight_decay=5e-4)
    adam.step()
    fine = {f"appearance.fine.{name}" for name, _ in model.appearance.fine.named_parameters()}
    start = dict(tiny().named_parameters())
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        if name in fine:  # no loss reaches it yet
            assert torch.equal(ours, start[name]), name
            continue
        clear = theirs.grad.abs() > 1e-4  # a bias before a norm has a gradient of rounding errors, which Adam blows up
        torch.testing.assert_close(ours[clear], theirs[clear], atol=2e-6, rtol=1e-4, msg=name)
        assert (ours[clear] != start[name][clear]).all(), name


@pytest.mark.parametrize("step", [0, 5, 6, 8, 9])
def test_learning_rates_fall(step):
    optimisers = module._optimisers(tiny(), 1e-4, 2e-4, 0.002, 10)
    module._set_rates(optimisers, step, 10)
    factor = {0: 1, 5: 1, 6: 0.1, 8: 0.1, 9: 0.01}[step]
    rates = [group["lr"] for optimiser in optimisers.values() for group in optimiser.param_groups]
    assert rates == pytest.approx([1e-4 * factor, 2e-4 * factor, 0.002 * factor, 0.02 * factor])


def test_every_parameter_learns():
    model, before = tiny(), tiny()
    run(model, steps=10, teacher=Teacher())
    for (name, ours), theirs in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(ours, theirs), name


def test_the_teacher_stays_as_it_is():
    teacher = Teacher()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    run(steps=6, teacher=teacher)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_only_identity_trains_the_appearance_encoder_alone():
    model, before = tiny(), tiny()
    _, history = run(model, only_identity=True, teacher=Teacher())
    for name, network in before.named_children():
        assert same(network, getattr(model, name)) == (name != "appearance")
    assert set(history) == {*dgnet_terms.TERMS, "discriminator", "total"}
    for name in {*dgnet_terms.TERMS, "discriminator"} - {"identity", "partner"}:
        assert history[name] == [0.0] * 6
    _, whole = run()
    for name in ("identity", "partner"):  # the same batches and dropout
        assert history[name][0] == pytest.approx(whole[name][0], rel=1e-6)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, monkeypatch):
    options = {"steps": 14, "teacher": Teacher(), "watch": lambda m, s: {"s": s}, "watch_at": (3, 9)}
    whole, expected = run(**options)
    options |= {"checkpoint": tmp_path / "c", "checkpoint_every": 4}

    def stop_at(number):
        def failing(images, labels, rows, seed, step, device):
            if step == number:
                raise KeyboardInterrupt
            return prepare(images, labels, rows, seed, step, device)

        return failing

    for number in (6, 11):  # the second after a first resume
        monkeypatch.setattr(module, "prepare", stop_at(number))
        with pytest.raises(KeyboardInterrupt):
            run(**options)
    monkeypatch.setattr(module, "prepare", prepare)
    model, history = run(tiny(seed=1), **options)
    assert history == expected
    assert same(model, whole)
    again, finished = run(tiny(seed=2), **options)
    assert finished == expected
    assert same(again, whole)
    assert {file.name for file in (tmp_path / "c").iterdir()} == {"latest.json", "14.state", "14.weights"}


def test_a_term_that_is_not_finite_is_named_and_the_last_checkpoint_kept(tmp_path):
    calls = []

    def breaks(x, target):  # twice a step for image and same_identity each
        calls.append(1)
        return l1(x, target) * (torch.nan if len(calls) > 4 * 7 + 2 else 1)

    with pytest.raises(
        training.TrainingError, match=r"shirts: same_identity is not finite at step 7 \(lr_generator 0.0001\): lower"
    ):
        train(
            tiny(), pictures(), LABELS, breaks, steps=40, seed=0, batch=4, warm_from=1.0, progress=False,
            description="shirts", checkpoint=tmp_path, checkpoint_every=5,
        )  # fmt: skip
    assert {file.name for file in tmp_path.iterdir()} == {"latest.json", "5.state", "5.weights"}
    model = tiny(seed=1)
    _, history = run(model, steps=6, seed=0, warm_from=1.0, checkpoint=tmp_path)
    assert len(history["total"]) == 6
    assert torch.isfinite(torch.tensor(history["total"])).all()


@pytest.mark.parametrize(
    ("network", "message"),
    [("discriminator", "adversarial .*lower lr_generator|discriminator .*lower lr_discriminator"),
     ("appearance", "(identity|image) is not finite at step 0")],
)  # fmt: skip
def test_a_broken_network(network, message):
    model = tiny()
    with torch.no_grad():
        next(getattr(model, network).parameters()).fill_(torch.nan)
    with pytest.raises(training.TrainingError, match=message):
        run(model, steps=30)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """The loss of the last step before a checkpoint is sound, the update after it is not."""
    model = tiny()
    hook = model.decoder.draw[-1].weight.register_hook(
        lambda gradient: gradient * (torch.nan if (tmp_path / "latest.json").exists() else 1)
    )
    with pytest.raises(training.TrainingError, match=r"decoder.draw.*is not finite after step 1: lower .* decoder"):
        run(model, steps=5, checkpoint=tmp_path, checkpoint_every=1)
    hook.remove()
    assert {file.name for file in tmp_path.iterdir()} == {"latest.json", "1.state", "1.weights"}


def test_losses_fall():
    """Everybody wears one colour, before a background that is darker above or below."""
    colours = torch.tensor([[220, 40, 40], [40, 220, 40], [40, 40, 220]])[LABELS]
    images = colours[:, :, None, None].repeat(1, 1, 16, 16)
    images[::2, :, :8] //= 4
    images[1::2, :, 8:] //= 4
    history = train(
        tiny(), images.byte(), LABELS, l1, steps=100, seed=0, batch=6, lr_generator=5e-3,
        progress=False,
    )  # fmt: skip
    for name in ("image", "same_identity", "identity", "partner", "cycle"):
        values = torch.tensor(history[name])
        values = values[values > 0]
        assert values[-10:].mean() < 0.8 * values[:10].mean(), name


def test_bfloat16_trains_all_and_stays_close():
    torch.manual_seed(0)
    model, before = tiny(), tiny()
    _, history = run(model, steps=4, precision="bfloat16", teacher=Teacher())
    _, exact = run(steps=4, teacher=Teacher())
    assert history["image"] == pytest.approx(exact["image"], rel=0.05)
    assert history["image"] != exact["image"]
    for (name, ours), theirs in zip(model.named_parameters(), before.parameters(), strict=True):
        assert not torch.equal(ours, theirs), name
        assert ours.dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_sees_the_same_batches(precision):
    _, exact = run(steps=3)
    _, history = run(tiny().cuda(), steps=3, precision=precision, teacher=Teacher().cuda())
    assert history["image"] == pytest.approx(exact["image"], rel=0.05)


def test_errors():
    def call(images=None, labels=LABELS, reconstruction=l1, **options):
        options = {"steps": 2, "seed": 0, "batch": 4, "progress": False} | options
        train(tiny(), pictures() if images is None else images, labels, reconstruction, **options)

    for bad in (pictures().float(), pictures()[:, :1], pictures()[0]):
        with pytest.raises(ValueError, match=r"images must be uint8 \(n, 3, h, w\)"):
            call(bad)
    for bad in (LABELS[:5], LABELS.int(), LABELS[None]):
        with pytest.raises(ValueError, match=r"labels must be int64 \(12,\)"):
            call(labels=bad)
    for bad in (LABELS + 1, LABELS - 1):
        with pytest.raises(ValueError, match="labels must lie between 0 and 2"):
            call(labels=bad)
    with pytest.raises(ValueError, match="batch must be between 2 and the 12 images, got 13"):
        call(batch=13)
    with pytest.raises(ValueError, match="steps must be 1 or more"):
        call(steps=0)
    with pytest.raises(ValueError, match="warm_from is a share"):
        call(warm_from=30)
    with pytest.raises(ValueError, match="'float16' cannot be used here"):
        call(precision="float16")
    with pytest.raises(ValueError, match="one function each for image, code, cycle, got code, image"):
        call(reconstruction={"image": l1, "code": l1})
    stranger = Teacher()
    stranger.layer = nn.Linear(3, 5)
    with pytest.raises(ValueError, match="the teacher knows 5 people, the model 3"):
        call(teacher=stranger, warm_from=0.0)
    with pytest.raises(ValueError, match="the weight of cycle is negative"):
        call(weights=Weights(cycle=-1))


def test_examples():
    failed, tried = doctest.testmod(sys.modules["reidlib.dgnet_terms"])
    assert tried > 0
    assert failed == 0


def test_without_a_teacher_nothing_that_is_generated_reaches_the_encoder():
    """Not even its running statistics: the encoder alone ends as the same one."""
    whole, _ = run()
    alone, _ = run(only_identity=True)
    heavier, _ = run(weights=Weights(image=50.0, generated_identity=5.0))
    taught, _ = run(teacher=Teacher())
    assert same(alone.appearance, whole.appearance)
    assert same(heavier.appearance, whole.appearance)
    assert not same(heavier.decoder, whole.decoder)
    assert not same(taught.appearance, whole.appearance)
