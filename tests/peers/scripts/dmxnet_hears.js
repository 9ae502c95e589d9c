const { dmxnet } = require('dmxnet');
const receiver = new dmxnet({ log: { level: 'error' } }).newReceiver({ universe: 1 });
receiver.on('data', (data) => console.log(JSON.stringify({ levels: data.slice(0, 6) })));
setTimeout(() => console.log('"ready"'), 300);
