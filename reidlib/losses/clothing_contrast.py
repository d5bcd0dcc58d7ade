"""Contrast of clothing features: a pair of images of one person counts more where the outfits differ.

Source: Xu et al., Identity-aware Feature Decoupling Learning for Clothing-change Person Re-identification (2025), Eq. 4
and 5; the loss that its ablation puts in their place is that of Khosla et al., Supervised Contrastive Learning (2020).
s_ij is the product of features i and j, divided by the temperature. All is computed in float32 (float64 stays), also
under autocast.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlib.losses.triplet import pair_masks


def clothing_contrast(
    features: Tensor,
    pids: Tensor,
    clothes: Tensor,
    temperature: float = 1 / 16,
    T: float = 0.5,
    valid: Tensor | None = None,
) -> Tensor:
    """Mean over the anchors of a batch of their weighted contrast: a scalar (Eq. 4 and 5).

    Anchor i gives -1/|P_i| sum over p in P_i of w_p log(exp s_ip / (exp s_ip + sum over N_i of exp s_ij)): P_i are the
    other images of its identity, N_i those of other identities. The denominator holds one positive at a time, so that
    positives do not compete. w_p is 1/T where both outfits are known and differ, otherwise 1: T below 1 stresses pairs
    in different outfits, T = 1 weighs all alike. The mean is taken over the anchors with a positive, in the paper over
    the batch: when there is none the loss is 0, and so it is without a negative. The paper states neither temperature
    nor T: 1/16 and 0.5 are this library's choice.

    features: float (b, d), L2-normalised; pids: integers (b,); clothes: integers (b,), the outfit of each image, -1
    where it is unknown; only outfits of one identity are compared. valid: bool (b,), False for rows to leave out as
    anchor, positive and negative, such as images without clothing; None for none.
    Raises ValueError for shapes that do not fit, and unless temperature and T are positive.

    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # images 0 and 1: one person in outfits 5 and 6
    >>> clothing_contrast(x, torch.tensor([0, 0, 1]), torch.tensor([5, 6, 7]), temperature=1, T=0.5)
    tensor(0.6265)
    """
    if T <= 0:
        raise ValueError(f"clothing_contrast divides by T, which must be positive, got {T}")
    scores, pids, clothes = _scores("clothing_contrast", features, pids, temperature, valid, clothes)
    positive, negative = pair_masks(pids)
    negatives = scores.masked_fill(~negative, -torch.inf).logsumexp(1)
    losses = -F.logsigmoid(scores - negatives[:, None])
    known = clothes >= 0
    changed = (clothes[:, None] != clothes[None, :]) & known[:, None] & known[None, :]
    return _mean_over_anchors(torch.where(changed, losses / T, losses), positive)


def supervised_contrast(
    features: Tensor, pids: Tensor, temperature: float = 1 / 16, valid: Tensor | None = None
) -> Tensor:
    """Mean over the anchors of a batch of the supervised contrastive loss: a scalar (Khosla et al., Eq. 2, L_out).

    Anchor i gives -1/|P_i| sum over p in P_i of log(exp s_ip / sum over all j other than i of exp s_ij): here the
    positives compete with each other, and the least value is log |P_i|. It is `clothing_contrast` with T = 1 where
    every anchor has one positive. Khosla et al. sum over the anchors; here the mean is taken over those that have a
    positive. Arguments and errors as for `clothing_contrast`.

    >>> supervised_contrast(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]), temperature=1)
    tensor(0.3133)
    """
    scores, pids, _ = _scores("supervised_contrast", features, pids, temperature, valid)
    itself = torch.eye(len(pids), dtype=torch.bool, device=pids.device)
    total = scores.masked_fill(itself, -torch.inf).logsumexp(1)
    return _mean_over_anchors(total[:, None] - scores, pair_masks(pids)[0])


def _scores(
    function: str,
    features: Tensor,
    pids: Tensor,
    temperature: float,
    valid: Tensor | None,
    clothes: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """s_ij (v, v), pids (v,) and clothes (v,) of the v rows that take part."""
    others = {"pids": pids, "clothes": clothes, "valid": valid}
    shapes = {name: tuple(rows.shape) for name, rows in others.items() if rows is not None}
    if features.ndim != 2 or any(shape != features.shape[:1] for shape in shapes.values()):
        names = ", ".join(f"{name} (b,)" for name in shapes)
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"{function} needs features (b, d), {names}, got features {tuple(features.shape)}, {found}: "
            "give one number for each image"
        )
    if valid is not None and valid.dtype != torch.bool:
        raise ValueError(f"{function} needs valid as bool, got {valid.dtype}: True for the images that take part")
    if temperature <= 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if valid is not None:
        features, pids = features[valid], pids[valid]
        clothes = None if clothes is None else clothes[valid]
    with torch.autocast(features.device.type, enabled=False):
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        return features @ features.T / temperature, pids, clothes


def _mean_over_anchors(losses: Tensor, positive: Tensor) -> Tensor:
    """Mean of losses (v, v) over the positives of each anchor, then over the anchors that have one; 0 if none has."""
    counts = positive.sum(1)
    anchors = losses.masked_fill(~positive, 0).sum(1) / counts.clamp(min=1)
    return anchors.sum() / (counts > 0).sum().clamp(min=1)
