import json
import time

from stupidArtnet import StupidArtnetServer

server = StupidArtnetServer()
server.register_listener(1, callback_function=lambda data: print(json.dumps({"levels": list(data[:6])}), flush=True))
print('"ready"', flush=True)
time.sleep(60)
