"""The training side: the SELSA model, its checkpoints, and the import of published weights."""
