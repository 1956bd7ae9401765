"""The executable consent conformance suite: rows of data, put to a server through every door."""
