/** A datagram's bytes with every field named (PROTOCOL.md, "measured stream"). Network byte order; pure. */

export const HEADER_BYTES = 20;
const MAGIC = 0xc7;
const KINDS = /** @type {Record<number, string>} */ ({ 1: "COLOUR", 2: "REPORT", 3: "REPORT_ACK", 4: "BYE" });

/** `value` is what the bytes say, `about` what the field is for.
 * @typedef {{name: string, offset: number, bytes: Uint8Array, value: string, about: string}} Field */

/** @param {string} hex @returns {Uint8Array} */
export function bytesOf(hex) {
  return Uint8Array.from({ length: hex.length >> 1 }, (_, index) => parseInt(hex.slice(index * 2, index * 2 + 2), 16));
}

/** @param {Uint8Array} bytes */
export const isMeasured = (bytes) => bytes.length >= HEADER_BYTES && bytes[0] === MAGIC;

/**
 * Header fields as numbers; times are nanoseconds and need 64 bits.
 * @param {Uint8Array} bytes at least 20
 */
export function readHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    magic: view.getUint8(0), version: view.getUint8(1), kind: view.getUint8(2), flags: view.getUint8(3),
    sessionId: view.getUint32(4), sequence: view.getUint32(8), sentAtUnixNs: view.getBigInt64(12),
  };
}

/** @param {Uint8Array} bytes @returns {[number, number, number][]} whole pixels only */
export function readPixels(bytes) {
  return Array.from({ length: Math.floor((bytes.length - HEADER_BYTES) / 3) }, (_, index) => {
    const at = HEADER_BYTES + index * 3;
    return [bytes[at] ?? 0, bytes[at + 1] ?? 0, bytes[at + 2] ?? 0];
  });
}

/**
 * @param {Uint8Array} bytes as many as were kept
 * @returns {Field[]}
 */
export function fieldsOf(bytes) {
  if (!isMeasured(bytes)) {
    return [{ name: "colour name", offset: 0, bytes, value: printable(bytes), about: "Plain stream: the name of one colour in UTF-8, and nothing else. It has no number and no time, so losses before it cannot be known." }];
  }
  const header = readHeader(bytes);
  /** @param {string} name @param {number} offset @param {number} length @param {string} value @param {string} about */
  const field = (name, offset, length, value, about) => ({ name, offset, bytes: bytes.subarray(offset, offset + length), value, about });
  const fields = [
    field("magic", 0, 1, "0xC7", "Marks the binary protocol; no text command and no colour name begins with it."),
    field("version", 1, 1, String(header.version), "Version of the measured stream."),
    field("type", 2, 1, `${header.kind} ${KINDS[header.kind] ?? "unknown"}`, "The kind of datagram: 1 COLOUR, 2 REPORT, 3 REPORT_ACK, 4 BYE."),
    field("flags", 3, 1, String(header.flags), "Zero; ignored on receipt."),
    field("session id", 4, 4, `0x${header.sessionId.toString(16).padStart(8, "0")}`, "Random for each session, so that a datagram of an earlier session is not taken for one of this session."),
    field("sequence number", 8, 4, header.sequence.toLocaleString("en-GB"), "Increases by one and wraps (RFC 1982 order). A number that never arrives is a lost datagram."),
    field("sent at", 12, 8, unixTime(header.sentAtUnixNs), "The sender’s wall clock, nanoseconds since 1970. Delay = received at − sent at, if both ends share a clock."),
  ];
  const pixels = readPixels(bytes);
  pixels.slice(0, 16).forEach(([red, green, blue], index) => {
    fields.push(field(pixels.length > 1 ? `pixel ${index}` : "colour", HEADER_BYTES + index * 3, 3, `rgb ${red}, ${green}, ${blue}`, "Red, green and blue, one byte each (sRGB)."));
  });
  const named = HEADER_BYTES + Math.min(pixels.length, 16) * 3;
  if (bytes.length > named) fields.push(field("rest", named, bytes.length - named, `${bytes.length - named} bytes`, "Further recorded bytes."));
  return fields;
}

/** @param {bigint} ns */
function unixTime(ns) {
  const date = new Date(Number(ns / 1_000_000n));
  if (Number.isNaN(date.getTime())) return `${ns} ns`;
  const fraction = String(((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n).padStart(9, "0");
  return `${date.toISOString().slice(0, 19).replace("T", " ")}.${fraction} UTC`;
}

/** What is no visible ASCII is a dot, as in every hex dump. @param {Uint8Array} bytes */
export function printable(bytes) {
  return String.fromCharCode(...bytes.map((byte) => (byte >= 32 && byte < 127 ? byte : 46)));
}

/** @param {Uint8Array} bytes */
export const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
