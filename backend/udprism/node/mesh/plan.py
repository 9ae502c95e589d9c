"""What one node needs to know to take part: read from the settings."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
        """identity: of the data directory; a node keeps its id over restarts."""
        return cls(
            tuple(settings.nats),
            f"n-{identity}",
            settings.node or socket.gethostname(),
            settings.nats_creds,
            settings.nats_ca,
            settings.remote,
        )
