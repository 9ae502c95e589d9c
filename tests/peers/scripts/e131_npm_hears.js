const { Server } = require('e131');
const say = (what) => console.log(JSON.stringify(what));
const server = new Server([1]);
server.on('packet', (packet) => say({ levels: [...packet.getSlotsData().subarray(0, 6)], from: packet.getSourceName() }));
server.on('packet-error', (packet, code) => say({ error: code }));
server.on('packet-out-of-order', () => say({ error: 'out of order' }));
server.on('listening', () => setTimeout(() => say('ready'), 300));
