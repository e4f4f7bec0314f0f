"""Detections drawn on video and contact sheets."""
