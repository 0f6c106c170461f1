"""Global ids for what is written here."""

from __future__ import annotations


def new_id() -> str:
    """A new UUID of version 7 (RFC 9562): unique across shops, and later ones sort after earlier ones."""
    from uuid_utils import uuid7

    return str(uuid7())
