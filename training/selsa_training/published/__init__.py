"""Import of weights that mmtracking published."""
