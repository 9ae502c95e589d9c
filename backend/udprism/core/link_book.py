"""Which link holds for whom: an address's own, else the default."""

from __future__ import annotations

from udprism.core.link import Link, client_key
from udprism.core.types import Address


class LinkBook:
    """Links by client address, bounded by those who set them (clients and sessions are bounded). Server thread only."""

    def __init__(self) -> None:
        self.default: Link | None = None
        self._of_address: dict[Address, Link] = {}

    def put(self, address: Address, link: Link | None) -> None:
        """Give an address its own link, or take it away (None)."""
        if link is None:
            self._of_address.pop(address, None)
        else:
            self._of_address[address] = link

    def link_for(self, address: Address) -> Link | None:
        """The link that holds for this address; None where there is none, or one that is off."""
        link = self._of_address.get(address, self.default)
        return None if link is None or link.is_off else link


def session_key(name: str | None, address: Address) -> int:
    """The key under which a session's fates are drawn: its name's where it has one, so that a client that comes back
    from another port meets the same fates."""
    return client_key(name or f"{address[0]}:{address[1]}")
