"""Quantisation of a graph to int8."""
