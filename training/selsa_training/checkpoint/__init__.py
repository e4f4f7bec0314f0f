"""Checkpoints: reading, writing, checking."""
