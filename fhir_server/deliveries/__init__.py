"""Records received from elsewhere for a visit, and their end: purged by destroying the keys that sealed them."""
