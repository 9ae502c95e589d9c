// Made by `python -m tests.support.page_types` from backend/udprism/node/bodies: change the shapes there.
// Every field is always there; null stands for what cannot be known.

/** Counts of what no honest sender on a healthy path does. */
export interface Anomalies {
  jumps: number;
  beyond_window: number;
  negative_delays: number;
}

/** The fate of every datagram: sent = received + lost + in_flight, and lost is the sum of its causes. */
export interface Arrived {
  sent: number | null;
  received: number | null;
  lost: number | null;
  in_flight: number | null;
  late: number | null;
  reordered: number | null;
  duplicates: number | null;
  corrupt: number | null;
  lost_by_cause: Causes;
}

/** What needs attention; without id: something that concerns all. value depends on `why`. */
export interface Attention {
  slot: number | null;
  id: string | null;
  name: string | null;
  why: string;
  value: number | null;
}

/** A relay's sums: up is from the clients to the target. */
export interface BothWays {
  up: RelaySums;
  down: RelaySums;
}

/** A socket's receive buffer on this machine, as the kernel shows it. */
export interface Buffer {
  queue_bytes: number;
  drops: number;
}

/** Losses that come together: a Gilbert-Elliott chain. */
export interface Burst {
  enter_ratio: number;
  leave_ratio: number;
  loss_ratio: number;
}

/** An uploaded file. received: how many of its bytes have been received so far. */
export interface Capture {
  id: string;
  name: string;
  bytes: number;
  received: number;
}

/** Where a capture breaks its format's rules: nothing after that was read. */
export interface CaptureFault {
  offset: number;
  reason: string;
  detail: string;
}

/** An interface that a capture names. link_type: the number that tcpdump.org assigns. */
export interface CaptureInterface {
  name: string | null;
  description: string | null;
  link_type: number;
}

/** All of them, in the order in which they were started. */
export interface CaptureList {
  captures: Capture[];
  total: number;
}

/** How long datagrams took from one interface of a capture to another. flows: indices. */
export interface CapturedDelays {
  from_interface: number;
  to_interface: number;
  flows: number[];
  datagrams: number;
  delay_ms: Delays;
}

/** A flow of a capture. counts: datagrams in each step of `rates`. */
export interface CapturedFlow {
  id: number;
  interface: number;
  format: string;
  key: number;
  from: string;
  to: string;
  datagrams: number;
  bytes: number;
  first_ns: number | null;
  last_ns: number | null;
  rate_hz: number | null;
  numbering: "own" | "believed" | "does not count" | "not yet known" | null;
  ledger: Arrived | null;
  jitter_ms: number | null;
  counts: number[];
}

/** When the counts of flows begin, Unix, and how long a step is. */
export interface CapturedRates {
  from_ns: number | null;
  step_ns: number;
}

/** Lost datagrams by cause. */
export interface Causes {
  link: number | null;
  sender_kernel: number | null;
  receiver_kernel: number | null;
  unexplained: number | null;
  unknown_path: number | null;
  path: number | null;
  awaiting: number | null;
}

/** Whether a part works; if a fatal one does not, the program is not ready. detail: null without the token. */
export interface Check {
  name: string;
  ok: boolean;
  detail: string | null;
  fatal: boolean;
}

/** A hosted client. `rate_hz` is what it requests, `measured_rate_hz` what arrives. */
export interface Client {
  id: string;
  slot: number;
  name: string;
  target: string;
  target_address: string | null;
  mode: "auto" | "measured" | "plain";
  stream: "measured" | "plain" | null;
  state: "connecting" | "live" | "silent" | "refused" | "error" | "paused";
  error: string | null;
  paused: boolean;
  rate_hz: number;
  measured_rate_hz: number;
  colours: number;
  local_address: string | null;
  session_id: string | null;
  ledger: Ledger;
  path: "in-process" | "unknown" | null;
  loss_ratio: number | null;
  jitter_ms: number | null;
  delay_ms: Delays;
  anomalies: Anomalies | null;
  delay_is_relative: boolean | null;
  rtt_ms: number | null;
  last_colour: Colour | null;
  age_ms: number | null;
  link: Link | null;
}

/** Clients by state. */
export interface ClientCounts {
  total: number;
  connecting: number;
  live: number;
  silent: number;
  refused: number;
  error: number;
  paused: number;
}

/** One page of clients, and how many match. */
export interface ClientList {
  clients: Client[];
  total: number;
}

/** The clients that were added. */
export interface ClientsMade {
  clients: Client[];
}

/** A colour by the name that is nearest, and as `#rrggbb`. */
export interface Colour {
  name: string;
  rgb: string;
}

/** One value per step; null if the step is missing, or nothing was measured in it. lost_by_cause is below zero in a step in which datagrams arrived that had been declared lost earlier. */
export interface Columns {
  rate_hz: (number | null)[];
  lost_by_cause: Record<string, (number | null)[]>;
  delay_ms: Record<string, (number | null)[]>;
  jitter_ms: (number | null)[];
}

/** One datagram of a client's history. One that never arrived has no colour, time or size. */
export interface Datagram {
  sequence: number | null;
  fate: "received" | "lost" | "late" | "in_flight";
  cause: "link" | "sender_kernel" | "receiver_kernel" | "unexplained" | "unknown_path" | "path" | "awaiting" | null;
  colour: string | null;
  rgb: string | null;
  sent_at_ns: number | null;
  received_at_ns: number | null;
  delay_ms: number | null;
  duplicates: number | null;
  reordered: boolean | null;
  corrupt: boolean | null;
  size_bytes: number | null;
  payload_hex: string | null;
}

/** One field of a datagram; offset and length in bytes. */
export interface DatagramField {
  name: string;
  offset: number;
  length: number;
  value: string;
  about: string;
}

/** A client's last datagrams, newest last. */
export interface Datagrams {
  datagrams: Datagram[];
}

/** What a number means. */
export interface Definition {
  id: string;
  name: string;
  unit: string | null;
  formula: string;
  source: string | null;
  caveat: string | null;
}

/** All of them, and the table of a link's fields. */
export interface Definitions {
  definitions: Definition[];
  link: LinkField[];
}

/** One-way delays in ms. */
export interface Delays {
  min: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  max: number | null;
}

/** Datagrams that this program sends: offered = lost + passed_on. */
export interface Departed {
  offered: number;
  passed_on: number;
  lost: number;
  lost_by_cause: Unsent;
}

/** `at` is Unix time in seconds. */
export interface EventBody {
  at: number;
  kind: string;
  text: string;
  flow: string | null;
}

/** The shortest and the longest. */
export interface Extremes {
  shortest: number;
  longest: number;
}

/** One direction of datagrams. What its ledger has depends on its kind. */
export interface Flow {
  id: string;
  kind: "client" | "session" | "relay" | "sender" | "replay";
  name: string | null;
  format: "measured" | "plain" | "opaque" | "ddp" | "wled" | "artnet" | "e131" | "rtp" | "text" | null;
  direction: "in" | "out" | "up" | "down";
  from: string;
  to: string | null;
  state: "connecting" | "live" | "silent" | "refused" | "error" | "paused" | "one_way" | "both" | "ended";
  numbering: "own" | null;
  ledger: Ledger | Departed | RelaySums;
  rate_hz: number | null;
  loss_ratio: number | null;
  jitter_ms: number | null;
  delay_ms: Delays | null;
  age_ms: number | null;
  last_colour: Colour | null;
}

/** A conversation's last datagrams. */
export interface FlowCells {
  up: RelayCells;
  down: RelayCells;
}

/** A flow's last datagrams, newest last; those that a relay carries are not read. */
export interface FlowDatagrams {
  datagrams: Datagram[] | RelayDatagram[];
}

/** A relayed flow's own links; null if the relay's applies. */
export interface FlowLinks {
  up: Link | null;
  down: Link | null;
}

/** One page of flows, and how many match. */
export interface FlowList {
  flows: (Flow | HeardFlow)[];
  total: number;
}

/** A flow's frames. pause_ms: between two frames, over the last 10 to 20 s. repeats_after_ms: of a held picture. */
export interface FrameFacts {
  count: number;
  rate_hz: number;
  pause_ms: Extremes | null;
  repeats_after_ms: number | null;
  size_bytes: Extremes | null;
}

/** A flow that a receiver hears. notes: what is unusual about its sender, in words. jitter_ticks: RFC 3550's, in ticks of the sender's clock, which has `media_hz` per second; null if the wire carries no time or its clock is unknown. */
export interface HeardFlow {
  id: string;
  kind: "receiver";
  name: string;
  format: string;
  direction: "in";
  from: string;
  to: string;
  state: "live" | "silent" | "held" | "ended";
  numbering: "believed" | "does not count" | "not yet known" | null;
  ledger: Ledger;
  rate_hz: number;
  loss_ratio: number | null;
  jitter_ms: number | null;
  jitter_ticks: number | null;
  media_hz: number | null;
  delay_ms: null;
  age_ms: number;
  last_colour: Colour | null;
  receiver_id: string;
  frames: FrameFacts;
  goodbyes: number;
  notes: string[];
}

/** `from` is Unix time in seconds: where the first step begins; step i covers from + i * step_s for step_s seconds. `earlier_until`, too, is Unix time in seconds: steps that end before it are of an earlier run of this program; null if there are none. */
export interface HistoryBody {
  step_s: number;
  from: number;
  flow: string | null;
  columns: Columns;
  events: EventBody[];
  earlier_until: number | null;
}

/** What is in a capture. skipped: packets that are no datagrams, by reason. beyond: datagrams of flows that found no place, by format. cut_at: the offset of a last record that is not whole. */
export interface Inspected {
  packets: number;
  skipped: Record<string, number>;
  beyond: Record<string, number>;
  cut_at: number | null;
  interfaces: CaptureInterface[];
  rates: CapturedRates;
  flows: CapturedFlow[];
  delays: CapturedDelays[];
  fault: CaptureFault | null;
}

/** Time since each side's last datagram, in ms. */
export interface LastHeard {
  up: number | null;
  down: number | null;
}

/** How late datagrams went to the link, in ms; null before the first. */
export interface Late {
  p50: number | null;
  p99: number | null;
}

/** The same of a flow that is shown live: its values that viewers got, and those that a newer one replaced. */
export interface Ledger {
  sent: number | null;
  received: number | null;
  lost: number | null;
  in_flight: number | null;
  late: number | null;
  reordered: number | null;
  duplicates: number | null;
  corrupt: number | null;
  lost_by_cause: Causes;
  relayed: number;
  conflated: number;
}

/** What is done to datagrams on their way out. */
export interface Link {
  loss_ratio: number;
  burst: Burst;
  delay_ms: number;
  jitter_ms: number;
  distribution: "uniform" | "normal" | "pareto";
  keep_order: boolean;
  reorder_ratio: number;
  duplicate_ratio: number;
  corrupt_ratio: number;
  corrupt_header: boolean;
  rate_kbit_s: number | null;
  queue_datagrams: number;
  mtu_bytes: number | null;
  blackout: boolean;
  seed: number;
}

/** One field of a link, `burst.enter_ratio` for a part of a burst. low, high: bounds of a number. choices: all values of a choice. none: whether null stands for no limit. rare: shown only when asked for. */
export interface LinkField {
  field: string;
  kind: "ratio" | "number" | "whole" | "flag" | "choice";
  label: string;
  unit: string;
  default: number | boolean | string | null;
  low: number;
  high: number;
  choices: string[];
  none: boolean;
  rare: boolean;
  slider: Slider | null;
  note: string;
}

/** How many delayed datagrams there is room for, how many the links need, hold, and had to turn away. */
export interface LinkRoom {
  datagrams: number;
  needed: number;
  held: number;
  turned_away: number;
}

/** Whether there is a default link that is on, how many have one of their own, and since when any is on. */
export interface Links {
  default: boolean;
  clients: number;
  sessions: number;
  since_unix_ms: number | null;
  room: LinkRoom;
}

/** What iperf3 would count. */
export interface LostAsIperf3 {
  lost: number;
  out_of_order: number;
}

/** What RTP's receiver report would count as lost. */
export interface LostAsRfc3550 {
  lost: number;
}

/** A flow's picture: values_hex has one byte per channel, `channels` of them per pixel. */
export interface Picture {
  id: string;
  channels: number;
  values_hex: string;
  datagram: WholeDatagram | null;
}

/** Datagrams by the point at which they were seen. */
export interface Points {
  sender: number;
  receiver: number;
}

/** A named link. */
export interface Profile {
  id: string;
  name: string;
  models: string;
  source: string;
  link: Link;
}

/** All of them. */
export interface Profiles {
  profiles: Profile[];
}

/** Whether every fatal check passes. */
export interface Ready {
  ready: boolean;
  checks: Check[];
}

/** How many flows have a new port towards the target. */
export interface Rebound {
  rebound: number;
}

/** A receiver, with the ids of its flows. drops: datagrams that belong to no flow, by reason. answered, withheld: replies to Art-Net's polls. lamp: where it answers over HTTP as a WLED lamp of `pixels`, or null. interface, universes: where it has joined the multicast groups of these universes, or null and none. clock_hz: for rtp, the clock that it was told for payload types without a fixed one, or null. also_bound: other programs that are bound to its port. */
export interface Receiver {
  id: string;
  name: string;
  format: string;
  listen: string;
  state: "live" | "error";
  error: string | null;
  flows: string[];
  datagrams: number;
  controls: number;
  drops: Record<string, number>;
  answered: number | null;
  withheld: number | null;
  kernel_drops: number | null;
  lamp: string | null;
  pixels: number;
  interface: string | null;
  universes: number[];
  clock_hz: number | null;
  receives_by: string;
  also_bound: string[];
}

/** All receivers, in the order in which they were started. */
export interface ReceiverList {
  receivers: Receiver[];
  total: number;
}

/** A recording. If an earlier run of the program made it, its beginning and what was recorded are null. Its files say both. */
export interface Recording {
  id: string;
  state: "running" | "ended" | "failed";
  error: string | null;
  format: "pcapng" | "pcap";
  flows: "all" | string[] | null;
  began_unix_ms: number | null;
  ended_unix_ms: number | null;
  bytes: number;
  files: string[];
  recorded: Points | null;
  missed: Points | null;
}

/** All recordings, oldest first. */
export interface RecordingList {
  recordings: Recording[];
  total: number;
}

/** A relay: it forwards datagrams between `listen` and `target`, with a link in each direction. */
export interface RelayBody {
  id: string;
  name: string;
  listen: string;
  target: string;
  up: Link;
  down: Link;
  idle_s: number;
  max_flows: number;
  any_port: boolean;
  keep_ttl: boolean;
  dont_fragment: boolean;
  keep_payload: boolean;
  allow_from: string[];
  state: "live" | "error";
  error: string | null;
  flows: number;
  ledger: BothWays | null;
  rules: RelayRule[];
  counts: Record<string, number> | null;
  receives_by: string | null;
  own_buffer_drops: number | null;
  target_buffer: Buffer | null;
}

/** Datagrams that a relay did not forward, by cause. */
export interface RelayCauses {
  link: number;
  queue: number;
  kernel: number;
}

/** The last datagrams of one direction, oldest first: their sizes, and a letter of `FATES` for each. */
export interface RelayCells {
  size_bytes: number[];
  fates: string;
}

/** One datagram of a relayed flow, in one direction. */
export interface RelayDatagram {
  number: number;
  fate: string;
  cause: string | null;
  received_at_ns: number;
  delay_ms: number;
  size_bytes: number;
  duplicated: boolean;
  corrupted: boolean;
  refused: boolean;
  payload_hex: string;
}

/** The last ones, newest last. */
export interface RelayDatagrams {
  datagrams: RelayDatagram[];
}

/** One client of a relay. cells: null unless they were asked for. */
export interface RelayFlow {
  id: string;
  relay_id: string;
  ordinal: number;
  client_address: string;
  local_address: string;
  target_address: string;
  state: string;
  proven: boolean;
  age_ms: number;
  heard_ms_ago: LastHeard;
  up: RelaySums;
  down: RelaySums;
  links: FlowLinks;
  client_buffer: Buffer | null;
  cells: FlowCells | null;
}

/** One page of a relay's flows, and how many match. */
export interface RelayFlows {
  flows: RelayFlow[];
  total: number;
}

/** All relays, in the order in which they were started. */
export interface RelayList {
  relays: RelayBody[];
  total: number;
}

/** What is done to chosen datagrams, and how often it was done. */
export interface RelayRule {
  action: "drop" | "duplicate" | "hold";
  direction: "up" | "down" | "both";
  nth: number | null;
  every: number | null;
  offset: number;
  mask: string | null;
  value: string | null;
  ratio: number;
  seed: number;
  hold_ms: number;
  hits: number | null;
}

/** One direction of a relay: in = out + lost + held. Copies that the link made are not in `out`. */
export interface RelaySums {
  in: number;
  out: number;
  lost: number;
  held: number;
  duplicated: number;
  corrupted: number;
  refused: number;
  bytes_in: number;
  bytes_out: number;
  lost_by_cause: RelayCauses;
  as_rfc3550: LostAsRfc3550;
  as_iperf3: LostAsIperf3;
}

/** How many there were. */
export interface Removed {
  removed: number;
}

/** A replay. error: why it ended before the end. sent: copies that the link made among them. held: in the link now. skipped: what of the file is not sent, by reason, as far as it was read. */
export interface Replay {
  id: string;
  recording: string | null;
  file: string | null;
  target: string;
  interface: number | string | null;
  speed: number;
  loop: number;
  filter: string;
  link: Link;
  state: "playing" | "ended" | "stopped" | "failed";
  error: string | null;
  flows: string[];
  began_unix_ms: number;
  ended_unix_ms: number | null;
  ledger: Departed;
  sent: number;
  held: number;
  late_ms: Late;
  skipped: Record<string, number>;
}

/** All of them, in the order in which they were started. */
export interface ReplayList {
  replays: Replay[];
  total: number;
}

/** What a client on a measured stream counted itself, from its newest REPORT. */
export interface Reported {
  highest: number;
  received: number;
  lost: number;
  reordered: number;
  duplicates: number;
  late: number;
  jitter_ms: number;
  age_ms: number;
}

/** A text that a client sent, and the colour that had been sent to it last. */
export interface Response {
  text: string;
  colour: string | null;
  answered_after_ms: number;
  unix_ms: number;
}

/** `names` are the scenario's names of `client_ids`, in the same order. Times are Unix seconds. */
export interface RunBody {
  id: string;
  title: string;
  seed: number;
  rate_hz: number;
  duration_s: number;
  state: "running" | "finished" | "stopped" | "failed";
  detail: string | null;
  started_at: number;
  elapsed_s: number;
  schedule_kept_ratio: number | null;
  met: boolean | null;
  steps: RunStep[];
  expectations: RunExpectation[];
  all: Record<string, number | null> | null;
  client_ids: string[];
  names: string[];
}

/** `met` is provisional while the scenario runs, and null if nothing is known or the schedule was not kept. */
export interface RunExpectation {
  text: string;
  measured: number | null;
  met: boolean | null;
}

/** `to` has the scenario's names of clients; empty: all of them. `done_at`: Unix time in seconds, null before. */
export interface RunStep {
  at_s: number;
  what: string;
  to: string[];
  link: Record<string, unknown>;
  done_at: number | null;
}

/** `GET /api/scenarios`: runs, newest first, and the shipped scenarios. */
export interface ScenarioList {
  scenarios: RunBody[];
  total: number;
  shipped: ShippedScenario[];
}

/** How far the server is behind its schedule, and how many ticks it skipped. */
export interface Schedule {
  lag_ms: number;
  skipped_ticks: number;
}

/** A sender. state: `live`, `refused` (no one listens at the target) or `error`. skipped: frames that were due and not sent, because the program was late. */
export interface Sender {
  id: string;
  name: string;
  format: string;
  target: string;
  rate_hz: number;
  colours: number;
  pattern: string;
  universe: number;
  link: Link;
  state: string;
  error: string | null;
  flows: string[];
  frames: number;
  skipped: number;
  held: number;
  ledger: Departed;
}

/** All senders, in the order in which they were started. */
export interface SenderList {
  senders: Sender[];
  total: number;
}

/** The colour server's thread. */
export interface ServerThread {
  state: string;
  restarts: number;
}

/** A session of the colour server. `client_id` is that of a hosted client. */
export interface Session {
  id: string;
  address: string;
  kind: "raw" | "hosted";
  client_id: string | null;
  stream: "measured" | "plain";
  name: string | null;
  rate_hz: number;
  colours: number;
  palette: "basic" | "css" | "rgb";
  source: string;
  started_unix_ms: number;
  age_ms: number;
  sent: number;
  unsent: Unsent;
  lease_ends_in_s: number | null;
  port_unreachable: number;
  responses: Response[];
  reported: Reported | null;
  link: Link | null;
  last_colour: string | null;
  recent_rgb: string;
  left_ms: number | null;
}

/** How many sessions there are, and how many of them are raw clients'. */
export interface SessionCounts {
  total: number;
  raw: number;
}

/** Sessions, raw ones first, and how many match. left: raw clients that have left, newest first. */
export interface SessionList {
  sessions: Session[];
  total: number;
  left: Session[];
}

/** `text` is TOML. */
export interface ShippedScenario {
  name: string;
  title: string;
  text: string;
}

/** A power curve from 0 to `most`; most and step in the unit that is shown, per cent for a ratio. */
export interface Slider {
  most: number;
  power: number;
  step: number;
}

/** What the header line shows. closes: whether the ledger's sums do. */
export interface Status {
  clients: ClientCounts;
  losing: number;
  behind: number;
  datagrams_per_s: number;
  sessions: SessionCounts;
  ledger: WholeLedger;
  closes: boolean;
  links: Links;
  schedule: Schedule;
  server: ServerThread;
  attention: Attention[];
}

/** A ledger of many clients; what plain streams received stands beside the sums, which cannot hold it. */
export interface Totals {
  sent: number | null;
  received: number | null;
  lost: number | null;
  in_flight: number | null;
  late: number | null;
  reordered: number | null;
  duplicates: number | null;
  corrupt: number | null;
  lost_by_cause: Causes;
  relayed: number;
  conflated: number;
  received_plain: number;
}

/** Datagrams of a session that never left. */
export interface Unsent {
  link: number;
  sender_kernel: number;
}

/** A whole datagram, field by field. */
export interface WholeDatagram {
  size_bytes: number;
  payload_hex: string;
  fields: DatagramField[];
}

/** The ledger of all clients that there are, and beside it that of those that were removed. */
export interface WholeLedger {
  sent: number | null;
  received: number | null;
  lost: number | null;
  in_flight: number | null;
  late: number | null;
  reordered: number | null;
  duplicates: number | null;
  corrupt: number | null;
  lost_by_cause: Causes;
  relayed: number;
  conflated: number;
  received_plain: number;
  departed: Totals;
}
