#!/usr/bin/env bash
# ffmpeg_hears.sh PIXELS: prints the first two pixels of each picture of raw RGB video over RTP.
set -euo pipefail
sdp=$(mktemp --suffix .sdp)
trap 'rm -f "$sdp"' EXIT
cat > "$sdp" <<SDP
v=0
o=- 0 0 IN IP4 10.9.0.1
s=udprism
c=IN IP4 10.9.0.2
t=0 0
m=video 5004 RTP/AVP 96
a=rtpmap:96 raw/90000
a=fmtp:96 sampling=RGB; width=$1; height=1; depth=8; colorimetry=SMPTE240M
a=framerate:250
SDP
(sleep 1; echo '"ready"') &
ffmpeg -v error -nostdin -protocol_whitelist file,udp,rtp -i "$sdp" -fps_mode passthrough -f rawvideo -pix_fmt rgb24 - |
  python3 -u -c "
import json, sys
while picture := sys.stdin.buffer.read(3 * $1):
    print(json.dumps({'levels': list(picture[:6])}), flush=True)
"
