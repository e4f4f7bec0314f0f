"""Decoder processes that are confined by the operating system."""
