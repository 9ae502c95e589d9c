"""What one node needs to know to take part: read from the settings."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from udprism.errors import UdprismError
from udprism.node.mesh.subjects import is_node_id
from udprism.settings import Settings


@dataclass(frozen=True)
class MeshPlan:
    """Where the NATS server is, and who we are there."""

    urls: tuple[str, ...]
    id: str
    name: str
    creds: Path | None = None
    ca: Path | None = None
    remote: Literal["off", "read", "on"] = "read"

    @property
    def is_encrypted(self) -> bool:
        """TLS for all of them."""
        return all(url.startswith("tls://") for url in self.urls)

    @classmethod
    def of(cls, settings: Settings, identity: str) -> MeshPlan:
        """identity: of the data directory; a node keeps its id over restarts. A key file of `hub` names another id.

        Raises: UdprismError if the key file cannot be read.
        """
        return cls(
            tuple(settings.nats),
            _id_in(settings.nats_creds) or f"n-{identity}",
            settings.node or socket.gethostname(),
            settings.nats_creds,
            settings.nats_ca,
            settings.remote,
        )


def _id_in(creds: Path | None) -> str | None:
    """The node's id that a key file names, to which the NATS server's permissions hold it."""
    if creds is None:
        return None
    try:
        lines = creds.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UdprismError(f"--nats-creds {creds} cannot be read: {error}") from None
    ids = (line.removeprefix("node ") for line in lines if line.startswith("node "))
    return next((id for id in ids if is_node_id(id)), None)
