"""Jobs: detection in the background that survives a restart."""
