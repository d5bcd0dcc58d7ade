"""The classifier of sparse label smoothing: a trunk, and an extra linear layer before its classes or after them.

Source: Ainam et al., Sparse Label Smoothing for Semi-supervised Person Re-Identification (2018), section 4.3.
"""

import torch
from torch import Tensor, nn

from reidlib.models.embedder import Embedder
from reidlib.models.mildnet import MILDNet

NOISE_LAYERS = ("bottleneck", "post_softmax")
SMALLEST = 1e-12  # of the scores whose logarithm "post_softmax" gives


class SmoothedClassifier(nn.Module):
    """Identities of real and generated images from pooled features, which serve as the embedding at test time.

    base: a residual or dense network of `reidlib.models.build`; its trunk is taken over as it is (a ResNet-50 keeps its
    last stride of 2) and its head dropped. classes: number of training identities. noise_layer: where the paper's
    "extra linear layer", which is to fit the outputs to the noisy labels of generated images, goes:
    "bottleneck": before the classes, as in the released code: linear to `width`, batch norm, leaky ReLU (slope 0.1),
    dropout, linear to the classes. 24,943,407 parameters on ResNet-50 and 7,864,943 on DenseNet-121 at 751 classes.
    "post_softmax": after them, as the text has it ("on top of the softmax layer"): linear to the classes, softmax,
    linear from classes to classes without bias, which starts as the identity. `width` and `dropout` do not count.
    Initial weights: first linear layer He normal (fan out), the one to the classes N(0, 0.001), batch norm N(1, 0.02),
    biases 0, from torch's global generator, which dropout uses too.
    Raises ValueError for another noise_layer, fewer than 2 classes, a width below 1, a dropout outside [0, 1), and for
    MILDNet, whose trunk does not end in pooled features.
    """

    def __init__(
        self,
        base: Embedder,
        classes: int,
        noise_layer: str = "bottleneck",
        width: int = 512,
        dropout: float = 0.5,
    ):
        super().__init__()
        if noise_layer not in NOISE_LAYERS:
            raise ValueError(f"unknown noise_layer {noise_layer!r}: choose one of {', '.join(NOISE_LAYERS)}")
        if classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got classes={classes}")
        if width < 1:
            raise ValueError(f"the bottleneck needs at least 1 unit, got width={width}: try 512")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}: try 0.5")
        if isinstance(base, MILDNet):
            raise ValueError("a classifier goes on a residual or dense trunk, not on MILDNet: choose another backbone")
        self.trunk, self.trunk_width = base.trunk, base.trunk_width
        self.noise = None
        if noise_layer == "bottleneck":
            self.head = nn.Sequential(
                nn.Linear(self.trunk_width, width),
                nn.BatchNorm1d(width),
                nn.LeakyReLU(0.1, inplace=True),
                nn.Dropout(dropout),
                nn.Linear(width, classes),
            )
            nn.init.kaiming_normal_(self.head[0].weight, mode="fan_out")
            nn.init.zeros_(self.head[0].bias)
            nn.init.normal_(self.head[1].weight, 1.0, 0.02)
        else:
            self.head = nn.Sequential(nn.Linear(self.trunk_width, classes))
            self.noise = nn.Linear(classes, classes, bias=False)
            nn.init.eye_(self.noise.weight)
        nn.init.normal_(self.head[-1].weight, 0.0, 0.001)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, classes) of images float (b, 3, h, w): what a cross-entropy takes the log-softmax of.

        With "post_softmax" they are logarithms of the noise layer's scores, cut off at 1e-12 (a score below that gets
        no gradient). Training may take these scores away from a sum of 1; the log-softmax normalises them. While the
        layer is the identity they are the log-softmax of the inner logits, and the loss is that of a plain classifier.
        The head is computed in float32 (float64 stays), also under autocast.
        """
        features = self.features(images)
        with torch.autocast(features.device.type, enabled=False):
            logits = self.head(features)
            return logits if self.noise is None else self.noise(logits.softmax(1)).clamp(min=SMALLEST).log()

    def features(self, images: Tensor) -> Tensor:
        """The paper's embedding: pooled features (b, trunk_width) of the trunk, not normalised, in float32 at least."""
        features = self.trunk(images)
        return features.to(torch.promote_types(features.dtype, torch.float32))

    def trunk_parameters(self) -> list[nn.Parameter]:
        """What pre-training fills; with `head_parameters` all of the model, for one learning rate each."""
        return list(self.trunk.parameters())

    def head_parameters(self) -> list[nn.Parameter]:
        """All that is not in the trunk: the classifier, noise layer included."""
        return [parameter for name, parameter in self.named_parameters() if not name.startswith("trunk.")]
