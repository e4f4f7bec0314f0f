"""Confinement of a process: Landlock, seccomp, resource limits, self-test."""
