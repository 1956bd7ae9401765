"""MongoDB: documents and their sealed bodies, indexes, versions, transactions, and the embedded server."""
