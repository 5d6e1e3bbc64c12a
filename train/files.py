"""Files: written whole or not at all; safetensors; PNG."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import torch
from torch import Tensor

TORCH_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32}
NAMES = {dtype: name for name, dtype in TORCH_TYPES.items()}
# BF16 has no NumPy type: its bits travel as 16-bit integers.
BITS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.int16, "I64": np.int64, "I32": np.int32}


@contextmanager
def replacing(path: str | Path) -> Iterator[Any]:
    """A binary file that takes its name when it is complete and on the disk; left out if the block fails."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def only_process(folder: str | Path) -> Any:
    """A lock that no other process may hold at the same time; let go of with what is returned, or the process."""
    lock = open(Path(folder) / "lock", "ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{folder}: another training is at work in this folder") from None
    except OSError:  # a file system without locks
        pass
    return lock


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


class Patient:
    """A file whose first failure is kept for later: PyTorch's writer of archives ends the process where it is told of one
    (1.13), or speaks of positions in it."""

    def __init__(self, file: Any) -> None:
        self.file, self.problem = file, None  # type: ignore[var-annotated]

    def write(self, data: Any) -> int:
        if self.problem is None:
            try:
                self.file.write(data)
            except OSError as problem:
                self.problem = problem
        return len(data)

    def flush(self) -> None:
        pass


def write_torch(path: str | Path, content: dict[str, Any]) -> None:
    """As torch.save has it."""
    with replacing(path) as file:
        patient = Patient(file)
        torch.save(content, patient)
        if patient.problem is not None:
            raise OSError(f"{path}: cannot write: {patient.problem.strerror}")


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ValueError(f"{path}: not JSON: {problem}") from None


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a file, in their own types."""
    data = Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError(f"{path}: cut off, expected a header of {size} bytes")
    try:
        header = json.loads(data[8 : 8 + size])
    except ValueError:
        raise ValueError(f"{path}: not a safetensors file") from None
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        kind = entry["dtype"]
        if kind not in TORCH_TYPES:
            raise ValueError(f"{path}: {name} is {kind}, expected one of {', '.join(TORCH_TYPES)}")
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if end > len(data):
            raise ValueError(f"{path}: cut off inside of {name}")
        values = torch.from_numpy(np.frombuffer(data[begin:end], BITS[kind]).reshape(entry["shape"]).copy())
        out[name] = values.view(torch.bfloat16) if kind == "BF16" else values
    return out


def write_safetensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Tensors in the order of their names, each in its own type."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset, parts = 0, []
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        bits = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
        parts.append(bits.numpy().tobytes())
        header[name] = {
            "dtype": NAMES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [offset, offset + len(parts[-1])],
        }
        offset += len(parts[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for part in parts:
            file.write(part)


def write_png(path: str | Path, pixels: np.ndarray) -> None:
    """uint8 [height][width][3]."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, 3 * width)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    with replacing(path) as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
        file.write(chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b""))
