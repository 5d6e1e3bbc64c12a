"""How near videos are to each other, and contact sheets. Videos are float [frames][height][width][3] in [0,1]."""

from __future__ import annotations

from typing import Sequence

import numpy as np

WINDOW = 7  # side of the squares of SSIM


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB over all pixels and colours; at most 100."""
    return float(min(100.0, -10 * np.log10(max(np.mean((a - b) ** 2), 1e-10))))


def psnr_where(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """dB over the pixels of a mask [frames][height][width]; 100 if it is empty."""
    return psnr(a[mask], b[mask]) if mask.any() else 100.0


def box_filter(x: np.ndarray) -> np.ndarray:
    """Means of WINDOW x WINDOW squares that lie within, over axes 0 and 1."""
    for axis in (0, 1):
        sums = np.cumsum(np.concatenate((np.zeros_like(x.take([0], axis)), x), axis), axis)
        n = x.shape[axis] - WINDOW + 1
        x = (sums.take(range(WINDOW, WINDOW + n), axis) - sums.take(range(n), axis)) / WINDOW
    return x


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two pictures [h][w][3] (Wang et al. 2004, uniform windows)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = box_filter(a), box_filter(b)
    var_a, var_b = box_filter(a * a) - mean_a**2, box_filter(b * b) - mean_b**2
    both = box_filter(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return float(np.mean((2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def video_ssim(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([ssim(x, y) for x, y in zip(a, b)]))


def moving(cond: np.ndarray, future: np.ndarray, least: float = 0.08) -> np.ndarray:
    """[frames][h][w]: where the future differs from the condition frame [h][w][3] in some colour."""
    return np.abs(future - cond[None]).max(axis=-1) > least


def contact_sheet(rows: Sequence[np.ndarray], scale: int = 1, gap: int = 2) -> np.ndarray:
    """uint8 picture of videos [frames][h][w][3], one row each, on white."""
    height, width = rows[0].shape[1] * scale, rows[0].shape[2] * scale
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        pixels = np.rint(np.clip(row, 0, 1) * 255).astype(np.uint8).repeat(scale, axis=1).repeat(scale, axis=2)
        for c, picture in enumerate(pixels):
            top, left = gap + r * (height + gap), gap + c * (width + gap)
            sheet[top : top + height, left : left + width] = picture
    return sheet
