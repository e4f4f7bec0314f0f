"""Average precision and its parts."""
