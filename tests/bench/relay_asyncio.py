"""The usual thirty lines: one asyncio endpoint for the clients, one for each of them towards the target.

python relay_asyncio.py LISTEN TARGET    ports on 127.0.0.1
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

Address = tuple[str, int]


class Upstream(asyncio.DatagramProtocol):
    def __init__(self, front: Front, client: Address) -> None:
        self.front, self.client = front, client

    def datagram_received(self, data: bytes, address: Address) -> None:
        self.front.transport.sendto(data, self.client)


class Front(asyncio.DatagramProtocol):
    def __init__(self, target: Address) -> None:
        self.target = target
        self.transport: Any = None
        self.upstream: dict[Address, asyncio.Future[Any]] = {}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def datagram_received(self, data: bytes, client: Address) -> None:
        opened = self.upstream.get(client)
        if opened is None:
            opened = self.upstream[client] = asyncio.ensure_future(self.open(client))
        if opened.done():
            opened.result().sendto(data)
        else:
            opened.add_done_callback(lambda done: done.result().sendto(data))

    async def open(self, client: Address) -> Any:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Upstream(self, client), remote_addr=self.target)
        return transport


async def main(listen: int, target: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Front(("127.0.0.1", target)), local_addr=("127.0.0.1", listen))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
