"""What every model here has in common: a trunk, a head, an L2-normalised embedding and layers that can be frozen."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Embedder(nn.Module):
    """A network that maps images to embeddings.

    A subclass sets `trunk` (the part that pre-training fills), `head`, `trunk_width` and `normalize`, and defines
    `trunk_features` and `first_layers`. Initial weights and dropout use torch's global generator, as all of
    torch.nn does: call `torch.manual_seed` before building a model.
    """

    trunk: nn.Module
    head: nn.Module
    trunk_width: int

    def __init__(self, normalize: bool = True):
        super().__init__()
        self.normalize = normalize
        self.first_layers_frozen = False

    def trunk_features(self, images: Tensor) -> Tensor:
        """Pooled features before the head: float (b, 3, h, w) -> (b, trunk_width)."""
        raise NotImplementedError

    def first_layers(self) -> list[nn.Module]:
        """The modules that `freeze_first_layers` freezes."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings: float (b, 3, h, w) -> float32 (b, d), of length one if `normalize` (also under autocast)."""
        embeddings = self.head(self.trunk_features(images))
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        return F.normalize(embeddings, dim=1) if self.normalize else embeddings

    def train(self, mode: bool = True) -> "Embedder":
        """As `nn.Module.train`, but frozen layers stay in eval mode, so that their batch statistics stay put."""
        super().train(mode)
        if self.first_layers_frozen:
            for module in self.first_layers():
                module.eval()
        return self


def initialise(trunk: nn.Module) -> None:
    """He initialisation (fan out) of a trunk without pre-training, as torchvision does for its networks."""
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
