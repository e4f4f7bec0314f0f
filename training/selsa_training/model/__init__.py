"""The SELSA detector."""
