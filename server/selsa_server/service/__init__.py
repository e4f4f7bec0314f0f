"""Detection as a service: admission, draining, models."""
