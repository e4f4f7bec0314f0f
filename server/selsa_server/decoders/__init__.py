"""The protocol that the pipeline decodes through, and its in-process implementation."""
