"""The process that carries a relay's datagrams. `relay` starts it; it ends when its control channel does.

Control channel (SOCK_SEQPACKET, descriptor 0): it says that it is there, gets the plan as JSON, with the memory's
descriptor and the clients' sockets, and says how it receives. Then commands and answers, one JSON text each.
"""

from __future__ import annotations

import contextlib
import json
import socket

from udprism.relay.loop import Loop
from udprism.relay.memory import Memory
from udprism.relay.plan import Plan
from udprism.udp import child
from udprism.udp.descriptors import raise_limit

MAX_FRONTS = 4
MAX_PLAN_BYTES = 64 << 10


def main() -> None:
    """Serve until the program is gone."""
    child.begin("udprism-relay")
    raise_limit()
    control = socket.socket(fileno=0)
    with contextlib.suppress(ConnectionError):
        control.send(json.dumps({"there": True}).encode())
        data, descriptors, _, _ = socket.recv_fds(control, MAX_PLAN_BYTES, 1 + MAX_FRONTS)
        if not data:
            return  # what was asked for cannot be
        plan = Plan.from_json(data.decode())
        memory, *fronts = descriptors
        loop = Loop(plan, Memory(memory, plan.max_flows), [socket.socket(fileno=fd) for fd in fronts], control)
        control.send(json.dumps({"ready": loop.port.description}).encode())
        loop.run()


if __name__ == "__main__":
    main()
