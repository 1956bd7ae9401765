"""The search parameter types of R4, each with what it files, what it looks up, and what a value of it means."""
