#!/usr/bin/env bash
# Guess: a library that repeats a command over UDP numbers it, so that an answer belongs to its command. Seen otherwise:
# PyPI pywizlight 0.6.6 (WiZ bulbs) repeats a command after 0.75 s in the same bytes, and takes the late answer to the
# repetition for the answer to the next command, which the bulb never heard: turn_on() returns, and the bulb is as it was.
# PyPI lifxlan 1.2.9 (LIFX) leaves the protocol's own sequence number 0 in every message, so that a lamp cannot tell
# a repetition from a new command, and takes an acknowledgement of any number for one of the present command.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install -q --disable-pip-version-check pywizlight==0.6.6 lifxlan==1.2.9
"$folder/v/bin/python" - <<'PY'
import asyncio, importlib.metadata, json, socket, threading

from pywizlight import PilotBuilder, wizlight

print("pywizlight", importlib.metadata.version("pywizlight"))


class SlowBulb(asyncio.DatagramProtocol):
    """Hears the first command and its repetition, answers each late, and hears nothing after that."""

    def __init__(self):
        self.heard, self.answered = [], 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.heard.append(data)
        if len(self.heard) == 2:
            loop = asyncio.get_running_loop()
            for delay_s in (0.0, 1.0):
                answer = json.dumps({"method": "setPilot", "env": "pro", "result": {"success": True}}).encode()
                loop.call_later(delay_s, self.transport.sendto, answer, address)


async def bulb():
    transport, bulb = await asyncio.get_running_loop().create_datagram_endpoint(SlowBulb, local_addr=("127.0.0.1", 0))
    light = wizlight("127.0.0.1", port=transport.get_extra_info("sockname")[1])
    await light.turn_on(PilotBuilder(rgb=(255, 0, 0)))
    red = len(bulb.heard)
    print("datagrams for the first command:", red, "alike:", len(set(bulb.heard)) == 1)
    assert red == 2 and len(set(bulb.heard)) == 1
    assert b'"id"' not in bulb.heard[0]
    await light.turn_on(PilotBuilder(rgb=(0, 0, 255)))  # the bulb answers nothing any more
    print("the second command was acknowledged by the answer to the first one's repetition")
    await light.async_close()
    transport.close()


asyncio.run(asyncio.wait_for(bulb(), 30))

import lifxlan

print("lifxlan", importlib.metadata.version("lifxlan"))
MAC = "d0:73:d5:00:00:01"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lamp:
    lamp.bind(("127.0.0.1", 0))
    lamp.settimeout(10)
    light = lifxlan.Light(MAC, "127.0.0.1", port=lamp.getsockname()[1])
    for hue in (0, 21845):
        light.set_color([hue, 65535, 65535, 3500], rapid=True)
    numbers = [lamp.recv(2048)[23] for _ in range(2)]  # the frame address's last byte
    print("sequence numbers of two colours:", numbers)
    assert numbers == [0, 0]

    def acknowledge():
        data, address = lamp.recvfrom(2048)
        wrong = bytearray(data[:36])
        wrong[0:2] = (36).to_bytes(2, "little")
        wrong[22], wrong[23] = 0, 200  # of a command that was never given
        wrong[32:34] = (45).to_bytes(2, "little")  # Acknowledgement
        lamp.sendto(wrong, address)

    thread = threading.Thread(target=acknowledge)
    thread.start()
    light.set_color([43690, 65535, 65535, 3500])
    thread.join()
    print("an acknowledgement numbered 200 was taken for that of a command numbered 0")
PY
