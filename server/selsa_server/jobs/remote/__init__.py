"""Addresses that clients name: what they may be, connections to them, and downloads."""
