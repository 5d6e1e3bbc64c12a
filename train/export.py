"""python -m train.export --run RUN --out DIR: makes a model folder that `vipo` reads from a training.

config.json, unet.safetensors and text_encoder.safetensors in half precision, vocab.json, merges.txt, and README.md, the
model card. The weights are the running mean's. --check adds check.safetensors: what PyTorch makes of these weights, for others
to be compared with. Where there is a README.md it stays, and the new one is README.new.md.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import state
from .avdc.config import to_model_folder
from .avdc.unet import UNet3D
from .console import run
from .dataset import View, corpus_of, open_dataset, picture_size, read_index
from .files import read_json, write_json, write_safetensors, write_text
from .model import Model
from .presets import Preset, Stage, examples_seen, find
from .task_path import TaskPath, encoder_json, load_encoder

TYPES = {"f16": (torch.float16, "float16"), "f32": (torch.float32, "float32")}


def preprocess_phrases(picture: list[int], crop: int, size: int) -> list[str]:
    """The way from a camera's picture to a frame, as `vipo preprocess` understands it."""
    phrases = [f"resize to {picture[0]}x{picture[1]} if it is not", f"centre crop {crop}x{crop}"]
    if crop != size:
        phrases.append(f"{crop // size}x{crop // size} box mean to {size}x{size}")
    return [*phrases, "/255"]


def config_json(preset: Preset, size: int, path: TaskPath, info: dict[str, Any]) -> dict[str, Any]:
    """config.json of a model of size x size pixels."""
    values = to_model_folder(replace(preset.unet, image_size=(size, size)))
    values["name"], values["dtype"] = info["name"], info["dtype"]
    values["image"]["preprocess"] = preprocess_phrases(info["picture"], preset.crop, size)
    values["image"]["source"] = {"height": info["picture"][0], "width": info["picture"][1], "rows": info["rows"]}
    values["text_encoder"] = encoder_json(path)
    tests = {text: path.tokenizer.encode(text) for text in info["tests"]}
    values["tokenizer"] = {
        "type": "CLIP byte-level BPE", "lowercase": True, "vocab": "vocab.json", "merges": "merges.txt", "tests": tests
    }  # fmt: skip
    values["tasks"], values["cameras"] = info["tasks"], info["cameras"]
    values["training"] = info["training"]
    if info["training"]["weighting"] == "v":  # all timesteps alike, no min-SNR
        values["diffusion"].pop("min_snr_gamma")
    return values


def last_size(kept: dict[str, Any], step: int) -> int:
    """The size of the stage that a training has come to."""
    done = 0
    for stage in kept["stages"]:
        done += stage["steps"]
        if step <= done:
            return int(stage["size"])
    return int(kept["stages"][-1]["size"])


def card(values: dict[str, Any], kept: dict[str, Any], parameters: int, last: bool) -> str:
    """The beginning of a model card; numbers are for train.evaluate and for an author to add."""
    image, unet, training = values["image"], values["unet"], values["training"]
    seen = ", ".join(f"{count} of {size}" for size, count in training["examples"].items())
    kind = "the last of the training" if last else "the running mean of the training"
    tasks, cameras = ", ".join(values["tasks"]), ", ".join(values["cameras"])
    return f"""# {values['name']}

One frame and a text -> {image['future_frames']} future frames of {image['height']}x{image['width']}. AVDC's UNet with {parameters / 1e6:.2f} M
parameters (model_channels {unet['model_channels']}, channel_mult {','.join(map(str, unet['channel_mult']))}, attention at
{' and '.join(f'{d}x' for d in unet['attention_resolutions'])}); weights in {values['dtype']}, {kind}.

Tasks: {tasks}. Cameras: {cameras}.

## Training
{training['step']} steps, {seen} examples (losses weighted by {training['weighting']}), from {training['clips']} clips of `vipo sim collect`; of each task {kept['held_out']} episodes held out. Began
with {kept.get('init') or 'random weights'}. Text path: {json.dumps(training['text'])}.

## Limits
Trained on one renderer and on these cameras: nothing else will work.
"""


def export(
    run_folder: str | Path, out: str | Path, data: str | Path, name: str, dtype: str, size: int | None, last: bool, licence: str | None = None
) -> None:
    run_folder, out = Path(run_folder), Path(out)
    if (out / state.NAME).exists():
        raise ValueError(f"{out}: is the folder of a training, expected another one for the model")
    kept, content = read_json(run_folder / "config.json"), state.load(run_folder)
    preset = find(kept["preset"])
    path = load_encoder(run_folder / "text", preset.unet)
    unet = UNet3D(preset.unet)
    unet.load_state_dict(content["unet"])
    if not last:
        with torch.no_grad():
            for parameter_name, p in unet.named_parameters():
                p.copy_(content["ema"]["values"][parameter_name])
    infos = read_index(data)
    corpus = corpus_of(infos, str(data))
    size = last_size(kept, content["step"]) if size is None else size
    if size < 1 or size % 2 ** (len(preset.unet.channel_mult) - 1) or preset.crop % size:
        raise ValueError(f"--size {size}: expected a divisor of {preset.crop} that the network can halve")
    cameras = kept.get("cameras") or sorted({info["camera"] for info in infos})
    first = [texts[0] for texts in corpus.texts.values()]
    torch_type, type_name = TYPES[dtype]
    info = {
        "name": name,
        "dtype": type_name,
        "picture": picture_size(data),
        "rows": "as glReadPixels returns them, never flipped: upright and mirrored left-right (AVDC's convention)",
        "tests": [*first[:3], "Open  the DOOR!!", "turn it 3 times\u2026"],
        "tasks": dict(zip(corpus.tasks, first)),
        "cameras": cameras,
        "training": {
            "step": content["step"],
            "examples": content.get("seen") or examples_seen([Stage(**stage) for stage in kept["stages"]], content["step"]),
            "weighting": kept["weighting"],
            "clips": kept.get("clips", len(infos)),
            "held_out": kept["held_out"],
            "began_with": Path(kept["init"]).name if kept.get("init") else None,
            "text": read_json(run_folder / "text" / "config.json")["report"],
        },
    }
    values = config_json(preset, size, path, info)
    if licence:
        values["licence"] = licence
    out.mkdir(parents=True, exist_ok=True)
    weights = {k: v.to(torch_type) for k, v in unet.state_dict().items()}
    for tensor_name, value in weights.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{tensor_name} has values that {type_name} cannot hold: use --dtype f32")
    for stale in ("config.json", "check.safetensors"):  # of an earlier export: until the end the folder is no model
        (out / stale).unlink(missing_ok=True)
    write_safetensors(out / "unet.safetensors", weights)
    write_safetensors(out / "text_encoder.safetensors", {k: v.to(torch_type) for k, v in path.encoder.state_dict().items()})
    path.tokenizer.save(out)
    card_name = "README.new.md" if (out / "README.md").exists() else "README.md"  # an author's is kept
    write_text(out / card_name, card(values, kept, sum(p.numel() for p in unet.parameters()), last))
    write_json(out / "config.json", values)  # last: with it the folder is a model


@torch.no_grad()
def write_check(out: Path, data: str | Path, task: str, held_out: int) -> None:
    """check.safetensors, float32 from the folder's weights: cond [3][h][w] in [0,1], the first frame of a held-out clip of
    `task`; ids and text_hidden of the task's first text; noise [3][frames][h][w]; v_t40, the network's output for that noise
    at t = 40; ddim10, ten DDIM steps from it as (x + 1) / 2."""
    model = Model(out)
    dataset = open_dataset(data, cameras=model.values["cameras"], quiet=True)
    clips = [clip for clip in dataset.split(held_out)[1] if clip.task == task]
    if not clips:
        raise ValueError(f"--check {task}: no clip of it is held out")
    text = dataset.corpus.texts[task][0]
    picture = View(model.crop, model.size, model.config.frames).take(dataset, clips[0])[:1]
    cond = torch.from_numpy(picture).float() / 255
    noise = torch.randn((1, model.config.frames, model.size, model.size, 3), generator=torch.Generator().manual_seed(0))
    embedding = model.embed([text])

    def planar(video: Tensor) -> Tensor:
        return video[0].movedim(-1, 0).contiguous()

    tensors = {
        "ids": torch.tensor(model.path.tokenizer.encode(text)),
        "cond": planar(cond),
        "text_hidden": model.path.features([text])[0].contiguous(),
        "noise": planar(noise),
        "v_t40": planar(model.v(noise, cond, torch.tensor([40]), embedding)),
        "ddim10": planar(model.ddim(cond, embedding, noise, 10)),
    }
    write_safetensors(out / "check.safetensors", tensors)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, metavar="RUN", help="folder of python -m train.video")
    parser.add_argument("--data", required=True, metavar="DIR", help="its data set: texts and size of the pictures")
    parser.add_argument("--out", required=True, metavar="DIR", help="the model folder")
    parser.add_argument("--name", help="default: the name of --out")
    parser.add_argument("--dtype", choices=list(TYPES), default="f16")
    parser.add_argument("--size", type=int, help="pixels; default: those of the stage that the training has come to")
    parser.add_argument("--check", metavar="TASK", help="add check.safetensors, of a held-out clip of this task")
    parser.add_argument("--licence", metavar="NAME", help="of the weights, for config.json")
    parser.add_argument("--last", action="store_true", help="the last weights in place of the running mean")
    options = parser.parse_args(arguments)
    name = options.name or Path(options.out).resolve().name
    export(options.run, options.out, options.data, name, options.dtype, options.size, options.last, options.licence)
    if options.check:
        write_check(Path(options.out), options.data, options.check, int(read_json(Path(options.run) / "config.json")["held_out"]))
    total = sum(f.stat().st_size for f in Path(options.out).iterdir() if f.is_file())
    print(f"{options.out}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    run("train.export", main)
