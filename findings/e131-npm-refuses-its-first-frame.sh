#!/usr/bin/env bash
# npm e131 1.1.3: its server takes the first frame of its own client for out of order. A packet's first number is 0, the
# server's "last number" begins as 0 too, and a difference of 0 is refused. Who sends one frame (a still scene) is not seen.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
npm install --prefix "$folder" --no-audit --no-fund --silent e131@1.1.3
cd "$folder"
cat > run.js <<'JS'
const e131 = require('e131');
console.log('e131', require('e131/package.json').version);
const port = 5568 + 10000 + (process.pid % 10000);
// The server joins its universe's group, which takes a route; only the unicast is used here.
const server = new e131.Server([1], port);
const heard = [];
server.on('packet', (packet) => heard.push(['packet', packet.getSequenceNumber()]));
server.on('packet-out-of-order', (packet) => heard.push(['packet-out-of-order', packet.getSequenceNumber()]));
server.on('listening', () => {
  const client = new e131.Client('127.0.0.1', port);
  const packet = client.createPacket(3);
  packet.setUniverse(1);
  let frames = 0;
  const send = () => {
    if (frames++ < 3) return client.send(packet, () => setTimeout(send, 50));
    console.log(JSON.stringify(heard));
    const wanted = [['packet-out-of-order', 0], ['packet', 1], ['packet', 2]];
    process.exit(JSON.stringify(heard) === JSON.stringify(wanted) ? 0 : 1);
  };
  send();
});
JS
node run.js
