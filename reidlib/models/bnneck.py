"""The embedding network of camera-aware proxies: a ResNet's pooled features, batch normalisation, unit length."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import ResNet

from reidlib.models.embedder import Embedder


class BNNeck(Embedder):
    """A residual trunk whose head is one batch norm with its bias held at 0: 23,512,128 parameters on ResNet-50.

    base: a model of `reidlib.models.build("resnet50" or "resnet-small")`; its trunk is taken over and its head dropped.
    The last stage of a ResNet-50 keeps its resolution (stride 1), as the small trunk's always does.
    stem_relu: False leaves out the ReLU after the first batch norm, as the released code of CAP does.
    frozen_statistics: batch norms use their running statistics in training too and do not change them; their weights
    still learn.
    Input float (b, 3, h, w); output (b, trunk_width), of length one. Source: Wang et al., Camera-aware Proxies for
    Unsupervised Person Re-identification (AAAI 2021), on which Cao et al. (P0) build.
    Raises ValueError for a trunk that is no ResNet.
    """

    def __init__(self, base: Embedder, stem_relu: bool = True, frozen_statistics: bool = False):
        super().__init__(normalize=True)
        if not hasattr(base.trunk, "relu"):
            name = type(base).__name__
            raise ValueError(f"the BN neck goes on a ResNet trunk, not on {name}: choose a resnet backbone")
        self.trunk, self.trunk_width = base.trunk, base.trunk_width
        self.frozen_statistics = frozen_statistics
        self._first_layers = base.first_layers()
        if isinstance(self.trunk, ResNet):
            block = self.trunk.layer4[0]
            block.conv2.stride = block.downsample[0].stride = (1, 1)
        if not stem_relu:
            self.trunk.relu = nn.Identity()
        self.head = nn.BatchNorm1d(self.trunk_width)
        self.head.bias.requires_grad_(False)

    def trunk_features(self, images: Tensor) -> Tensor:
        return self.trunk(images)

    def first_layers(self) -> list[nn.Module]:
        return self._first_layers

    def train(self, mode: bool = True) -> "BNNeck":
        """As `nn.Module.train`, but with `frozen_statistics` the batch norms stay in eval mode."""
        super().train(mode)
        if self.frozen_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
