const { dmxnet } = require('dmxnet');
const [target, scenario] = process.argv.slice(2);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

(async () => {
  const net = new dmxnet({ log: { level: 'error' } });
  const sender = net.newSender({ ip: target });
  if (scenario === 'numbers') {
    for (let frame = 0; frame < 300; frame++) {
      sender.setChannel(2, frame % 256);
      await pause(1);
    }
  } else {
    await pause(3300);
  }
  process.exit(0);
})();
