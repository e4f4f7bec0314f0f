"""What bundles cost on this machine, measured so that the figures can be made again; see `selsa bench`."""
