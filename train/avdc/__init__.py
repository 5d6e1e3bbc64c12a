"""AVDC-architecture video models in plain PyTorch (same state-dict names as AVDC)."""
