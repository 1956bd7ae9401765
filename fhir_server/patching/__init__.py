"""Patches: from a resource and what is to be changed in it to the resource as it is then. Pure."""
