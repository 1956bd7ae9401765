"""What a resource says without the labels that the server adds to it."""

from typing import Any

Json = dict[str, Any]


def unlabelled(resource: Json) -> Json:
    """Return a stored resource as its author said it: without computed labels, which userSelected marks as not chosen."""
    meta = resource.get("meta", {})
    stated = [each for each in meta.get("security", ()) if each.get("userSelected") is not False]
    rest = {name: said for name, said in meta.items() if name != "security"} | ({"security": stated} if stated else {})
    without = {name: said for name, said in resource.items() if name != "meta"}
    return {**without, "meta": rest} if rest else without
