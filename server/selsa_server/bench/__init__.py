"""Measurements of bundles on this machine; see `selsa bench`."""
