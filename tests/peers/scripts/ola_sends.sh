#!/usr/bin/env bash
# ola_sends.sh TARGET {artnet|sacn} [FRAMES]: OLA's daemon with one output port, which shows a scene, keeps it, and is given back.
set -euo pipefail
scenario=$2
home=$(mktemp -d)
trap 'kill "$daemon" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$home"' EXIT
for plugin in dummy espnet gpio kinet milinst nanoleaf opendmx openpixelcontrol osc pathport renard sandnet shownet spi \
  stageprofi usbserial uartdmx usbpro karate ftdidmx artnet e131; do
  echo "enabled = false" > "$home/ola-$plugin.conf"
done
if [ "$scenario" = artnet ]; then
  printf 'enabled = true\nip = 10.9.0.1\nalways_broadcast = true\noutput_ports = 1\n' > "$home/ola-artnet.conf"
else
  printf 'enabled = true\nip = 10.9.0.1\noutput_ports = 1\n' > "$home/ola-e131.conf"
fi
chown -R olad "$home"
unshare --uts bash -c 'hostname lamp && exec "$@"' - setpriv --reuid olad --regid olad --clear-groups olad -c "$home" -l "${OLA_LOG:-0}" --no-http >&2 &
daemon=$!
until ola_dev_info 2>/dev/null | grep -q OUT; do sleep 0.1; done
device=$(ola_dev_info | sed -n 's/^Device \([0-9]*\):.*/\1/p' | head -1)
ola_dev_info >&2
port=$(ola_dev_info | sed -n 's/^ *port \([0-9]*\), OUT.*/\1/p' | head -1)
ola_patch -d "$device" -p "$port" -u 1
sleep 0.5
for level in $(seq 1 "${3:-3}"); do
  ola_set_dmx -u 1 --dmx "255,0,$((level % 256))"
done
sleep 6
ola_patch -d "$device" -p "$port" -r
sleep 0.5
