/**
 * Colours as numbers: linear light, mixing, luminance, and the softened table that cannot flash.
 * A packed colour is 0xAABBGGRR, which is how a Uint32Array over canvas pixels reads on a little-endian machine.
 */

/** sRGB byte to linear light, 0 to 1 (IEC 61966-2-1). */
export const LINEAR = Float32Array.from({ length: 256 }, (_, value) => {
  const part = value / 255;
  return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
});

const STEPS = 4096;
/** Linear light in 1/4096 to sRGB byte. */
const SRGB = Uint8Array.from({ length: STEPS + 1 }, (_, index) => {
  const part = index / STEPS;
  return Math.round(255 * (part <= 0.0031308 ? part * 12.92 : 1.055 * part ** (1 / 2.4) - 0.055));
});
const FINE = Uint16Array.from(LINEAR, (part) => Math.round(part * STEPS));

/** @param {number} red @param {number} green @param {number} blue */
export const pack = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** @param {number} packed @returns {[number, number, number]} */
export const unpack = (packed) => [packed & 255, (packed >>> 8) & 255, (packed >>> 16) & 255];

/** Mixed in linear light, as two lamps would be. @param {number} from @param {number} to @param {number} share of `to`, 0 to 1 */
export function mix(from, to, share) {
  if (from === to || share <= 0) return from;
  if (share >= 1) return to;
  const keep = 1 - share;
  return ((255 << 24)
    | (SRGB[(FINE[(from >>> 16) & 255] ?? 0) * keep + (FINE[(to >>> 16) & 255] ?? 0) * share + 0.5 | 0] ?? 0) << 16
    | (SRGB[(FINE[(from >>> 8) & 255] ?? 0) * keep + (FINE[(to >>> 8) & 255] ?? 0) * share + 0.5 | 0] ?? 0) << 8
    | (SRGB[(FINE[from & 255] ?? 0) * keep + (FINE[to & 255] ?? 0) * share + 0.5 | 0] ?? 0)) >>> 0;
}

/** Relative luminance, 0 to 1 (WCAG 2.2). @param {number} packed */
export function luminance(packed) {
  return 0.2126 * (LINEAR[packed & 255] ?? 0) + 0.7152 * (LINEAR[(packed >>> 8) & 255] ?? 0) + 0.0722 * (LINEAR[(packed >>> 16) & 255] ?? 0);
}

/** Black or white, whichever stands out (their contrast is equal at 0.179). @param {number} packed */
export const inkOn = (packed) => (luminance(packed) > 0.179 ? 0xff000000 : 0xffffffff);

/** @param {number} red @param {number} green @param {number} blue */
export const hex = (red, green, blue) => `#${((red << 16) | (green << 8) | blue).toString(16).padStart(6, "0")}`;

/** `#rrggbb` or `rgb(r, g, b)` as packed. @param {string} text */
export function parseColour(text) {
  const six = /^#([0-9a-f]{6})$/i.exec(text.trim());
  if (six) {
    const value = parseInt(six[1] ?? "", 16);
    return pack(value >> 16, (value >> 8) & 255, value & 255);
  }
  const [red = 0, green = 0, blue = 0] = (text.match(/[\d.]+/g) ?? []).map(Number);
  return pack(Math.round(red), Math.round(green), Math.round(blue));
}

const SOFT_DARKEST = 0.192;
const SOFT_LIGHTEST = 0.278;
const SOFT_RED_SHARE = 0.77;
/** @type {Uint32Array | null} */
let softTable = null;

/**
 * The nearest colour of the same hue whose luminance lies within 0.19 to 0.28 and whose red is not saturated. Any two of them differ by
 * less than a tenth of the greatest luminance, so no order of them is a flash, and none is a red flash (WCAG 2.2, "general flash and red
 * flash thresholds").
 * @param {number} packed
 */
export function soften(packed) {
  softTable ??= makeSoftTable();
  return softTable[((packed & 0xf8) << 7) | ((packed >>> 6) & 0x3e0) | ((packed >>> 19) & 31)] ?? 0;
}

function makeSoftTable() {
  const table = new Uint32Array(32768);
  const level = (/** @type {number} */ five) => LINEAR[(five << 3) | (five >> 2)] ?? 0;
  for (let index = 0; index < table.length; index++) {
    table[index] = softened(level(index >> 10), level((index >> 5) & 31), level(index & 31));
  }
  return table;
}

/** Linear light in, packed out. @param {number} red @param {number} green @param {number} blue */
function softened(red, green, blue) {
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  const target = SOFT_DARKEST + (SOFT_LIGHTEST - SOFT_DARKEST) * light;
  const gain = light > 0 ? target / light : 0;
  // Scaled to the target, then drawn towards the grey of the same luminance until it can be shown and is no saturated red.
  let share = light > 0 ? 1 : 0;
  for (;;) {
    const parts = [red, green, blue].map((part) => target + (part * gain - target) * share);
    const [r = 0, g = 0, b = 0] = parts;
    if (Math.max(r, g, b) <= 1 && r <= SOFT_RED_SHARE * (r + g + b)) {
      const [r8 = 0, g8 = 0, b8 = 0] = parts.map((part) => SRGB[Math.round(part * STEPS)] ?? 0);
      return pack(r8, g8, b8);
    }
    share *= 0.96;
  }
}
