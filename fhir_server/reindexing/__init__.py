"""Search parameters of the operator's own, and filing under them what is stored already, while all else goes on."""
