"""What the operator does with an installation: a file for each group of commands."""
