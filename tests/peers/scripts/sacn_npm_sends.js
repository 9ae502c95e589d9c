const { Sender } = require('sacn');
const [target, scenario] = process.argv.slice(2);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

(async () => {
  const options = { universe: 1, useUnicastDestination: target, defaultPacketOptions: { useRawDmxValues: true } };
  if (scenario === 'changes') {
    const senders = [new Sender(options), new Sender({ ...options, universe: 2 })];
    for (let frame = 0; frame < 300; frame++) {
      for (const sender of senders) await sender.send({ payload: { 1: 255, 2: 0, 3: frame % 256 } });
      await pause(1);
    }
    senders.forEach((sender) => sender.close());
  } else {
    const sender = new Sender({ ...options, minRefreshRate: 2 });
    await sender.send({ payload: { 1: 1, 2: 2, 3: 3 } });
    await pause(2300);
    sender.close();
  }
})();
