"""How a search is carried out: what is asked is resolved, bounded, found, ordered and opened, each step under the gate."""
