"""Policies from pictures to actions: goal-conditioned diffusion (gcp) and behaviour cloning (bc)."""
