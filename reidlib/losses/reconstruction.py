"""Distances between a reconstruction and its target, and sums of them: what DG-Net's image and code terms compare with.

Source: Shah, Person Re-identification in Surveillance Video (2022), Eq. 4.5 to 4.11, which exchanges the L1 distance of
DG-Net (Zheng et al., Joint Discriminative and Generative Learning for Person Re-identification, CVPR 2019) for others
and for sums of L1 with another. With d = x - target:

- l1: mean |d|; mse: mean d^2; mrae: mean sqrt(|d|); rmse: sqrt(mean d^2) of each image
- cos: 1 - cosine; huber: d^2 / 2 within delta, straight beyond; ml: mean (x * target)^2, which is no distance
- rmse-printed, huber-printed: Eq. 4.8 and 4.11 as they stand

Every function takes x and target, float tensors of one shape (b, ...), with at least two dimensions and one element,
and returns a scalar in float32 (float64 if an input is float64), also under autocast and for half precision. Value
and gradient are finite also where x equals the target or is 0. Gradients reach x only, unless detach=False: the
released code holds the target of L1 fixed, but not those of its squared, root and cosine distances. Each raises
ValueError for other shapes or dtypes.
"""

import difflib
import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

TINY = 1e-8  # under square roots, whose slope has no limit at 0
SHORTEST = 1e-4  # a vector's length in the cosine is at least this


def mae(x: Tensor, target: Tensor, *, detach: bool = True) -> Tensor:
    """Mean absolute error, L1 (Eq. 4.5): mean over all elements of |d|."""
    x, target = _checked(x, target, detach)
    return (x - target).abs().mean()


def mse(x: Tensor, target: Tensor, *, detach: bool = True) -> Tensor:
    """Mean squared error, L2 (Eq. 4.6): mean over all elements of d^2."""
    x, target = _checked(x, target, detach)
    return (x - target).square().mean()


def mrae(x: Tensor, target: Tensor, *, detach: bool = True) -> Tensor:
    """Mean rooted absolute error (Eq. 4.7): mean over all elements of sqrt(|d| + 1e-8), the 1e-8 as released.

    Its gradient grows as d shrinks, to at most 5000 an element before the mean, and is 0 at d = 0.
    """
    x, target = _checked(x, target, detach)
    return ((x - target).abs() + TINY).sqrt().mean()


def rmse(x: Tensor, target: Tensor, *, detach: bool = True) -> Tensor:
    """Root mean squared error: sqrt(mean d^2 + 1e-8) of each image, mean over images.

    Eq. 4.8 has another root inside of the sum, and so is no root of a mean of squares: see `rmse_as_printed`. Its n
    counts the elements of one image, so that the root is taken of each image and not of the batch.

    >>> rmse(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2, 2))
    tensor(1.7678)
    """
    x, target = _checked(x, target, detach)
    return ((x - target).square().flatten(1).mean(1) + TINY).sqrt().mean()


def rmse_as_printed(x: Tensor, target: Tensor, *, detach: bool = True) -> Tensor:
    """Eq. 4.8 read literally: sqrt(mean |d| + 1e-8) of each image, mean over images; the root of the L1 distance.

    The equation sums sqrt(|d|^2), which is |d|.
    """
    x, target = _checked(x, target, detach)
    return ((x - target).abs().flatten(1).mean(1) + TINY).sqrt().mean()


def cosine(x: Tensor, target: Tensor, *, flat: bool = False, detach: bool = True) -> Tensor:
    """1 - cosine, 0 to 2, of vectors along dimension 1, mean over all of them; flat=True: of whole images.

    Along dimension 1, as released, an image's vectors are the colours of its pixels and those of a structure code its
    channels at each place; Eq. 4.9 sums over all elements of an image, as flat=True does. Lengths do not count. A
    vector of zeros is at a right angle to all; vectors shorter than 1e-4 are measured as if of that length.

    The paper calls the cosine itself the loss, and its range 0 to 1: as a loss it must be taken from 1, and of signed
    numbers it begins at -1.
    """
    x, target = _checked(x, target, detach)
    if flat:
        x, target = x.flatten(1), target.flatten(1)
    return (1 - cosine_similarity(x, target, dim=1, eps=SHORTEST)).mean()


def huber(x: Tensor, target: Tensor, delta: float = 1.0, *, detach: bool = True) -> Tensor:
    """Huber's loss: mean over all elements of d^2 / 2 where |d| <= delta, and of delta (|d| - delta / 2) beyond.

    With delta 1, the paper's not being stated, it is the smooth L1 loss. Raises ValueError also unless delta > 0.
    """
    x, target = _checked(x, target, detach)
    distance = (x - target).abs()
    return torch.where(distance <= _above_zero(delta), distance.square() / 2, delta * (distance - delta / 2)).mean()


def huber_as_printed(x: Tensor, target: Tensor, delta: float = 1.0, *, detach: bool = True) -> Tensor:
    """Eq. 4.11 read literally, element by element: products p = x * target stand where Huber's loss has differences.

    Mean of p^2 / 2 where |d| <= delta, and of delta (|p| - delta / 2) beyond. It is no distance: it is not 0 at
    x = target, it jumps at |d| = delta, and it is below 0 where x is 0 and the target beyond delta. The limits printed
    with it, mean squared error as delta goes to 0 and mean absolute error as it grows, are those of `huber` reversed.
    Raises ValueError also unless delta > 0.
    """
    x, target = _checked(x, target, detach)
    product, near = x * target, (x - target).abs() <= _above_zero(delta)
    return torch.where(near, product.square() / 2, delta * (product.abs() - delta / 2)).mean()


def multiplicative(x: Tensor, target: Tensor, *, detach: bool = True) -> Tensor:
    """The multiplicative loss (Eq. 4.10): mean over all elements of (x * target)^2.

    It is no distance: it is least, 0, for x = 0 whatever the target.
    """
    x, target = _checked(x, target, detach)
    return (x * target).square().mean()


_LOSSES = {
    "l1": mae,
    "huber": huber,
    "mse": mse,
    "mrae": mrae,
    "rmse": rmse,
    "cos": cosine,
    "ml": multiplicative,
    "rmse-printed": rmse_as_printed,
    "huber-printed": huber_as_printed,
}
NAMES = tuple(_LOSSES)


def fused(
    recon: str,
    weights: Sequence[float] | None = None,
    scale: float = 1.0,
    *,
    detach: bool = True,
    flat_cosine: bool = False,
) -> Callable[[Tensor, Tensor], Tensor]:
    """One loss of several: a function of (x, target), the sum of weight * loss, times scale.

    recon: names of NAMES joined by +, such as "l1+rmse"; weights: one for each, all 1 where None or empty, as in most
    of the paper's sums. A second loss also gives the reconstruction more weight against all other terms of training;
    `fused("l1", [2.0])`, exactly twice L1, is the control for that. detach, flat_cosine: as `detach` and `flat` of the
    losses.

    Raises ValueError for unknown names, for another number of weights than of names, and for weights or a scale that
    are negative or not finite.

    >>> fused("l1+mse", [0.4, 0.6])(torch.tensor([[2.0]]), torch.tensor([[0.0]]))
    tensor(3.2000)
    """
    names = [name.strip() for name in recon.split("+")]
    for name in names:
        if name not in _LOSSES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"unknown loss {name!r} in {recon!r}: {hint}known are {', '.join(NAMES)}, and sums such as 'l1+rmse'"
            )
    if weights is None or not len(weights):
        weights = [1.0] * len(names)
    if len(weights) != len(names):
        raise ValueError(f"weights of {recon!r} must be {len(names)}, one for each loss, or none, got {len(weights)}")
    if not all(math.isfinite(number) and number >= 0 for number in (*weights, scale)):
        found = f"weights {list(weights)}, scale {scale}"
        raise ValueError(f"weights and scale of {recon!r} must be finite numbers of 0 or more, got {found}")
    losses = [functools.partial(_LOSSES[name], detach=detach) for name in names]
    if flat_cosine:
        losses = [functools.partial(part, flat=True) if part.func is cosine else part for part in losses]
    factors = [float(weight) for weight in weights]

    def loss(x: Tensor, target: Tensor) -> Tensor:
        return scale * sum(factor * part(x, target) for factor, part in zip(factors, losses, strict=True))

    return loss


def _checked(x: Tensor, target: Tensor, detach: bool) -> tuple[Tensor, Tensor]:
    """x and target in float32 or float64, the target without its graph if asked for."""
    if x.ndim < 2 or x.shape != target.shape or not x.numel():
        found = f"x {tuple(x.shape)}, target {tuple(target.shape)}"
        raise ValueError(f"a reconstruction loss needs x and target of one shape (b, ...), not empty, got {found}")
    if not (x.is_floating_point() and target.is_floating_point()):
        raise ValueError(f"x and target must be float, got {x.dtype} and {target.dtype}: normalise images first")
    dtype = torch.promote_types(torch.promote_types(x.dtype, target.dtype), torch.float32)
    return x.to(dtype), (target.detach() if detach else target).to(dtype)


def _above_zero(delta: float) -> float:
    if not delta > 0:
        raise ValueError(f"delta is the distance from which Huber's loss is straight, above 0, got {delta}")
    return delta
