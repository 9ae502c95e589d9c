import sys
import time

from stupidArtnet import StupidArtnet

target, scenario = sys.argv[1:]
sender = StupidArtnet(target, packet_size=6)
if scenario == "numbers":
    for frame in range(20):
        sender.send(bytes((255, 0, frame, 0, 0, 0)))
        time.sleep(0.001)
    sender.set_universe(1)
    for frame in range(20):
        sender.send(bytes((255, 0, frame, 0, 0, 0)))
        time.sleep(0.001)
elif scenario == "lengths":
    sender.set_packet_size(12)
    sender.show()  # its buffer still has 6 bytes
    longer = StupidArtnet(target, packet_size=512)
    longer.set_packet_size(6)
    longer.show()
    longer.close()
sender.close()
