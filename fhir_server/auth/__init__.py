"""Who asks, and what that allows: bearer tokens, SMART scopes, role policy, consent → one predicate."""
