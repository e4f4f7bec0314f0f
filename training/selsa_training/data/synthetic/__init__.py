"""The synthetic data set: sprites moving over textures, at times too degraded to be named from one frame."""
