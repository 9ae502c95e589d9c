"""The process that writes one recording: its work takes no processor time from the program's threads.

Descriptor 0 is the channel to the program (`udp.control`). First comes the plan; the answer says that the first file is
open. Then `turn` lines: what was seen long enough ago is written, and the answer is the state. Queues of sightings come
with a turn, as descriptors. When the channel ends, what waits is written, and the last state is said: also if the
program was killed.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from udprism.node.recording_writer import RecordingPlan, Writer
from udprism.udp import child
from udprism.udp.control import Control
from udprism.udp.sight_queue import SightQueue

_NICENESS = 5
"""A recording never delays a datagram: where processors are few, the others come first."""


def main() -> None:
    """Write until the channel ends."""
    child.begin("udprism-record")
    with suppress(OSError):
        os.nice(_NICENESS)
    control = Control(socket.socket(fileno=0))
    first = control.hear()
    if first is None:
        return
    try:
        writer = Writer(RecordingPlan(**first.body["plan"]), Path(first.body["folder"]))
    except OSError as error:
        control.say({"refused": error.strerror or str(error)})
        return
    _say(control, writer, None)
    fault: str | None = None
    try:
        _work(control, writer)
    except OSError as error:
        fault = error.strerror or str(error)
    writer.close()
    _say(control, writer, fault)


def _work(control: Control, writer: Writer) -> None:
    queues: list[SightQueue] = []
    now_ns = time.time_ns()
    while (heard := control.hear()) is not None:
        for file in heard.files:
            queues.append(SightQueue(file))
            os.close(file)
        now_ns = heard.body["now_ns"]
        writer.take_in(queues, now_ns)
        hold_ns = max((queue.hold_ns for queue in queues), default=0)
        writer.write(now_ns, heard.body["hold_ns"] + hold_ns)
        _say(control, writer, None)
    writer.take_in(queues, now_ns)
    writer.end(now_ns)


def _say(control: Control, writer: Writer, fault: str | None) -> None:
    """The state. fault: of the system, such as a full disk."""
    state: dict[str, Any] = {
        "files": [path.name for path in writer.paths],
        "recorded": list(writer.recorded.values()),
        "left_out": list(writer.left_out.values()),
        "turned_away": list(writer.turned_away.values()),
        "fault": fault,
    }
    with suppress(OSError):  # the program is gone; what has come is written all the same
        control.say(state)


if __name__ == "__main__":
    main()
