"""Data sets of `vipo sim collect` (docs/data.md)."""
from .clips import Clip, frame_numbers, open_clips, read_frames, sample

__all__ = ["Clip", "frame_numbers", "open_clips", "read_frames", "sample"]
