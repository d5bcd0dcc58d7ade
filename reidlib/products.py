"""Products of large tables of features, by the faster of the two libraries that PyTorch brings."""

import torch
from torch import Tensor

LARGE = 3 * 10**9  # multiplications from which the choice is worth it: 0.07 s of one core


def product(one: Tensor, other: Tensor, bias: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """scale * one @ other.T + bias: (m, d), (n, d) and (n,), of one dtype and on one device, give (m, n); no gradient.

    In main memory PyTorch multiplies float32 by MKL, which keeps to AVX2 on processors that are not Intel's; oneDNN,
    which it uses for layers, takes AVX-512 where there is any (Zen 5: 90 and 200 GFLOP/s on one core). A large product
    goes there. A small one stays: there is nothing to gain, and what was recorded with it keeps its last digits.
    """
    one, other = one.detach(), other.detach()
    large = one.numel() * len(other) >= LARGE
    if large and one.device.type == "cpu" and one.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        one = one if scale == 1 else one * scale
        return torch.ops.mkldnn._linear_pointwise(one, other, bias, "none", [], "")
    if bias is None:
        return one @ other.T if scale == 1 else (one @ other.T).mul_(scale)
    return torch.addmm(bias, one, other.T, alpha=scale)
