"""Engine calls shared by many requests: bundle loading, batching, queueing."""
