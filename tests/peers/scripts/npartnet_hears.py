import json
import time

from npArtNet import ArtnetServer

with ArtnetServer(universes=[1], host="10.9.0.2") as server:
    print('"ready"', flush=True)
    while True:
        print(json.dumps({"levels": server.get_matrix()[0, :6].tolist()}), flush=True)
        time.sleep(0.002)
