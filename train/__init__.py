"""Training of video models (train/README.md); run from the repository's root: python -m train.video --help."""
