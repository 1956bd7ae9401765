"""Loading files of resources: read, unpacked, checked, compared with what is stored, written in batches."""
