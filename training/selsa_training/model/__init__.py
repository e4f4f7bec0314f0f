"""The SELSA detector, one idea a file."""
