"""Bundles that are packed as one file, and bundles by their address."""
