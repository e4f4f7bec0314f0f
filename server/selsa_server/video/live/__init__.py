"""Reading live streams."""
