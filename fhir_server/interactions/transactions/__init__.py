"""Bundles of requests: batches entry by entry, transactions as one."""
