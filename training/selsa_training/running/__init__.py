"""A training run: the optimiser, the schedule, what is kept, and the loop over all of it."""
