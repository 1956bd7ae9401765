"""People who sign in: their accounts, passwords, second factors, sessions, and institutions' identity providers."""
