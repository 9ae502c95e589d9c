const [target] = process.argv.slice(2);
const artnet = require('artnet')({ host: target });
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

(async () => {
  artnet.set(0, 1, Array(100).fill(9));
  await pause(60);
  artnet.set(0, 1, 255);
  await pause(60);
  artnet.set(0, 40, 255);
  await pause(4500); // its refresh
  artnet.close();
})();
