"""`selsa batch`: detection over many files on Ray Data."""
