"""Data sets: one common form, its readers and checks, sampling, and a synthetic generator."""
