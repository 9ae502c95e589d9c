import json
import socket

from ddp import Packet

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("10.9.0.2", 4048))
print('"ready"', flush=True)
while True:
    packet = Packet.from_bytes(sock.recv(2048))
    header = packet.header
    said = {"levels": list(packet.data[:6]), "number": header.sequence_number, "push": header.packet_type.push}
    print(json.dumps({**said, "offset": header.offset, "bytes": len(packet.data)}), flush=True)
