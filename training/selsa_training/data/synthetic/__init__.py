"""The synthetic data set: moving sprites that are sometimes too degraded to classify from one frame."""
