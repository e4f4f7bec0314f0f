"""Requests to a server over HTTP."""
