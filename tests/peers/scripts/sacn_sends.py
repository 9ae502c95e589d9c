import sys
import time

import sacn

target, scenario = sys.argv[1:]
sender = sacn.sACNsender(source_name="a sender", fps=40, universeDiscovery=False)
sender.activate_output(1)
sender[1].destination = target
if scenario == "changes":
    sender.manual_flush = True  # before its thread runs: the two would share one count
    sender.start()
    for frame in range(300):
        sender[1].dmx_data = (255, 0, frame % 256)
        sender.flush()
        time.sleep(0.002)
elif scenario == "still":
    sender[1].dmx_data = (1, 2, 3)
    sender.start()
    time.sleep(4.5)
    sender.deactivate_output(1)
    time.sleep(0.2)
elif scenario == "stopped":
    sender[1].dmx_data = (1, 2, 3)
    sender.start()
    time.sleep(0.3)
elif scenario == "priorities":
    sender.manual_flush = True  # before its thread runs: the two would share one count
    sender.start()
    sender[1].per_address_priority = (100,) * 512
    for frame in range(20):
        sender[1].dmx_data = (255, 0, frame)
        sender.flush()
        time.sleep(0.002)
elif scenario == "multicast":
    sender.manual_flush = True  # before its thread runs: the two would share one count
    sender.start()
    sender[1].multicast = True
    for frame in range(100):
        sender[1].dmx_data = (255, 0, frame)
        sender.flush()
        time.sleep(0.002)
elif scenario == "preview":
    sender.manual_flush = True  # before its thread runs: the two would share one count
    sender.start()
    sender[1].preview_data = True
    sender.flush()
    sender.activate_output(2)
    sender[2].destination = target
    sender.flush([1, 2])
sender.stop()
