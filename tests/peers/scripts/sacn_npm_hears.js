const { Receiver } = require('sacn');
const say = (what) => console.log(JSON.stringify(what));
const receiver = new Receiver({ universes: [1], iface: '10.9.0.2' });
receiver.on('packet', (packet) => say({ levels: [...packet.payloadAsBuffer.subarray(0, 6)], from: packet.sourceName }));
receiver.on('PacketOutOfOrder', (error) => say({ error: error.message }));
receiver.on('PacketCorruption', (error) => say({ error: error.message }));
receiver.on('error', (error) => say({ error: error.message }));
setTimeout(() => say('ready'), 300);
