/**
 * The page clock: the one owner of the animation frame, and what keeps the picture from flashing (WCAG 2.3.1).
 *
 * Random colours at 60 Hz would flash dozens of times per second. So a scene takes its picture on a shared, slow tick: two changes per
 * second are at most one flash, whatever the data. Pictures are not faded into each other, because a mixture is a colour that no datagram
 * had. What may follow the data at once (softened colours, small swatches) does it in `live`, which promises not to flash by itself.
 */

export const TICK_MS = 500;
export const TICK_REDUCED_MS = 1000;

/** tick: take the next still picture. live: take what may follow each frame. paint: draw what was taken.
 * @typedef {{tick?: () => void, live?: () => void, paint?: () => void}} Scene */

export class Clock {
  /** @type {Set<Scene>} */ #scenes = new Set();
  /** @type {() => void} */ #painted;
  #tickNumber = -1;
  #fresh = false;
  #dirty = true;
  #stepTimes = new Float64Array(30);
  #steps = 0;
  tickMs = TICK_MS;

  /** @param {() => void} painted called at the end of each animation frame: the time to ask for more */
  constructor(painted) {
    this.#painted = painted;
  }

  start() {
    const step = (/** @type {number} */ nowMs) => {
      this.step(nowMs);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** @param {Scene} scene */
  add(scene) {
    this.#scenes.add(scene);
  }

  /** Fewer steps for people who asked their system for less motion. @param {boolean} reduced */
  reduceMotion(reduced) {
    this.tickMs = reduced ? TICK_REDUCED_MS : TICK_MS;
  }

  /** A new frame has come in. */
  dataArrived() {
    this.#fresh = true;
  }

  /** Something that is no data has changed (size, theme, scroll): paint the same picture again. */
  repaint() {
    this.#dirty = true;
  }

  /** The next step is a tick: for the first picture, and for what the user has just asked for. */
  tickNow() {
    this.#tickNumber = -1;
  }

  /** Animation frames a second, over the last half second or so. */
  get framesPerS() {
    const kept = Math.min(this.#steps, this.#stepTimes.length);
    if (kept < 2) return 60;
    const newest = this.#stepTimes[(this.#steps - 1) % this.#stepTimes.length] ?? 0;
    const oldest = this.#stepTimes[this.#steps >= this.#stepTimes.length ? this.#steps % this.#stepTimes.length : 0] ?? 0;
    return newest > oldest ? ((kept - 1) * 1000) / (newest - oldest) : 60;
  }

  /** @param {number} nowMs */
  step(nowMs) {
    this.#stepTimes[this.#steps++ % this.#stepTimes.length] = nowMs;
    const number = Math.floor(nowMs / this.tickMs);
    if (number !== this.#tickNumber) {
      this.#tickNumber = number;
      this.#dirty = true;
      for (const scene of this.#scenes) scene.tick?.();
    }
    if (this.#fresh) {
      this.#fresh = false;
      this.#dirty = true;
      for (const scene of this.#scenes) scene.live?.();
    }
    if (this.#dirty) {
      this.#dirty = false;
      for (const scene of this.#scenes) scene.paint?.();
    }
    this.#painted();
  }
}
