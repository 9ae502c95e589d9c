"""Ten lines of Python that hear colours: python client.py [HOST] [PORT]"""

import socket
import sys

server = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 12345)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(b"connect", server)
while True:
    colour, sender = sock.recvfrom(2048)
    print("Received colour:", colour.decode(), flush=True)
