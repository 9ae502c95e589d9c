/**
 * What this program does beside serving colours: one entry per kind of endpoint. The Add dialog makes its form from `fields`, the view
 * "Endpoints" its table from `columns`. A new kind needs an entry here and nothing else.
 */
import { count, perSecond, plural } from "../base/format.js";

/** `options` makes a list to choose from; `wide` takes the form's whole width. `value`: what the form begins with.
 * @typedef {{name: string, label: string, hint?: string, type?: "text" | "number" | "checkbox", placeholder?: string, options?: readonly (readonly [value: string, text: string])[], value?: string, wide?: boolean, required?: boolean}} Field */
/** `label` heads the column; `term` is what /api/definitions calls the number.
 * @typedef {{label: string, term?: string, text: (body: any) => string}} Column */
/** `name` is the REST resource and the list's name in its answer. `about` says what it is good for. `keep`: further parts of a body that
 * it needs to be begun again as it was. `find`: the words by which its lanes are found, "" if it has none.
 * @typedef {{name: string, one: string, title: string, about: string, fields: readonly Field[], keep?: readonly string[], columns: readonly Column[],
 *   find?: (body: any) => string, tidy?: (definition: any) => any}} Kind `tidy`: leaves out of a definition what only a body has */

/** @type {[name: string, label: string, sends: boolean][]} */ let formats = [];

/** The formats that the server knows. @param {[name: string, label: string, sends: boolean][]} known */
export function learnFormats(known) {
  formats = known;
}

/** What a receiver or a sender can be made of. @param {boolean} sends @returns {[value: string, text: string][]} */
const formatsFor = (sends) => formats.filter(([, , canSend]) => canSend || !sends).map(([name, label]) => [name, label]);
const formatOf = (/** @type {any} */ body) => formats.find(([name]) => name === body.format)?.[1].split(":")[0] ?? body.format;
const total = (/** @type {Record<string, number>} */ counts) => Object.values(counts).reduce((sum, one) => sum + one, 0);

/** @type {readonly Kind[]} */
export const KINDS = [
  {
    name: "receivers", one: "receiver", title: "Receivers",
    about: "A receiver listens on a port in one format. Each sender that it hears becomes a lane. The lane shows losses if the format has sequence numbers.",
    fields: [
      { name: "format", label: "Format", get options() { return formatsFor(false); } },
      { name: "listen", label: "Listen on", placeholder: "the format’s usual port", hint: "IP address and port; port 0: any free one" },
      { name: "name", label: "Name", placeholder: "the format’s name" },
      { name: "interface", label: "Multicast on", placeholder: "no interface", hint: "sACN only: an interface such as eth0. It hears universe 1; REST adds others" },
      { name: "clock_hz", label: "Clock", type: "number", placeholder: "the payload type’s", hint: "RTP only: ticks per second, for its jitter" },
    ],
    keep: ["lamp", "pixels", "universes"],
    tidy: ({ universes = [], ...definition }) => (universes.length ? { ...definition, universes } : definition),
    columns: [
      { label: "Format", text: formatOf },
      { label: "Listens on", text: (body) => body.listen },
      { label: "Senders heard", text: (body) => count(body.flows.length) },
      { label: "Datagrams", text: (body) => count(body.datagrams) },
      { label: "Not understood", text: (body) => count(total(body.drops)) },
      { label: "Dropped by the kernel", text: (body) => count(body.kernel_drops) },
    ],
    find: (body) => body.listen,
  },
  {
    name: "senders", one: "sender", title: "Senders",
    about: "A sender sends a test pattern in one format to another program or device. Its datagrams can pass through a link.",
    fields: [
      { name: "format", label: "Format", get options() { return formatsFor(true); } },
      { name: "target", label: "Target", placeholder: "192.0.2.7:4048", hint: "HOST:PORT of the program or device", required: true },
      { name: "pattern", label: "Pattern", placeholder: "rainbow", hint: "rainbow, chase, random, a colour’s name or #rrggbb" },
      { name: "rate_hz", label: "Frames per second", type: "number", placeholder: "40" },
      { name: "colours", label: "Pixels", type: "number", placeholder: "170" },
      { name: "universe", label: "First universe", type: "number", placeholder: "1", hint: "Art-Net and sACN only" },
      { name: "name", label: "Name", placeholder: "the format’s name", wide: true },
    ],
    keep: ["link"],
    columns: [
      { label: "Format", text: formatOf },
      { label: "To", text: (body) => body.target },
      { label: "Pattern", text: (body) => `${body.pattern}, ${plural(body.colours, "pixel")}` },
      { label: "Frames", text: (body) => `${count(body.frames)} at ${perSecond(body.rate_hz)}` },
      { label: "Datagrams sent", text: (body) => count(body.ledger.passed_on) },
      { label: "Not sent", text: (body) => count(total(body.ledger.lost_by_cause)) },
      { label: "Skipped", text: (body) => count(body.skipped) },
    ],
  },
  {
    name: "relays", one: "relay", title: "Relays",
    about: "A relay forwards any program’s datagrams to a target and back, with a link in each direction. Let your program send to the relay instead of the target. Each client address is one conversation.",
    fields: [
      { name: "target", label: "Target", placeholder: "127.0.0.1:5000", hint: "HOST:PORT of the program that receives", required: true },
      { name: "listen", label: "Listen on", placeholder: "any free port on this machine", hint: "IP address and port; port 0: any free one" },
      { name: "name", label: "Name", placeholder: "relay", hint: "the name and a link’s seed decide which datagrams are lost" },
      { name: "idle_s", label: "A conversation ends after", type: "number", placeholder: "120", hint: "seconds without a datagram" },
      { name: "max_flows", label: "Maximum conversations", type: "number", placeholder: "1000" },
      { name: "any_port", label: "Accept replies from any port of the target (TFTP)", type: "checkbox" },
    ],
    keep: ["up", "down", "rules", "keep_ttl", "dont_fragment", "keep_payload", "allow_from"],
    tidy: ({ rules = [], ...definition }) => ({ ...definition, rules: rules.map((/** @type {any} */ { hits, ...rule }) => rule) }),
    columns: [
      { label: "Listens on", text: (body) => body.listen },
      { label: "To", text: (body) => body.target },
      { label: "Conversations", text: (body) => count(body.flows) },
      { label: "→ in", term: "relay_in", text: (body) => count(body.ledger?.up.in) },
      { label: "→ lost", term: "relay_lost", text: (body) => count(body.ledger?.up.lost) },
      { label: "← in", term: "relay_in", text: (body) => count(body.ledger?.down.in) },
      { label: "← lost", term: "relay_lost", text: (body) => count(body.ledger?.down.lost) },
      { label: "Dropped before the relay", text: (body) => count(body.own_buffer_drops) },
      { label: "Dropped at the target", text: (body) => count(body.target_buffer?.drops) },
    ],
  },
];
