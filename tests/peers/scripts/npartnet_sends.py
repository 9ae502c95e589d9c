import sys
import time

import numpy as np
from npArtNet import ArtnetClient

target, scenario = sys.argv[1:]
with ArtnetClient(target, universes=[0, 1], packet_size=6) as client:
    for frame in range(300):
        client.set_dmx_matrix(np.full((2, 6), frame % 256, np.uint8))
        client.send_package()
        time.sleep(0.002)
