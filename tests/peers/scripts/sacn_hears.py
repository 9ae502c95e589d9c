import json
import time

import sacn

receiver = sacn.sACNreceiver(bind_address="10.9.0.2")


@receiver.listen_on("universe", universe=1)
def heard(packet):
    print(json.dumps({"levels": packet.dmxData[:6], "from": packet.sourceName}), flush=True)


@receiver.listen_on("availability")
def changed(universe, changed):
    print(json.dumps({"universe": universe, "changed": changed}), flush=True)


receiver.start()
time.sleep(0.3)
print('"ready"', flush=True)
time.sleep(60)
