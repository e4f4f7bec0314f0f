"""Variants of a bundle in other precisions, and what each costs in detections."""
