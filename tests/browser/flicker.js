// Takes the place of the server and of time. Every client has another random colour in every frame, every credit is answered
// before the next animation frame, and sixty of those make a second, however slow the machine: sixty changes a second where the page
// asks sixty times. Random, but the same each time.
(() => {
  const STEP_MS = 1000 / 60;
  let nowMs = 1000;
  let callbacks = [];
  let answers = [];
  let recording = false;
  performance.now = () => nowMs;
  const soon = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (callback) => callbacks.push(callback);
  const advance = () => {
    for (const answer of answers.splice(0)) answer();
    nowMs += STEP_MS;
    for (const callback of callbacks.splice(0)) callback(nowMs);
  };
  const pump = () => {
    if (!recording) advance();
    soon(pump);
  };
  soon(pump);

  const CLIENTS = 600;
  let seed = 1;
  const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 24;
  const strong = () => (random() & 1 ? 255 : 0);

  class Flicker {
    static OPEN = 1;
    readyState = 1;
    binaryType = "";
    #frame = 0;
    #rows = [];
    constructor() {
      setTimeout(() => {
        this.#say({ type: "hello", protocol: 1, instance: "x", version: "0", server_unix_ms: 0, udp: "127.0.0.1:1", frame_hz: 60, history: 256, max_clients: CLIENTS, palette: { basic: [], names: [] }, formats: [], limits: { name_characters: 64, rate_hz: [0.01, 1000], colours: [1, 480] } });
        this.onopen();
      });
    }
    #say(message) { this.onmessage({ data: JSON.stringify(message) }); }
    close() {}
    send(text) {
      const asked = JSON.parse(text);
      if (asked.type === "watch") this.#rows = asked.rows;
      else answers.push(() => this.#answer(asked.rows));
    }
    #answer(rows) {
      if (this.#frame === 0) {
        const upsert = Array.from({ length: CLIENTS }, (_, slot) => [slot, `c${slot}`, `client-${String(slot).padStart(3, "0")}`, "127.0.0.1:1", "measured", "measured", 60, 1, "127.0.0.1:2"]);
        this.#say({ type: "roster", version: 1, base: 0, upsert, remove: [] });
      }
      this.onmessage({ data: this.#encode(rows ? this.#rows : []) });
    }
    #encode(rows) {
      const bytes = new Uint8Array(32 + CLIENTS * 8 + CLIENTS * 8 + rows.length * (64 + 1024));
      const view = new DataView(bytes.buffer);
      view.setUint8(0, 0x50);
      view.setUint8(1, 1);
      view.setUint16(2, 1 | (rows.length ? 2 : 0), true);
      view.setUint32(4, ++this.#frame, true);
      view.setUint32(16, CLIENTS, true);
      view.setUint32(24, rows.length, true);
      let at = 32;
      for (let slot = 0; slot < CLIENTS; slot++, at += 4) bytes.set([strong(), strong(), strong(), 255], at);
      bytes.fill(2, at, at + CLIENTS);
      at += CLIENTS;
      for (let slot = 0; slot < CLIENTS; slot++) bytes[at + slot] = random() & 3;
      at += CLIENTS + CLIENTS * 2 + CLIENTS * 8;
      rows.forEach((slot, index) => {
        view.setUint32(at + index * 64, slot, true);
        view.setUint32(at + index * 64 + 4, 256, true);
      });
      at += rows.length * 64;
      // The worst that a ribbon can show: black and white, changing places at random; some cells lost, some reordered.
      const light = strong();
      for (let cell = 0; cell < rows.length * 256; cell++, at += 4) {
        bytes.set([light, light, light, random() < 20 ? 2 : 1 | ((random() < 40 ? 1 : 0) << 2)], at);
      }
      return bytes.buffer;
    }
  }
  window.WebSocket = Flicker;
  // Nobody answers for these clients: their past and their last datagrams are empty.
  const nothing = { step_s: 1, from: 0, columns: { rate_hz: [], lost_by_cause: {}, delay_ms: {}, jitter_ms: [] }, events: [], datagrams: [] };
  // But for the flight: as many strokes as it draws, all of them white, and all black in the next answer.
  const flown = { last: 0 };
  const datagrams = () => {
    const rgb = (flown.last ^= 1) ? "#ffffff" : "#000000";
    return { datagrams: Array.from({ length: 256 }, (_, at) => ({ sequence: at, fate: "received", cause: null, colour: "x", rgb, sent_at_ns: 1e18 + at * 5e6, received_at_ns: 1e18 + at * 5e6 + 1e6, delay_ms: 1, duplicates: 0, reordered: false, corrupt: false, size_bytes: 23, payload_hex: "" })) };
  };
  const ask = window.fetch.bind(window);
  window.fetch = (path, ...more) => /datagrams/.test(String(path)) ? Promise.resolve(Response.json(datagrams())) : (/api\/(history|clients\/)/.test(String(path)) ? Promise.resolve(Response.json(nothing)) : ask(path, ...more));

  // What the eye gets: every canvas inside a region, drawn as the page shows it, after each of so many animation frames.
  window.record = async (region, frames, step) => {
    const eye = document.createElement("canvas");
    eye.width = Math.ceil(region.width / step);
    eye.height = Math.ceil(region.height / step);
    const context = eye.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    const ground = getComputedStyle(document.documentElement).backgroundColor;
    const canvases = [...document.querySelectorAll("canvas")].filter((canvas) => canvas.offsetParent && !canvas.closest(".key"));
    const places = canvases.map((canvas) => canvas.getBoundingClientRect());
    const times = [];
    const pictures = [];
    recording = true;
    while (times.length < frames) {
      advance();
      await new Promise((resolve) => setTimeout(resolve)); // what was asked for is answered, and drawn
      context.fillStyle = ground;
      context.fillRect(0, 0, eye.width, eye.height);
      canvases.forEach((canvas, index) => {
        const at = places[index];
        context.drawImage(canvas, (at.left - region.left) / step, (at.top - region.top) / step, at.width / step, at.height / step);
      });
      const seen = context.getImageData(0, 0, eye.width, eye.height).data;
      const colours = seen.filter((_, index) => index % 4 < 3);
      pictures.push(btoa(String.fromCharCode(...colours)));
      times.push(nowMs);
    }
    recording = false;
    return { times, pixels: pictures };
  };
})();
