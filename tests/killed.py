"""What a killed process leaves open in MongoDB: kept for a minute, it is in the way of whoever goes on with the work."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient


def named(uri: str, name: str) -> str:
    """Return a connection string by which a process is known to MongoDB under a name."""
    return f"{uri}{'&' if '?' in uri else '?'}appName={name}"


def end_transactions(client: MongoClient[dict[str, Any]], name: str) -> None:
    """End the transactions that were begun under a name."""
    left = [{"$currentOp": {"idleSessions": True}}, {"$match": {"type": "idleSession", "appName": name}}]
    for each in client.admin.aggregate(left):
        client.admin.command("killSessions", [{"id": each["lsid"]["id"]}])
