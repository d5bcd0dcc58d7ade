"""The teacher of DG-Net: a plain identity classifier of real images, and its soft labels of generated ones.

A generated image has the clothes of one person on the pose of another; the teacher says to whom it looks alike. Source:
Zheng et al., Joint Discriminative and Generative Learning for Person Re-identification (CVPR 2019), section 3.2, as
used in Shah, Person Re-identification in Surveillance Video (2022); its mode and its two passes follow the released
code.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from reidlib import training
from reidlib.cache import kept, key
from reidlib.data.augment import Augment
from reidlib.models.dgnet import identity_head
from reidlib.models.embedder import Embedder
from reidlib.models.mildnet import MILDNet
from reidlib.results.provenance import module_hash

HEAD_FACTOR = 10  # by which the head learns faster than the trunk
DECAY_AT = 2 / 3  # share of the steps after which the learning rates fall to a tenth
PADDING = 10 / 256  # of an image's height, before the random crop


class Teacher(nn.Module):
    """An identity classifier on pooled features: linear to `width`, batch norm, dropout, linear to the classes.

    base: a residual or dense network of `reidlib.models.build`; its trunk is taken over as it is (a ResNet-50 keeps its
    last stride of 2 and its average pooling) and its head dropped. classes: number of training identities. Initial
    weights of the head, and errors of its settings, are those of a head of `reidlib.models.dgnet.AppearanceEncoder`;
    MILDNet, whose trunk does not end in pooled features, is a ValueError too.
    24,943,407 parameters on ResNet-50 at 751 classes.
    """

    def __init__(self, base: Embedder, classes: int, width: int = 512, dropout: float = 0.5):
        super().__init__()
        if isinstance(base, MILDNet):
            raise ValueError("a teacher goes on a residual or dense trunk, not on MILDNet: choose another backbone")
        self.head = identity_head(base.trunk_width, width, classes, dropout)
        self.trunk = base.trunk

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, classes) of images float (b, 3, h, w), ImageNet-normalised.

        The head is computed in float32 (float64 stays), also under autocast.
        """
        features = self.trunk(images)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features)

    def trunk_parameters(self) -> list[nn.Parameter]:
        """What pre-training fills; with `head_parameters` all of the teacher, for one learning rate each."""
        return list(self.trunk.parameters())

    def head_parameters(self) -> list[nn.Parameter]:
        """All that is not in the trunk."""
        return list(self.head.parameters())


def fit_teacher(
    base: Embedder,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    seed: int,
    batch: int = 16,
    learning_rate: float = 0.005,
    width: int = 512,
    dropout: float = 0.5,
    cache: Path | str,
    device="cpu",
    description: str = "teacher",
    progress: bool = True,
) -> Teacher:
    """A `Teacher` trained by cross-entropy on `images`, or the one in `cache` that was trained so before.

    base: a network whose trunk, with its weights, is the start; it is trained in place, so that no other network can
    have it. images: uint8 (n, 3, h, w), n of `batch` or more. labels: int64 (n,), 0 to K - 1.
    steps: of SGD with Nesterov momentum 0.9 and weight decay 0.0005; `learning_rate` is the trunk's, the head's is ten
    times that, and both fall to a tenth after two thirds of the steps. Batches of `batch` images run through all in a
    new order each epoch; a last, smaller one is left out. Augmentation: mirror image (half of the images), padding with
    black by 10/256 of the height and a random crop, random erasing (half).
    cache: a folder; the teacher is one file there, named by what it depends on (images, labels, settings, the start's
    weights, seed, kind of device, the code) and made once, see `reidlib.cache.kept`: all arms of a comparison that
    share these share the teacher. Neither the caller's random numbers nor the result depend on who made it.

    Returns
    -------
    The teacher on `device`, without gradients, in the mode of `use_batch_statistics`.

    Raises
    ------
    ValueError: images, labels or settings that cannot be, or fewer images than one batch.
    training.TrainingError: the loss is not finite.
    """
    images, labels = _checked(images, labels, steps, batch)
    device, classes = torch.device(device), int(labels.max()) + 1
    with _own_randomness(device):
        torch.manual_seed(training.stream_seed(seed, "teacher", "initialisation"))
        teacher = Teacher(base, classes, width, dropout)

    def made() -> dict:
        teacher.to(device)
        given = (images.to(device), labels.to(device), steps, seed, batch, learning_rate, description, progress)
        history = _fit(teacher, *given)
        teacher.zero_grad(set_to_none=True)
        state = {name: value.cpu().contiguous() for name, value in teacher.state_dict().items()}
        return {"state": state, "loss": history["loss"]}

    settings = {"steps": steps, "batch": batch, "learning_rate": learning_rate, "dropout": dropout}
    start = [type(base).__name__, dict(teacher.state_dict())]
    file = Path(cache) / f"teacher-{key(images, labels, settings, start, seed, device.type, _code())}.pt"
    with _own_randomness(device):
        teacher.load_state_dict(kept(file, made)["state"])
    teacher.to(device, memory_format=torch.channels_last).requires_grad_(False)
    return use_batch_statistics(teacher)


def use_batch_statistics(teacher: nn.Module) -> nn.Module:
    """Eval mode, but batch norms in training mode: they use the statistics of the batch at hand. Returns `teacher`.

    So the released code runs its teacher: the statistics of generated images are not those of real ones. A batch of the
    teacher must then hold 2 images or more. `soft_labels` keeps the running statistics as they are.
    """
    teacher.eval()
    for module in teacher.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return teacher


@torch.no_grad()
def soft_labels(teacher: nn.Module, images: Tensor) -> Tensor:
    """To whom images look alike: the mean of the teacher's softmax of each and of its mirror image, (b, K), float32.

    images: float (b, 3, h, w), ImageNet-normalised; no gradient goes back to them. Batch norms work in whatever mode
    they are in, see `use_batch_statistics`; in training mode they move copies of their running statistics, so that the
    teacher is the same afterwards. The two passes are two batches. Rows sum to 1; float64 stays, and under autocast
    the softmax is computed in float32.
    """
    copies = {name: buffer.clone() for name, buffer in teacher.named_buffers()}
    found = []
    for view in (images, images.flip(-1)):
        logits = functional_call(teacher, copies, (view,))
        found.append(logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1))
    return (found[0] + found[1]) / 2


def _checked(images: Tensor, labels: Tensor, steps: int, batch: int) -> tuple[Tensor, Tensor]:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"the teacher's images must be uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}")
    if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"the teacher's labels must be int64, one for each of the {len(images)} images, "
            f"got {labels.dtype} {tuple(labels.shape)}"
        )
    if batch < 2 or steps < 1:
        raise ValueError(f"the teacher needs batches of 2 or more and a step or more, got batch={batch}, steps={steps}")
    if len(images) < batch:
        raise ValueError(f"the teacher has {len(images)} images, fewer than one batch of {batch}: use a smaller batch")
    if labels.min() < 0:
        raise ValueError(f"the teacher's labels are numbered from 0, got {int(labels.min())}")
    return images.detach().cpu(), labels.detach().cpu()


def _fit(teacher: Teacher, images: Tensor, labels: Tensor, steps, seed, batch, rate, description, progress) -> dict:
    groups = [
        {"params": teacher.trunk_parameters(), "lr": rate},
        {"params": teacher.head_parameters(), "lr": HEAD_FACTOR * rate},
    ]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    decay = torch.optim.lr_scheduler.MultiStepLR(optimizer, [max(1, round(DECAY_AT * steps))])
    augment = Augment(flip=0.5, padding=round(PADDING * images.shape[2]), erasing=0.5)

    def orders(epoch: int) -> list[Tensor]:
        order = torch.randperm(len(images), generator=training.stream(seed, "teacher", "order", epoch))
        return list(order[: len(order) - len(order) % batch].split(batch))

    def loss(teacher: Teacher, rows: Tensor, step: int):
        rows = rows.to(images.device)
        seen, _ = augment(images[rows], generator=training.stream(seed, "teacher", "augmentation", step))
        logits = teacher(seen.contiguous(memory_format=torch.channels_last))
        return F.cross_entropy(logits, labels[rows]), {}

    return training.train(
        teacher,
        lambda start: training.epochs(orders, start),
        loss,
        optimizer,
        steps=steps,
        seed=training.stream_seed(seed, "teacher", "steps"),
        scheduler=decay,
        description=description,
        progress=progress,
    )


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Whatever draws from torch's global generators inside, they are afterwards as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _code() -> str:
    """Hash of `fit_teacher` and of all that it reaches."""
    return module_hash(code="from reidlib.teacher import fit_teacher\nfit_teacher")
