"""The losses of one step of DG-Net: what encoders, decoder and discriminator are trained by, and what each counts when.

Source: Shah, Person Re-identification in Surveillance Video (2022), Eqs. 4.1 to 4.4, who trains the network of Zheng
et al., Joint Discriminative and Generative Learning for Person Re-identification (CVPR 2019), with other reconstruction
losses. What neither text says, and the weights, follow the latter's released code. Names: x_ba is the image with the
appearance of a and the structure of b, x_ab the other way round.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from reidlib.dgnet_batches import Batch
from reidlib.models.dgnet import DGNet, gray
from reidlib.teacher import soft_labels

PENALTY = 0.01  # of the discriminator's gradient at real images
RISE = 50.0  # by which a weight rises while the share of the steps that are done rises by 1: 0.0005 in 1/100000
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
PARTS = ("image", "code", "cycle")  # for which there can be a reconstruction loss each
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


def decode(model: DGNet, batch: Batch, now: Mapping[str, float]) -> Decoded:
    """Encode the images of a batch and decode what the step needs. now: as `weights_at` gives it.

    The appearance encoder sees a, b and the partners one after the other, so that each have their own batch
    statistics; no loss reaches it from here, as in the released code.
    """
    codes = appearance_codes(model, batch)
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
def appearance_codes(model: DGNet, batch: Batch) -> tuple[Tensor, ...]:
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
            loss = loss + wide(generated).square().mean() + (given - 1).square().mean()
            loss = loss + PENALTY * slope.square().sum((1, 2, 3)).mean()
    return loss


def adversarial_loss(discriminator: nn.Module, fake: Tensor) -> Tensor:
    """What the generator minimises: 2 times the sum over the scales of mean((D(fake) - 1)^2).

    Gradients go to `fake`, not to the discriminator.
    """
    return sum(2 * (wide(scores) - 1).square().mean() for scores in frozen(discriminator, fake))


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


def wide(values: Tensor) -> Tensor:
    """At least float32, also under autocast."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
