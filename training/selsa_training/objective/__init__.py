"""The training objective: the detector's losses on a batch of samples."""
