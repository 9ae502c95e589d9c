"""Which hosted clients there are, by id and by name, as they are kept. One change at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable

from udprism.errors import RequestError
from udprism.node.kept import KeptClient
from udprism.serving.clients import ModeName
from udprism.serving.commands import name_fault

_ID_BYTES = 6
"""Enough for ids that are unique across nodes without asking: a million clients collide with a chance of 0.2 %."""


class Directory:
    """Read from the event loop; changed there, only while holding `changing`."""

    def __init__(self) -> None:
        self.changing = asyncio.Lock()
        """Held from the check of a change until all that follows from it is done."""
        self.clients: dict[str, KeptClient] = {}
        self.held_back: list[KeptClient] = []
        """Kept clients beyond `settings.max_clients`; their names stay taken."""
        self._id_of_name: dict[str, str] = {}

    def __contains__(self, client_id: object) -> bool:
        return client_id in self.clients

    def __len__(self) -> int:
        return len(self.clients)

    def require(self, client_id: str) -> KeptClient:
        """This client. Raises: RequestError (404)."""
        client = self.clients.get(client_id)
        if client is None:
            raise RequestError(f"no client {client_id!r}", field="id", kind="not-found")
        return client

    def name_of(self, client_id: str) -> str | None:
        """A client's name; None if there is no such client."""
        client = self.clients.get(client_id)
        return None if client is None else client.name

    def require_free(self, name: str, but: str | None = None) -> None:
        """No client but this one has that name. Raises: RequestError (409)."""
        if self._id_of_name.get(name, but) != but:
            raise RequestError(
                f"a client is called {name!r} already: choose another name", field="name", kind="name-taken"
            )

    def put(self, client: KeptClient) -> None:
        """Add a client, or replace the one with its id."""
        known = self.clients.get(client.id)
        if known is not None:
            del self._id_of_name[known.name]
        self.clients[client.id] = client
        self._id_of_name[client.name] = client.id

    def hold_back(self, clients: Iterable[KeptClient]) -> None:
        """Leave these on the disk for a start with more room."""
        for client in clients:
            self.held_back.append(client)
            self._id_of_name[client.name] = client.id

    def drop(self, client_id: str) -> None:
        """Remove a client."""
        del self._id_of_name[self.clients.pop(client_id).name]

    def define(
        self, name: str | None, target: str, rate_hz: float, colours: int, mode: ModeName, count: int
    ) -> list[KeptClient]:
        """New clients with ids and names, not yet put: `name` itself for one, otherwise `name-001` and so on.

        Raises: RequestError (409, 422).
        """
        if name is not None and count == 1:
            self.require_free(name)
            names = [name]
        else:
            names = self._numbered(name or "client", count)
        fault = name_fault(max(names, key=len, default="client"))
        if fault is not None:
            raise RequestError(f"{fault} (several clients are numbered: {names[-1]})", field="name")
        return [
            KeptClient(f"c-{secrets.token_hex(_ID_BYTES)}", one, target, mode, rate_hz, colours, False) for one in names
        ]

    def _numbered(self, stem: str, count: int) -> list[str]:
        """This many names, with the lowest free numbers."""
        names: list[str] = []
        number = 0
        while len(names) < count:
            number += 1
            numbered = f"{stem}-{number:03d}"
            if numbered not in self._id_of_name:
                names.append(numbered)
        return names
