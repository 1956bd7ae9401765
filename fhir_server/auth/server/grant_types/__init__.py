"""One file for each grant type of the token endpoint; each turns a form of a known client into a token response."""
