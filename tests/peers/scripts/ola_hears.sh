#!/usr/bin/env bash
# ola_hears.sh {artnet|e131}: OLA's daemon with one input port on universe 1; prints the universe over and over.
set -euo pipefail
home=$(mktemp -d)
trap 'kill "$daemon" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$home"' EXIT
for plugin in dummy espnet gpio kinet milinst nanoleaf opendmx openpixelcontrol osc pathport renard sandnet shownet spi \
  stageprofi usbserial uartdmx usbpro karate ftdidmx artnet e131; do
  echo "enabled = false" > "$home/ola-$plugin.conf"
done
printf 'enabled = true\nip = 10.9.0.2\n' > "$home/ola-$1.conf"
chown -R olad "$home"
unshare --uts bash -c 'hostname lamp && exec "$@"' - \
  setpriv --reuid olad --regid olad --clear-groups olad -c "$home" -l 0 >&2 &
daemon=$!
until ola_dev_info 2>/dev/null | grep -q 'IN'; do sleep 0.1; done
device=$(ola_dev_info | sed -n 's/^Device \([0-9]*\):.*/\1/p' | head -1)
# Art-Net's input port n takes the universe that OLA's universe says: 1
ola_patch -d "$device" -p 0 -i -u 1
sleep 0.5
echo '"ready"'
while sleep 0.05; do
  curl -s 'http://127.0.0.1:9090/get_dmx?u=1' | sed -E 's/.*"dmx": *\[([^]]*)\].*/\1/' |
    awk -F, '{print "{\"levels\": [" $1+0 ", " $2+0 ", " $3+0 ", " $4+0 ", " $5+0 ", " $6+0 "]}"; fflush()}'
done
