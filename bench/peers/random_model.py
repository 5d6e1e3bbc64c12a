#!/usr/bin/env python3
"""Writes a full-size model folder with random weights, for timing.

python bench/peers/random_model.py --preset thor --out /tmp/thor-random
The folder has config.json and unet.safetensors (no text encoder: use it with --tokens).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "train"))

from avdc import config as configs  # noqa: E402
from avdc.unet import PerceiverAttention, UNet3D  # noqa: E402


def randomise(unet: UNet3D, seed: int = 0) -> UNet3D:
    """Uniform weights that keep the variance of their input, norm gains near 1, small biases.

    No layer is left at zero, so that a wrong layer shows in the output, and activations
    stay of order 1, so that no denormals or overflows distort the time."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(p: torch.Tensor, centre: float, half_width: float) -> None:
        nn.init.uniform_(p, centre - half_width, centre + half_width, generator=generator)

    with torch.no_grad():
        for module in unet.modules():
            gain = isinstance(module, (nn.GroupNorm, nn.LayerNorm, PerceiverAttention))
            for name, p in module.named_parameters(recurse=False):
                if name == "bias":
                    uniform(p, 0.0, 0.1)
                elif gain or name == "g":
                    uniform(p, 1.0, 0.1)
                else:  # [out, in, ...]: variance 1 / fan-in; embeddings and latents likewise
                    uniform(p, 0.0, (3.0 / p[0].numel()) ** 0.5)
    return unet


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", required=True, choices=sorted(configs.PRESETS))
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    from safetensors.torch import save_file

    config = configs.preset(args.preset)
    unet = randomise(UNet3D(config), args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(configs.to_model_folder(config), indent=1) + "\n"
    (args.out / "config.json").write_text(text, encoding="utf-8")
    save_file(unet.state_dict(), args.out / "unet.safetensors")
    count = sum(p.numel() for p in unet.parameters())
    print(f"{args.out}: {args.preset}, {count} parameters, seed {args.seed}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
