"""The commands `selsa serve`, `batch`, `bench` and `engines`."""
