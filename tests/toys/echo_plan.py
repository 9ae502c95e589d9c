"""What an echo is, from a request or from what was kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from udprism.errors import RequestError
from udprism.settings import split_host_port


@dataclass(frozen=True, slots=True)
class EchoPlan:
    """Where it listens: kept as JSON."""

    host: str
    port: int

    @classmethod
    def asked(cls, listen: str) -> EchoPlan:
        """Raises: RequestError, with the field at fault."""
        try:
            return cls(*split_host_port(listen))
        except ValueError as error:
            raise RequestError(str(error), field="listen") from error

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, body: str) -> EchoPlan:
        return cls(**json.loads(body))
