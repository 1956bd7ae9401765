"""Code systems and value sets: what their resources say, and the tables of R4. Pure: no store, no HTTP."""
