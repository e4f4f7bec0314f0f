"""What training makes small: from a batch of samples to the detector's losses."""
