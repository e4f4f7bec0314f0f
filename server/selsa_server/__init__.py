"""The server: decode, detection pipeline, HTTP. Import what is needed from its modules.

Nothing is imported here, so that the client can import `selsa_server.schema` on the base install alone.
"""
