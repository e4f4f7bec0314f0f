"""Records and errors as they travel between server and client."""
