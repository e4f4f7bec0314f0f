"""Linking the detections of a video to objects; numpy only, for the server and for evaluation."""
