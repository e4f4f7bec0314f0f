"""The training objective: from a batch of samples to the detector's losses."""
