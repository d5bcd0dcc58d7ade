"""The Inception-v3 network of the Frechet inception distance (FID), and its features of images.

FID is the `reidlib.retrieval.frechet.frechet_distance` of the 2048 features of this network, and its numbers compare
only where the network is the same: Inception-v3 with the weights that TensorFlow published on 5 December 2015, as
converted to PyTorch for the package pytorch-fid.
"""

import http.client
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import inception

from reidlib.models.weights import WeightsError, fill_trunk, read_state

ADDRESS = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
CLASSES = 1008  # of the TensorFlow network; torchvision's has 1000
SIDE = 299  # pixels
ENDS = {64: "maxpool1", 192: "maxpool2", 768: "Mixed_6e", 2048: "Mixed_7c"}  # number of maps -> layer that gives them


def _average(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, 3, stride=1, padding=1)


class _OwnPool:
    """A block of torchvision whose last branch pools by `pool` first, where torchvision averages the padding too."""

    pool = staticmethod(_average)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = self.branch_pool(self.pool(maps))
        others = super().forward(maps)[:, : -pooled.shape[1]]
        return torch.cat([others, pooled], 1)


class _A(_OwnPool, inception.InceptionA):
    pass


class _C(_OwnPool, inception.InceptionC):
    pass


class _E(_OwnPool, inception.InceptionE):
    pass


class FrechetInception(nn.Module):
    """Inception-v3 as TensorFlow's network of 2015 computes it, without its classifier.

    `trunk` is torchvision's network but for two things: the average pools inside the mixed blocks do not count the
    padding, and the last block has a max pool in their place. 21,785,568 parameters.
    """

    def __init__(self):
        super().__init__()
        blocks = [inception.BasicConv2d, _A, inception.InceptionB, _C, inception.InceptionD, _E, inception.InceptionAux]
        self.trunk = inception.Inception3(CLASSES, aux_logits=False, inception_blocks=blocks, init_weights=False)
        self.trunk.Mixed_7c.pool = _maximum
        self.trunk.fc = nn.Identity()

    def forward(self, images: Tensor, dims: int = 2048) -> Tensor:
        """Maps of one layer, averaged over all places: (b, dims) of images float (b, 3, 299, 299) in [-1, 1].

        dims: 64 and 192 after the first and the second max pool, 768 and 2048 after the last blocks at 17x17 and 8x8.
        Raises ValueError for another number.
        """
        if dims not in ENDS:
            raise ValueError(f"this network has features of {', '.join(map(str, ENDS))} numbers, got dims={dims}")
        maps = images
        for name, layer in self.trunk.named_children():
            maps = layer(maps)
            if name == ENDS[dims]:
                break
        return maps.mean((2, 3))


def load_inception(weights: str | Path = "download") -> FrechetInception:
    """The network in eval mode, on the CPU, with weights from a file, or downloaded.

    weights: a .pth, .pt or .safetensors file of the network's state dict, or "download": the file of the package
    pytorch-fid, fetched once into torch's hub cache and checked by its hash.
    Raises WeightsError where the file cannot be downloaded or read or does not fit, and for torchvision's own file of
    Inception-v3. torch's global generator is left as it was.
    """
    state = _download() if weights == "download" else read_state(Path(weights))
    classifier = state.get("fc.weight")
    found = "no classifier" if classifier is None else f"a classifier of {len(classifier)} classes"
    if classifier is None or len(classifier) != CLASSES:
        raise WeightsError(
            f"the weights {weights} have {found}, and those with which FID is computed have {CLASSES}: torchvision's "
            f"own Inception-v3 gives other numbers; pass 'download' or a copy of {ADDRESS}"
        )
    with torch.random.fork_rng(devices=[]):
        model = FrechetInception()
    fill_trunk(model, state, str(weights))
    return model.eval()


def _download() -> dict[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(
            ADDRESS, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, http.client.HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"the Inception weights could not be downloaded from {ADDRESS} ({error}): connect to the network, or pass "
            "weights='/path/to/file.pth' to load a copy of that file"
        ) from error


@torch.no_grad()
def inception_features(model: FrechetInception, images: Tensor, dims: int = 2048, batch: int = 32) -> Tensor:
    """Features of images by which FID compares them: float32 (n, dims) on the CPU.

    images: uint8 (n, 3, h, w) of any size, on any device. They are squashed to 299x299 (bilinear, not smoothed before
    they are made smaller, proportions not kept) and scaled to [-1, 1]. dims: see `FrechetInception.forward`; those of
    the earlier layers need fewer images for a covariance of full rank, and their distances are of another size.
    `batch` images go through the model at a time, in eval mode (restored after) and in float32 also under autocast.
    Raises ValueError for another type or shape, another dims, and a batch below 1.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"inception_features takes images uint8 (n, 3, h, w), got {images.dtype} {tuple(images.shape)}"
        )
    if dims not in ENDS:
        raise ValueError(f"this network has features of {', '.join(map(str, ENDS))} numbers, got dims={dims}")
    if batch < 1:
        raise ValueError(f"batch must be 1 or more, got {batch}")
    device, mode = model.trunk.Conv2d_1a_3x3.conv.weight.device, model.training
    found = [torch.empty(0, dims)]
    model.eval()
    try:
        with torch.autocast(device.type, enabled=False):
            for some in images.split(batch) if len(images) else ():
                pixels = some.to(device).float() / 255
                pixels = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
                found.append(model(2 * pixels - 1, dims).cpu())
    finally:
        model.train(mode)
    return torch.cat(found)
