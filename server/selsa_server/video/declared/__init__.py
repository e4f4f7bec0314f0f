"""Sizes that the head of an upload declares."""
