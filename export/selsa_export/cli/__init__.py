"""The commands `selsa export` and `selsa quantize`."""
