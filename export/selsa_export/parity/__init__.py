"""Comparison of exported engines with PyTorch."""
