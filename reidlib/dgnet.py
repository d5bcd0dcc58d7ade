"""Joint training of DG-Net: encoders, decoder and discriminator on two batches at once, and the losses of one step.

Source: Shah, Person Re-identification in Surveillance Video (2022), Eqs. 4.1 to 4.4, who trains the network of Zheng
et al., Joint Discriminative and Generative Learning for Person Re-identification (CVPR 2019), with other reconstruction
losses. What neither text says, and the weights, follow the latter's released code. Names: a step sees images a and b,
each with a partner, another image of the same person. x_ba is the image with the appearance of a and the structure of
b, x_ab the other way round.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from reidlib import checkpoints, training
from reidlib.data.augment import flip, normalise, random_erasing
from reidlib.models.dgnet import DGNet, gray
from reidlib.teacher import soft_labels

PENALTY = 0.01  # of the discriminator's gradient at real images
PADDING = 10 / 256  # of an image's height, before the random crop
RISE = 50.0  # by which a weight rises while the share of the steps that are done rises by 1: 0.0005 in 1/100000
CHECKED = 25  # steps from one look at the losses to the next: each look waits for the device
DECAY_AT = (0.6, 0.9)  # shares of the steps after which the learning rates fall to a tenth
TERMS = (
    "adversarial",
    "image",
    "same_identity",
    "identity",
    "partner",
    "generated_identity",
    "structure_code",
    "appearance_code",
    "cycle",
    "teacher",
)
RISING = ("structure_code", "appearance_code", "cycle", "teacher")
OF_THE_ENCODER = ("identity", "partner", "teacher")  # terms that train the appearance encoder
PARTS = ("image", "code", "cycle")  # for which there can be a reconstruction loss each
GRADIENT = "appearance_code_gradient"  # in the history
Reconstruction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Weights:
    """What each term counts, in the end; `weights_at` says when. The defaults are those of the released code.

    adversarial: also of the discriminator's own loss. image: of images rebuilt from their own two codes.
    same_identity: of images rebuilt with the partner's appearance. identity: of the person in real images. partner: of
    the person in the partners. generated_identity: of the person whose appearance a generated image has.
    structure_code, appearance_code: of codes that are read again from generated images. cycle: of images rebuilt from
    those. teacher: of the teacher's soft labels of generated images. fine: of the fine head, within the teacher term
    and, times the weight of that, within the identity term.
    """

    adversarial: float = 1.0
    image: float = 5.0
    same_identity: float = 5.0
    identity: float = 1.0
    partner: float = 1.0
    generated_identity: float = 0.5
    structure_code: float = 1.0
    appearance_code: float = 1.0
    cycle: float = 2.0
    teacher: float = 2.0
    fine: float = 0.2


class Batch(NamedTuple):
    """What one step sees, each in the order a, b, partners of a, partners of b.

    images, erased: four float (b, 3, h, w), normalised; the latter with random erasing. labels: of a and of b, int64
    (b,); partners have the same.
    """

    images: tuple[Tensor, ...]
    erased: tuple[Tensor, ...]
    labels: tuple[Tensor, Tensor]


class Decoded(NamedTuple):
    """Codes of the images and what the decoder makes of them; pairs are in the order of a, b.

    structures: (b, maps, h/4, w/4) each. codes: appearances (b, code) of a, b and the partners, without a graph.
    cross: x_ba, x_ab. own, partners: a and b from their own structure and appearance, and from their own structure and
    the partner's appearance; None where those have no weight.
    """

    structures: tuple[Tensor, Tensor]
    codes: tuple[Tensor, ...]
    cross: tuple[Tensor, Tensor]
    own: tuple[Tensor, Tensor] | None
    partners: tuple[Tensor, Tensor] | None


def weights_at(step: int, steps: int, weights: Weights, warm_from: float = 0.3) -> dict[str, float]:
    """The weight of every term, and "fine", in step number `step` (from 0) of `steps`.

    Those of the two codes, the cycle and the teacher are 0 up to the share `warm_from` of the steps, and rise from
    there by 0.0005 in a hundred-thousandth of the steps until they are what `weights` has. As released, they reach 1 at
    32% and 2 at 34% of the steps.

    >>> now = weights_at(330, 1000, Weights())
    >>> now["image"], now["structure_code"], round(now["cycle"], 6)
    (5.0, 1.0, 1.5)
    """
    now = asdict(weights)
    done = max(0.0, (step - warm_from * steps) / steps)
    return now | {name: min(now[name], RISE * done) for name in RISING}


def pair_batches(labels: Tensor, batch: int, seed: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """Rows (a, partners of a, b, partners of b), int64 (batch,) each, of batch number `start`, start + 1, ...

    a and b each run through all images in an order of their own, new in every epoch; a last, smaller batch is left out.
    A partner is a random other image with the same label, and the image itself where that is the only one.
    labels: integers (n,), one an image. Raises ValueError for another shape, and for a batch below 1 or above n.
    """
    labels = torch.as_tensor(labels).cpu()
    if labels.ndim != 1:
        raise ValueError(f"labels must be of shape (n,), one an image, got {tuple(labels.shape)}")
    if not 1 <= batch <= len(labels):
        raise ValueError(f"cannot draw batches of {batch} from {len(labels)} images: choose a batch between 1 and that")
    return _pair_batches(labels, batch, seed, start)


def _pair_batches(labels: Tensor, batch: int, seed: int, start: int) -> Iterator[tuple[Tensor, ...]]:
    by_label = labels.argsort(stable=True)
    counts = torch.unique(labels, return_counts=True)[1]
    firsts = torch.empty_like(by_label)  # of an image: where its label starts in `by_label`, where itself stands there
    firsts[by_label] = (counts.cumsum(0) - counts).repeat_interleave(counts)
    places, sizes = torch.empty_like(by_label), torch.empty_like(by_label)
    places[by_label] = torch.arange(len(labels))
    sizes[by_label] = counts.repeat_interleave(counts)
    epoch, number = divmod(start, len(labels) // batch)
    while True:
        sides = []
        for side in ("a", "b"):
            order = torch.randperm(len(labels), generator=training.stream(seed, "order", side, epoch))
            share = torch.rand(len(labels), dtype=torch.float64, generator=training.stream(seed, "mate", side, epoch))
            others = (sizes[order] - 1).clamp(min=1)
            further = torch.minimum((share * others).long(), others - 1) + 1
            place = (places[order] - firsts[order] + further) % sizes[order]
            sides += [order, by_label[firsts[order] + place]]
        batches = zip(*(rows[: len(labels) // batch * batch].split(batch) for rows in sides), strict=True)
        yield from list(batches)[number:]
        epoch, number = epoch + 1, 0


def edge_crop(images: Tensor, padding: int, generator: torch.Generator | None = None) -> Tensor:
    """Repeat the border of each image `padding` pixels outwards and crop the old size at a random place.

    images: (b, 3, h, w) of any type. The draws are made on the generator's device, the CPU by default.
    """
    b, _, h, w = images.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, b, 1), generator=generator).to(images.device) - padding
    rows = (shifts[0] + torch.arange(h, device=images.device)).clamp(0, h - 1)
    columns = (shifts[1] + torch.arange(w, device=images.device)).clamp(0, w - 1)
    return images[torch.arange(b, device=images.device)[:, None, None], :, rows[:, :, None], columns[:, None]].permute(
        0, 3, 1, 2
    )


def prepare(images: Tensor, labels: Tensor, rows: tuple[Tensor, ...], seed: int, step: int, device="cpu") -> Batch:
    """The batch of a step: mirrored with probability 0.5, shifted by up to 10/256 of the height with repeated borders,
    normalised, and the same with random erasing (probability 0.5, filled with the mean colour).

    images: uint8 (n, 3, h, w). labels: int64 (n,). rows: as `pair_batches` gives them. Every draw follows from `seed`
    and `step` alone.
    """
    a, partners_a, b, partners_b = rows
    chosen = images[torch.cat((a, b, partners_a, partners_b)).to(images.device)].to(device)
    stream = training.stream(seed, "augmentation", step)
    chosen = flip(edge_crop(chosen, round(PADDING * images.shape[2]), stream), generator=stream)[0]
    chosen = normalise(chosen).contiguous(memory_format=torch.channels_last)
    erased = random_erasing(chosen, 0.5, generator=training.stream(seed, "erasing", step))
    erased = erased.contiguous(memory_format=torch.channels_last)
    of_both = tuple(labels[side.to(labels.device)].to(device) for side in (a, b))
    return Batch(chosen.chunk(4), erased.chunk(4), of_both)


def decode(model: DGNet, batch: Batch, now: Mapping[str, float]) -> Decoded:
    """Encode the images of a batch and decode what the step needs. now: as `weights_at` gives it.

    The appearance encoder sees a, b and the partners one after the other, so that each have their own batch
    statistics; no loss reaches it from here, as in the released code.
    """
    codes = _codes(model, batch)
    s_a, s_b = model.structure(gray(torch.cat(batch.images[:2]))).chunk(2)
    a, b, partner_a, partner_b = codes
    structures, appearances = [s_b, s_a], [a, b]
    if now["image"]:
        structures, appearances = [*structures, s_a, s_b], [*appearances, a, b]
    if now["same_identity"]:
        structures, appearances = [*structures, s_a, s_b], [*appearances, partner_a, partner_b]
    made = list(model.decoder(torch.cat(structures), torch.cat(appearances)).chunk(len(structures)))
    own = (made[2], made[3]) if now["image"] else None
    partners = (made[-2], made[-1]) if now["same_identity"] else None
    return Decoded((s_a, s_b), codes, (made[0], made[1]), own, partners)


@torch.no_grad()
def _codes(model: DGNet, batch: Batch) -> tuple[Tensor, ...]:
    """Appearance codes of a, b and the partners, as four (b, c); in train mode they move the running statistics."""
    with _without_dropout(model.appearance):  # the heads only count statistics here
        return tuple(model.appearance(images).code for images in batch.images)


def discriminator_loss(discriminator: nn.Module, fake: Tensor, real: Tensor) -> Tensor:
    """What the discriminator minimises: least squares towards 0 for `fake` and 1 for `real`, with a gradient penalty.

    The sum over its scales of mean(D(fake)^2) + mean((D(real) - 1)^2) + 0.01 mean over the images of the squared norm
    of the gradient of the sum of that scale's D(real) with respect to the image. fake, real: float (b, 3, h, w).
    The real images are taken in float32 also under autocast, for the sake of the penalty. A scalar, float32 or float64.
    """
    of_fake = discriminator(fake.detach())
    real = real.detach().to(torch.promote_types(real.dtype, torch.float32)).requires_grad_()
    with torch.autocast(real.device.type, enabled=False):
        of_real = discriminator(real)
        loss = real.new_zeros(())
        for generated, given in zip(of_fake, of_real, strict=True):
            (slope,) = torch.autograd.grad(given.sum(), real, create_graph=True)
            loss = loss + _wide(generated).square().mean() + (given - 1).square().mean()
            loss = loss + PENALTY * slope.square().sum((1, 2, 3)).mean()
    return loss


def adversarial_loss(discriminator: nn.Module, fake: Tensor) -> Tensor:
    """What the generator minimises: 2 times the sum over the scales of mean((D(fake) - 1)^2).

    Gradients go to `fake`, not to the discriminator.
    """
    return sum(2 * (_wide(scores) - 1).square().mean() for scores in frozen(discriminator, fake))


def frozen(network: nn.Module, *inputs: Tensor, **options):
    """`network(*inputs)` of a frozen copy: gradients go to the inputs only, and the network stays as it is.

    Batch norms work in the mode they are in, but their running statistics stay put; dropout is off.
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with _without_dropout(network):
        return functional_call(network, parameters | buffers, inputs, options)


@contextmanager
def _without_dropout(network: nn.Module):
    active = [module for module in network.modules() if isinstance(module, nn.Dropout) and module.training]
    for module in active:
        module.training = False
    try:
        yield
    finally:
        for module in active:
            module.training = True


def terms(
    model: DGNet,
    teacher: nn.Module | None,
    batch: Batch,
    reconstruction: Reconstruction | Mapping[str, Reconstruction],
    now: Mapping[str, float],
    *,
    decoded: Decoded | None = None,
    encoder_learns: bool = True,
    live_code: bool = False,
    only_identity: bool = False,
) -> dict[str, Tensor]:
    """Every term that generator and encoders minimise together: scalars, unweighted, by the names of `TERMS`.

    A term is summed over the two directions, a and b; one without weight in `now` (see `weights_at`) is not computed
    and 0. R below is `reconstruction`: one function (x, target) -> scalar, or one each for "image" (also of
    same_identity), "code" (structure and appearance) and "cycle". Which gradients the target gets is R's affair.

    adversarial: see `adversarial_loss`, of x_ba and x_ab. image: R(a from its own codes, a). same_identity: R(a from
    its structure and the partner's appearance, a). identity: cross-entropy of the prim head on erased a, and now
    ["teacher"] * now["fine"] times that of the fine head. partner: cross-entropy of the prim head on erased partners.
    generated_identity: cross-entropy of the prim head of a frozen appearance encoder on x_ba, with the person of a.
    structure_code: R(structure of x_ab, structure of a). With `encoder_learns` the structure encoder learns from an
    image that is given; otherwise it is frozen, and the generator learns.
    appearance_code: R(appearance of x_ba, appearance of a), both without a graph as in the released code, so that it
    has no gradient; `live_code` keeps that of the former, for the generator. cycle: R(a decoded from the two codes that
    were read again, a).
    teacher: KL divergence of the prim head on x_ba from the teacher's soft labels, a mean over the images, and now
    ["fine"] times the cross-entropy of the fine head with the person of b, who gave the structure. It trains the
    appearance encoder only. teacher None: 0.

    decoded: what `decode` gave for this batch; None computes it. only_identity: identity and partner alone, the others
    are 0.
    """
    values = dict.fromkeys(TERMS, batch.images[0].new_zeros(()))
    values |= _identities(model, batch, now)
    if only_identity:
        return values
    apply = reconstruction if isinstance(reconstruction, Mapping) else dict.fromkeys(PARTS, reconstruction)
    decoded = decode(model, batch, now) if decoded is None else decoded
    real, cross = batch.images[:2], decoded.cross
    if now["adversarial"]:
        values["adversarial"] = 2 * adversarial_loss(model.discriminator, torch.cat(cross))
    if now["image"]:
        values["image"] = _both(apply["image"], decoded.own, real)
    if now["same_identity"]:
        values["same_identity"] = _both(apply["image"], decoded.partners, real)
    if now["generated_identity"] or now["appearance_code"] or now["cycle"]:
        again = [frozen(model.appearance, images, detach=not live_code) for images in cross]
        codes = tuple(seen.code for seen in again)
        if now["generated_identity"]:
            values["generated_identity"] = _both(F.cross_entropy, [seen.prim for seen in again], batch.labels)
        if now["appearance_code"]:
            values["appearance_code"] = _both(apply["code"], codes, decoded.codes[:2])
    if now["structure_code"] or now["cycle"]:
        back = torch.cat(cross[::-1])  # x_ab, x_ba: the structures of a and b
        seen = model.structure(gray(back.detach())) if encoder_learns else frozen(model.structure, gray(back))
        if now["structure_code"]:
            values["structure_code"] = _both(apply["code"], seen.chunk(2), decoded.structures)
        if now["cycle"]:
            rebuilt = model.decoder(seen, torch.cat(codes)).chunk(2)
            values["cycle"] = _both(apply["cycle"], rebuilt, real)
    if now["teacher"] and teacher is not None:
        values["teacher"] = _teaching(model, teacher, batch, cross, now)
    return values


def _both(loss: Callable[[Tensor, Tensor], Tensor], found: Iterable[Tensor], targets: Iterable[Tensor]) -> Tensor:
    return sum(loss(one, target) for one, target in zip(found, targets, strict=True))


def _identities(model: DGNet, batch: Batch, now: Mapping[str, float]) -> dict[str, Tensor]:
    """The identity terms of real images; these come first, so that their dropout is the same whatever else is on."""
    values = {}
    if now["identity"]:
        seen = [model.appearance(images) for images in batch.erased[:2]]
        values["identity"] = _both(F.cross_entropy, [one.prim for one in seen], batch.labels)
        share = now["teacher"] * now["fine"]
        if share:
            fine = _both(F.cross_entropy, [one.fine for one in seen], batch.labels)
            values["identity"] = values["identity"] + share * fine
    if now["partner"]:
        seen = [model.appearance(images) for images in batch.erased[2:]]
        values["partner"] = _both(F.cross_entropy, [one.prim for one in seen], batch.labels)
    return values


def _teaching(model: DGNet, teacher: nn.Module, batch: Batch, cross, now: Mapping[str, float]) -> Tensor:
    value = batch.images[0].new_zeros(())
    for images, structure_labels in zip(cross, batch.labels[::-1], strict=True):
        images = images.detach()
        soft = soft_labels(teacher, images)
        seen = model.appearance(images)
        if soft.shape != seen.prim.shape:
            raise ValueError(f"the teacher knows {soft.shape[1]} people, the model {seen.prim.shape[1]}: train it anew")
        value = value + F.kl_div(F.log_softmax(seen.prim, dim=1), soft, reduction="batchmean")
        if now["fine"]:
            value = value + now["fine"] * F.cross_entropy(seen.fine, structure_labels)
    return value


def train(
    model: DGNet,
    images: Tensor,
    labels: Tensor,
    reconstruction: Reconstruction | Mapping[str, Reconstruction],
    *,
    teacher: nn.Module | None = None,
    steps: int,
    seed: int,
    batch: int = 8,
    weights: Weights | None = None,
    lr_generator: float = 1e-4,
    lr_discriminator: float = 1e-4,
    lr_appearance: float = 0.002,
    head_factor: float = 10,
    warm_from: float = 0.3,
    live_code: bool = False,
    only_identity: bool = False,
    precision: str = "float32",
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 100,
    watch: Callable[[DGNet, int], dict] | None = None,
    watch_at: Iterable[int] = (),
    description: str = "DG-Net",
    progress: bool = True,
) -> dict[str, list]:
    """Train a DG-Net in place and return its history.

    A step draws two batches and partners (`pair_batches`, `prepare`) and generates from them (`decode`); the
    discriminator takes a step on x_ba against a and x_ab against b (`discriminator_loss`); then structure encoder and
    decoder (Adam) and the appearance encoder (SGD with Nesterov momentum 0.9) take one on the weighted sum of `terms`.
    Adam has betas (0, 0.999), all have weight decay 0.0005, and all rates fall to a tenth after 60% and 90% of the
    steps. In half of the steps, by a coin for each, the structure encoder learns from generated images, in the others
    the generator does.

    images: uint8 (n, 3, h, w). labels: int64 (n,), 0 to classes - 1. reconstruction: see `terms`. teacher: what
    `reidlib.teacher.fit_teacher` gives, used in the mode it is in; it stays as it is. batch: images of a, and of b.
    weights: None for `Weights()`. head_factor: by how much the classifiers of the appearance encoder learn faster than
    its trunk. warm_from: see `weights_at`.
    only_identity: train the appearance encoder by its identity terms alone, on the same batches: the control that never
    sees a generated image. It ends with the encoder of a run without `teacher`, since nothing else of what is generated
    reaches the encoder. precision: "float32" or "bfloat16" (autocast; the gradient penalty stays in float32).
    watch: `watch(model, step)` returns a dict of floats; called in eval mode after the steps named in `watch_at`.
    checkpoint: a folder. State is written there every `checkpoint_every` steps and at the end; if it holds some,
    training goes on from there, on a CPU to the same losses bit by bit. Whoever keeps the result deletes the folder.

    Returns
    -------
    history: {name: one float a step} for the unweighted terms (0.0 where a term had no weight), "discriminator", and
    "total", the weighted sum of the terms; {"watch/step": [...], "watch/<name>": [...]}; and
    "appearance_code_gradient", a list of one float: the largest entry of that term's gradient with respect to any
    parameter, in size, in the first step in which it has a weight.

    Raises
    ------
    ValueError: images, labels or settings that cannot be.
    training.TrainingError: a term or a weight is not finite. Losses are looked at every 25 steps and before every
    checkpoint, so that the last one is sound.
    """
    weights = Weights() if weights is None else weights
    _check(model, images, labels, reconstruction, steps, batch, warm_from, precision, weights)
    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last).train()
    images, labels = images.to(device), labels.to(device)
    optimisers = _optimisers(model, lr_generator, lr_discriminator, lr_appearance, head_factor)
    start, history = checkpoints.resume(checkpoint, model, optimisers) if checkpoint else (0, {})
    rates = {"generator": lr_generator, "discriminator": lr_discriminator, "appearance": lr_appearance}
    watch_at, pending = set(watch_at), []
    rows = pair_batches(labels, batch, seed, start)
    options = {"live_code": live_code, "only_identity": only_identity}
    for step in training.bar(range(start, steps), steps, description, progress):
        torch.manual_seed(training.stream_seed(seed, "step", step))
        now = weights_at(step, steps, weights, warm_from)
        given = prepare(images, labels, next(rows), seed, step, device)
        options["encoder_learns"] = bool(torch.rand(1, generator=training.stream(seed, "coin", step)) < 0.5)
        _set_rates(optimisers, step, steps)
        found = _step(model, teacher, given, reconstruction, now, optimisers, precision, options, history)
        pending.append(found)
        done = step + 1
        watched = watch is not None and done in watch_at
        saved = checkpoint is not None and (done % checkpoint_every == 0 or done == steps)
        if done % CHECKED == 0 or done == steps or watched or saved:
            _look(pending, history, done, description, rates)
        if watched:
            _watch(model, watch, done, history)
        if saved:
            _check_weights(model, done, description)
            checkpoints.save(checkpoint, done, model, optimisers, history)
    return history


def _step(model, teacher, batch, reconstruction, now, optimisers, precision, options, history) -> dict[str, Tensor]:
    """One step of the discriminator and one of all the rest; what they minimised, as tensors on the device."""
    device = batch.images[0].device
    decoded, discriminator = None, torch.zeros((), device=device)
    if options["only_identity"]:
        with _mixed(device, precision):
            _codes(model, batch)  # for the running statistics, which are then those of a run that generates
    else:
        with _mixed(device, precision):
            decoded = decode(model, batch, now)
        if now["adversarial"]:
            with _mixed(device, precision):
                # means over the images of both directions at once: half the sum of the two means
                discriminator = 2 * discriminator_loss(
                    model.discriminator, torch.cat(decoded.cross), torch.cat(batch.images[:2])
                )
            _descend(now["adversarial"] * discriminator, optimisers["discriminator"])
    with _mixed(device, precision):
        values = terms(model, teacher, batch, reconstruction, now, decoded=decoded, **options)
    if now["appearance_code"] and not options["only_identity"] and GRADIENT not in history:
        history[GRADIENT] = [_largest_gradient(values["appearance_code"], model)]
    total = sum(now[name] * value for name, value in values.items())
    if total.requires_grad:
        _descend(total, optimisers["generator"], optimisers["appearance"])
    found = values | {"discriminator": discriminator, "total": total}
    return {name: value.detach() for name, value in found.items()}


def _mixed(device: torch.device, precision: str):
    """Autocast where that is wanted; a new one for `decode`, whose passes without a graph would leave their casts."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, training.PRECISIONS[precision])


def _descend(loss: Tensor, *optimisers: torch.optim.Optimizer) -> None:
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for optimiser in optimisers:
        optimiser.step()


def _optimisers(model: DGNet, generator: float, discriminator: float, appearance: float, head_factor: float) -> dict:
    groups = [
        {"params": list(model.appearance.trunk_parameters()), "lr": appearance},
        {"params": list(model.appearance.head_parameters()), "lr": appearance * head_factor},
    ]
    adam = {"betas": (0.0, 0.999), "weight_decay": 5e-4}
    optimisers = {
        "generator": torch.optim.Adam(model.generator_parameters(), generator, **adam),
        "discriminator": torch.optim.Adam(model.discriminator.parameters(), discriminator, **adam),
        "appearance": torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=5e-4),
    }
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return optimisers


def _set_rates(optimisers: dict[str, torch.optim.Optimizer], step: int, steps: int) -> None:
    fallen = 0.1 ** sum(step >= round(share * steps) for share in DECAY_AT)
    for optimiser in optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * fallen


def _largest_gradient(value: Tensor, model: DGNet) -> float:
    """The largest entry, in size, of the gradient of `value` with respect to any parameter; its graph is kept."""
    if not value.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(value, list(model.parameters()), retain_graph=True, allow_unused=True)
    return max((float(gradient.abs().max()) for gradient in gradients if gradient is not None), default=0.0)


def _look(pending: list[dict], history: dict, done: int, description: str, rates: dict[str, float]) -> None:
    """Move the kept scalars to the host in one go, and stop at the first that is not finite."""
    if not pending:
        return
    names = list(pending[0])
    values = torch.stack([_wide(found[name]) for found in pending for name in names]).view(-1, len(names)).tolist()
    pending.clear()
    for step, row in enumerate(values, start=done - len(values)):
        for name, value in zip(names, row, strict=True):
            if not math.isfinite(value):
                network = {"discriminator": name}.get(name, "appearance" if name in OF_THE_ENCODER else "generator")
                raise training.TrainingError(
                    f"{description}: {name} is not finite at step {step} (lr_{network} {rates[network]:g}): "
                    f"lower lr_{network}, or the weight of this term"
                )
            history.setdefault(name, []).append(value)


def _watch(model: DGNet, watch: Callable[[DGNet, int], dict], step: int, history: dict) -> None:
    model.eval()
    with torch.no_grad():
        seen = watch(model, step)
    model.train()
    history.setdefault("watch/step", []).append(step)
    for name, value in seen.items():
        history.setdefault(f"watch/{name}", []).append(float(value))


def _check_weights(model: DGNet, done: int, description: str) -> None:
    """TrainingError unless all weights are finite: losses are looked at before the update that can break them."""
    bad = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if bad:
        raise training.TrainingError(
            f"{description}: {bad[0]} is not finite after step {done - 1}: lower the learning rate of the "
            f"{bad[0].split('.')[0]}"
        )


def _check(model, images, labels, reconstruction, steps, batch, warm_from, precision, weights) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}")
    if labels.dtype != torch.int64 or labels.shape != (len(images),):
        raise ValueError(
            f"labels must be int64 ({len(images)},), one an image, got {labels.dtype} {tuple(labels.shape)}"
        )
    classes = model.appearance.prim[-1].out_features
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(
            f"labels must lie between 0 and {classes - 1}, as the model has {classes} classes, "
            f"got {int(labels.min())} to {int(labels.max())}"
        )
    if not 2 <= batch <= len(images):
        raise ValueError(f"batch must be between 2 and the {len(images)} images, got {batch}")
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    if not 0 <= warm_from <= 1:
        raise ValueError(f"warm_from is a share of the steps, from 0 to 1, got {warm_from}")
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision {precision!r} cannot be used here: choose float32 or bfloat16")
    if isinstance(reconstruction, Mapping) and set(reconstruction) != set(PARTS):
        raise ValueError(
            f"reconstruction needs one function each for {', '.join(PARTS)}, got {', '.join(sorted(reconstruction))}"
        )
    negative = [name for name, value in asdict(weights).items() if value < 0]
    if negative:
        raise ValueError(f"the weight of {negative[0]} is negative: weights must be 0 or more")


def _wide(values: Tensor) -> Tensor:
    """At least float32, also under autocast."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
