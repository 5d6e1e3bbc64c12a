"""A distance between pictures by what a network sees in them, built as LPIPS is (Zhang et al. 2018, without learned weights): at every
layer, features divided by their length over the channels; squares of differences, added over channels and averaged over
places; layers added. LPIPS takes a network that was trained on photographs; this one takes the picture encoder of a policy of ours
(train/policy), which was trained on the same scenes. So its numbers rank what was made from these scenes, and are not LPIPS's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .policy.export import load

STEM = 2  # of the backbone's layers: after its first ReLU come the stages, which follow the pooling
SMALL = 1e-10


def unit(features: Tensor) -> Tensor:
    """Of length 1 over the channels."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + SMALL)


class Perceptual:
    def __init__(self, folder: str | Path, device: torch.device | str = "cpu") -> None:
        policy = load(folder)
        encoder = next(iter(policy.obs_encoder.key_model_map.values()))
        self.layers = encoder.nets[0].nets.to(device).eval()
        self.size = (policy.config.image, policy.config.image)
        self.device = device

    def features(self, video: np.ndarray) -> list[Tensor]:
        """Of float [frames][h][w][3] in [0,1]: the first layer's and each stage's."""
        x = torch.from_numpy(np.ascontiguousarray(video, np.float32)).to(self.device).permute(0, 3, 1, 2)
        if tuple(x.shape[2:]) != self.size:
            x = functional.interpolate(x, self.size, mode="area" if x.shape[2] > self.size[0] else "bilinear")
        x, out = x * 2 - 1, []
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number >= STEM and not isinstance(layer, torch.nn.MaxPool2d):
                out.append(x)
        return out

    @torch.no_grad()
    def distances(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """[frames], 0 for equal pictures, of videos of the same shape."""
        total: Tensor | float = 0.0
        for x, y in zip(self.features(a), self.features(b)):
            total = total + (unit(x) - unit(y)).square().sum(1).mean((1, 2))
        return total.cpu().numpy()
