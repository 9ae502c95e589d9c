#!/usr/bin/env bash
# ffmpeg_sends.sh TARGET {pcmu|mjpeg}: two seconds of a tone, or of a test picture, over RTP.
set -euo pipefail
send() { ffmpeg -v error -nostdin -re -f lavfi "$@" -t 2 -f rtp "rtp://$target:5004" >/dev/null; }
target=$1
if [ "$2" = pcmu ]; then
  send -i "sine=frequency=440:sample_rate=8000" -c:a pcm_mulaw
else
  send -i "testsrc=size=64x48:rate=10" -c:v mjpeg -pix_fmt yuvj420p -huffman default -force_duplicated_matrix 1
fi
