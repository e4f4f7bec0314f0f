"""Detection over one video or live stream."""
