"""Backups: the whole database as of one instant, sealed and checked, in a folder; and restoring it.

What lies in the folder: `manifest.json` (what there is, and the digests; while it is being made `progress.json`),
`records/` (the documents of all collections) and `keys/` (the wrapped data keys, apart, so that a purge reaches them).
"""
