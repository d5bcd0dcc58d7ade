"""Target distributions for real and generated images, over one cross-entropy: sparse and uniform label smoothing.

Source: Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018). A generated image has
no identity. It gets one distribution over the K classes that training knows, and its loss is the cross-entropy with
that: sparse label smoothing (SLSR, Eq. 9 and 10) spreads it over the classes of the cluster that the image was
generated from, LSRO (Zheng et al. 2017) over all classes. Targets are float32 and on the device of the numbers that
they are made from.
"""

import torch
from torch import Tensor

KINDS = ("slsr", "lsro", "lsr", "onehot_cluster", "as_released")


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """The target of a real image: all on its class. float32 (b, classes).

    labels: integers (b,), 0 to classes - 1. Raises ValueError for other numbers or shapes, and for classes below 1.
    """
    labels = _numbers("labels", labels, classes, "classes")
    return torch.zeros(len(labels), classes, device=labels.device).scatter_(1, labels[:, None], 1.0)


def smoothed(labels: Tensor, classes: int, epsilon: float = 0.1) -> Tensor:
    """Label smoothing (LSR): 1 - epsilon on the class and epsilon / K on every one of the K: float32 (b, classes).

    The printed Eq. 8 leaves epsilon / K out at the true class, so that its rows sum to 1 - epsilon / K. Here that
    class has 1 - epsilon + epsilon / K and rows sum to 1, as label smoothing is defined.

    labels, errors: as for `one_hot`, and epsilon must lie between 0 (which is `one_hot`) and 1 (which is `uniform`).
    """
    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is the share of a target that is spread over all classes, 0 to 1, got {epsilon}")
    return one_hot(labels, classes) * (1 - epsilon) + epsilon / classes


def uniform(count: int, classes: int) -> Tensor:
    """Label smoothing for outliers (LSRO): 1 / K on each of the K classes: float32 (count, classes) on the CPU.

    Raises ValueError for a negative count and for classes below 1.
    """
    _check_classes(classes, "classes")
    if count < 0:
        raise ValueError(f"the count of images must be 0 or more, got {count}")
    return torch.full((count, classes), 1 / classes)


def sparse(clusters: Tensor, class_sets: Tensor) -> Tensor:
    """Sparse label smoothing (SLSR, Eq. 9 and 10): 1 / |C_k| on the classes C_k of an image's cluster k, 0 elsewhere.

    clusters: integers (b,), the cluster of each generated image; class_sets: bool (k, K), True where the class has
    an image in the cluster (`reidlib.appearance_clusters.class_sets`). Result: float32 (b, K). With one cluster of all
    classes it is `uniform`. Raises ValueError for numbers or shapes that do not fit, and for a cluster without classes.
    """
    if class_sets.ndim != 2 or class_sets.dtype != torch.bool:
        found = f"{class_sets.dtype} {tuple(class_sets.shape)}"
        raise ValueError(f"class_sets must be bool (clusters, classes), got {found}: make it with class_sets()")
    clusters = _numbers("clusters", clusters, len(class_sets), "clusters")
    sets = class_sets.to(clusters.device)
    sizes = sets.sum(1)
    if (sizes == 0).any():
        empty = int((sizes == 0).nonzero()[0, 0])
        raise ValueError(f"no class has an image in cluster {empty}, so its images get no target: use fewer clusters")
    return (sets.float() / sizes[:, None])[clusters]


def generated_targets(
    kind: str, clusters: Tensor, class_sets: Tensor, pseudo: Tensor | None = None, epsilon: float = 0.1
) -> Tensor:
    """Targets of generated images of one kind: float32 (b, K).

    "slsr": `sparse`; "lsro": `uniform`; "as_released": `uniform` too, which is what the paper's released code trains
    with (`released_loss`); "lsr": `smoothed` and "onehot_cluster": `one_hot`, both of the classes `pseudo`, integers
    (b,), which the caller gave to the images. clusters, class_sets: as for `sparse`; both are checked for every kind.
    epsilon: for "lsr" only. Raises ValueError for another kind, without pseudo where it is needed, and as the others.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown target {kind!r} for generated images; one of {', '.join(KINDS)}")
    targets = sparse(clusters, class_sets)
    count, classes = targets.shape
    if kind == "slsr":
        return targets
    if kind in ("lsro", "as_released"):
        return uniform(count, classes).to(targets.device)
    if pseudo is None or tuple(pseudo.shape) != (count,):
        found = "none" if pseudo is None else f"shape {tuple(pseudo.shape)}"
        raise ValueError(f"target {kind!r} needs pseudo, a class for each of the {count} images, got {found}")
    pseudo = pseudo.to(targets.device)
    return smoothed(pseudo, classes, epsilon) if kind == "lsr" else one_hot(pseudo, classes)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of -sum over classes of target * log softmax(logits): a scalar (Eq. 11 to 13).

    With `one_hot` targets for real and `sparse` ones for generated images it is the loss of Eq. 13, lambda being 0 for
    the former and 1 for the latter. The paper divides by K, "the number of classes", there and by the size of the
    cluster's class set in Eq. 10: it is the latter that is meant. Both kinds of images weigh the same in the mean.

    logits, targets: float (b, K). Computed in float32 (float64 logits stay), also under autocast; 0 for an empty
    batch. Raises ValueError when shapes differ.

    >>> soft_cross_entropy(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.5, 0.0]]))
    tensor(1.0514)
    """
    if logits.ndim != 2 or logits.shape != targets.shape:
        found = f"logits {tuple(logits.shape)}, targets {tuple(targets.shape)}"
        raise ValueError(f"soft_cross_entropy needs logits and targets of one shape (b, classes), got {found}")
    logs = _log_softmax(logits)
    return -(targets.to(logs) * logs).sum() / max(1, len(logs))


def released_loss(logits: Tensor, labels: Tensor, generated: Tensor) -> Tensor:
    """The loss as the paper's released code computes it: a scalar, equal to LSRO's.

    A real image gives its cross-entropy, a generated one the mean over all classes of -log softmax: the code loads the
    sparse targets and multiplies them by 0. Mean over the batch.

    logits: float (b, K); labels: integers (b,), those of generated images are not read; generated: bool (b,).
    Precision as in `soft_cross_entropy`. Raises ValueError for shapes or labels that do not fit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or generated.shape != labels.shape:
        raise ValueError(
            f"released_loss needs logits (b, classes), labels (b,), generated (b,), got {tuple(logits.shape)}, "
            f"{tuple(labels.shape)}, {tuple(generated.shape)}"
        )
    if generated.dtype != torch.bool:
        raise ValueError(f"generated must be bool, True for generated images, got {generated.dtype}")
    labels = _numbers("labels", labels.masked_fill(generated, 0), logits.shape[1], "classes")
    logs = _log_softmax(logits)
    own = logs.gather(1, labels[:, None])[:, 0]
    return -torch.where(generated, logs.mean(1), own).sum() / max(1, len(logs))


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)


def _check_classes(number: int, what: str) -> None:
    if number < 1:
        raise ValueError(f"the number of {what} must be 1 or more, got {number}")


def _numbers(name: str, values: Tensor, end: int, what: str) -> Tensor:
    """values as int64 (b,), checked to lie in 0 to end - 1."""
    _check_classes(end, what)
    if values.ndim != 1 or values.is_floating_point() or values.dtype == torch.bool:
        raise ValueError(f"{name} must be integers of shape (b,), got {values.dtype} {tuple(values.shape)}")
    wrong = (values < 0) | (values >= end)
    if wrong.any():
        found = int(values[wrong][0])
        raise ValueError(f"{name} must lie in 0 to {end - 1} for {end} {what}, got {found}")
    return values.long()
