"""Search: from the standard's definitions and a request to a plan; the same reading of values on both sides."""
