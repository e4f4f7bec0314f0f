"""Reading video files: container, index, decoding, frame selection."""
