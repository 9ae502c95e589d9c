const e131 = require('e131');
const [target] = process.argv.slice(2);
const client = new e131.Client(target);
const packet = client.createPacket(24);
packet.setUniverse(1);
packet.setSourceName('a sender');
let frame = 0;
const send = () => {
  if (frame === 300) process.exit(0);
  packet.getSlotsData().set([255, 0, frame++ % 256]);
  client.send(packet, () => setTimeout(send, 1));
};
send();
