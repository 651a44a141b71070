"""Multi-scale PatchGAN discriminators, used for D_I and D_V of vid2vid (section 3). Their inputs: discriminator_inputs.py."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from stages.networks.common.layers import activate

Outputs = list[list[Tensor]]
"""For each scale the feature maps of all layers. The last one is the output, with one value per patch."""


class PatchDiscriminator(nn.Module):
    """One scale: 4x4 convolutions with spectral normalisation. The last two have stride 1, the others stride 2."""

    def __init__(self, inputs: int, filters: int, layers: int) -> None:
        super().__init__()
        widths = [inputs, *(min(filters * 2**i, 16 * filters) for i in range(layers)), 1]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2 if i < layers - 1 else 1, 2))
            for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for layer in self.layers[:-1]:
            x = activate(layer(x))
            features.append(x)
        return [*features, self.layers[-1](x)]


class MultiScaleDiscriminator(nn.Module):
    """A `PatchDiscriminator` for each scale; every scale sees the image at half the size of the one before. [B, C, H, W] -> `Outputs`."""

    def __init__(self, inputs: int, filters: int = 32, layers: int = 4, scales: int = 1) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(inputs, filters, layers) for _ in range(scales))

    def forward(self, x: Tensor) -> Outputs:
        outputs = []
        for scale in self.scales:
            outputs.append(scale(x))
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return outputs
