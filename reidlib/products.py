"""Products of large tables of features, by the faster of the two libraries that PyTorch brings."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LARGE = 3 * 10**9  # multiplications from which the choice is worth it: 0.07 s of one core
LARGE_STEP = 10**8  # the same for what is done in every step of a training
SPARSE = 20  # a gradient with fewer than a 20th of its values other than 0 is multiplied as a sparse table


def product(
    one: Tensor, other: Tensor, bias: Tensor | None = None, scale: float = 1.0, large: int | None = None
) -> Tensor:
    """scale * one @ other.T + bias: (m, d), (n, d) and (n,), of one dtype and on one device, give (m, n); no gradient.

    In main memory PyTorch multiplies float32 by MKL, which keeps to AVX2 on processors that are not Intel's; oneDNN,
    which it uses for layers, takes AVX-512 where there is any and is twice as fast then. A product of `large`
    multiplications (default: LARGE) or more goes there. A smaller one stays: there is nothing to gain, and what was
    recorded with it keeps its last digits.
    """
    one, other = one.detach(), other.detach()
    if _goes_to_onednn(one, other, LARGE if large is None else large):
        one = one if scale == 1 else one * scale
        return torch.ops.mkldnn._linear_pointwise(one, other, bias, "none", [], "")
    if bias is None:
        return one @ other.T if scale == 1 else (one @ other.T).mul_(scale)
    return torch.addmm(bias, one, other.T, alpha=scale)


def scores(features: Tensor, table: Tensor) -> Tensor:
    """features @ table.T with a gradient for the features (b, d), once; none for the table (n, d): (b, n).

    As `product`, for each step of a training: large are products of LARGE_STEP multiplications.
    """
    if _goes_to_onednn(features, table, LARGE_STEP):
        return _Scores.apply(features, table.detach())
    return features @ table.detach().T


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(table)
        return product(features, table, large=LARGE_STEP)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (table,) = ctx.saved_tensors
        if SPARSE * int(gradient.count_nonzero()) < gradient.numel():
            return torch.sparse.mm(gradient.to_sparse(), table), None
        return product(gradient, table.T, large=LARGE_STEP), None


def _goes_to_onednn(one: Tensor, other: Tensor, large: int) -> bool:
    here = one.device.type == "cpu" and one.dtype == other.dtype == torch.float32
    return here and one.numel() * len(other) >= large and torch.backends.mkldnn.is_available()
