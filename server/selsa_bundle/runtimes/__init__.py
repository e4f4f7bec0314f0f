"""The runtimes that run engines, and the choice between them."""
