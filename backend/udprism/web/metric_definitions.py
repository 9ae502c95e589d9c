"""What every metric means: /metrics shows it as HELP, /api/definitions as a definition like all others.

A counter begins at 0 when the program starts, and never falls.
"""

from __future__ import annotations

from typing import Final

from udprism.web.definition import Definition

METRIC_PREFIX: Final = "udprism_"


def _metric(
    id: str, unit: str | None, formula: str, caveat: str | None = None, source: str | None = None
) -> Definition:
    name = id.removesuffix("_total").replace("_", " ").capitalize()
    return Definition(METRIC_PREFIX + id, name, unit, formula, source, caveat)


METRICS: Final = (
    _metric("node_up", None, "Whether a node is live: 1 or 0. Only with `--nats`, as all metrics of nodes."),
    _metric("node_heard_seconds", "s", "Time since a node's last heartbeat, by this node's clock."),
    _metric("nats_connections_total", "connections", "Connections to the NATS server made so far, by purpose."),
    _metric(
        "nats_dropped_total",
        "messages",
        "Messages that were not sent, because there was no connection or no room in its queue.",
    ),
    _metric(
        "asks_total",
        "questions",
        "Requests to other nodes, by outcome: answered, timeout, nobody (no such node), cut-off (no connection), "
        "full; and answers that were late or bad.",
    ),
    _metric("asks_served_total", "questions", "Requests and commands from other nodes, by outcome."),
    _metric("asking_window", "questions", "Frames of other nodes that may be requested at once."),
    _metric("node_commands_total", "commands", "Commands to other nodes, by outcome: done, never or not known yet."),
    _metric("node_commands_unknown", "commands", "Commands to other nodes whose outcome is not known yet."),
    _metric("sessions_told", "clients", "Hosted clients whose server's node reports what it sent to them."),
    _metric("fates_kept", "datagrams", "Fates of datagrams to other nodes' clients, stored until those nodes ask."),
    _metric("fates_missing_total", "answers", "How often other nodes had discarded a part of what they had to report."),
    _metric("fates_bad_total", "answers", "Reports of other nodes about datagrams that could not be decoded."),
    _metric("heartbeats_refused_total", "messages", "Heartbeats that were malformed, or of more nodes than are kept."),
    _metric("clock_offset_seconds", "s", "How far a node's wall clock is ahead of this one's."),
    _metric("clock_offset_bound_seconds", "s", "Error bound of that difference, in either direction."),
    _metric("relays", "relays", "Relays, including those that could not be started."),
    _metric("relay_flows", "flows", "Clients of all relays; each has two directions."),
    _metric(
        "relay_datagrams_total",
        "datagrams",
        "Datagrams that relays read from their sockets, by direction; up is towards the target. Includes removed "
        "relays.",
        "in = out + lost + held, at every read.",
    ),
    _metric(
        "relay_datagrams_lost_total",
        "datagrams",
        "Datagrams that relays lost, by cause: the link or a rule, the link's full queue, or our own kernel.",
    ),
    _metric(
        "relay_drops_total",
        "datagrams",
        "Datagrams that relays dropped before they belonged to a flow: from clients beyond a limit, network or rate, "
        "from senders that are not the target, answers withheld from clients that have not proven themselves, and "
        "datagrams for which there was no room.",
    ),
    _metric("relay_process_restarts_total", "restarts", "How often a relay's process died and was replaced."),
    _metric("senders", "senders", "Senders, including those that cannot send."),
    _metric("sender_datagrams_total", "datagrams", "Datagrams that senders made, including those that the link drops."),
    _metric("receivers", "receivers", "Receivers, including those whose port could not be bound."),
    _metric("receiver_flows", "flows", "Flows that receivers hear."),
    _metric("receiver_datagrams_total", "datagrams", "Datagrams of all flows that receivers hear or heard."),
    _metric(
        "receiver_drops_total",
        "datagrams",
        "Datagrams that came to a receiver and belong to no flow, by reason: not of its format (short, foreign, "
        "version, kind, length, empty), a goodbye of an unknown flow, or from a sender beyond a limit (full, network, "
        "rate).",
    ),
    _metric("info", None, "Always 1; the label is the version of udprism."),
    _metric(
        "datagrams_sent_total",
        "datagrams",
        "Datagrams that the colour server has handed to the kernel, including duplicates made by the link.",
    ),
    _metric(
        "datagrams_refused_by_kernel_total",
        "datagrams",
        "Datagrams of the colour server that the sending kernel refused because its buffers were full.",
        source="send(2): EAGAIN, ENOBUFS",
    ),
    _metric(
        "datagrams_dropped_by_kernel_total",
        "datagrams",
        "Commands and reports that the kernel dropped because the colour server's socket buffer was full.",
        source="the drops column of /proc/net/udp",
    ),
    _metric(
        "datagrams_received_total",
        "datagrams",
        "Datagrams that hosted clients received, each counted once, including late ones and those of removed clients.",
    ),
    _metric(
        "datagrams_lost_total",
        "datagrams",
        "Sequence numbers that did not reach their hosted client in time, for any cause; includes removed clients.",
        "A datagram that arrives late stays in this counter and counts in datagrams_late_total as well; the client's "
        "ledger takes it back.",
    ),
    _metric(
        "datagrams_late_total",
        "datagrams",
        "Datagrams of datagrams_lost_total that arrived late; includes removed clients.",
    ),
    _metric(
        "departed_datagrams_total",
        "datagrams",
        "Datagrams of removed hosted clients, by fate: sent, received, lost. The rest are still on their way.",
    ),
    _metric(
        "datagram_delay_seconds",
        "s",
        "One-way delay: the receiving kernel's timestamp - the sender's, of every datagram of all hosted clients.",
        "If sender and receiver do not share a clock, the delay is relative to the smallest one seen.",
        "RFC 7679",
    ),
    _metric(
        "server_drops_total",
        "datagrams",
        "Datagrams that the colour server dropped, by reason: not a command, not a report, or not from a session.",
        source="PROTOCOL.md",
    ),
    _metric(
        "pool_drops_total",
        "datagrams",
        "Datagrams that hosted clients dropped and commands that they could not send, by reason.",
        source="PROTOCOL.md",
    ),
    _metric("pool_batches_total", "batches", "Batches in which the hosted clients' datagrams were processed."),
    _metric(
        "pool_datagrams_total",
        "datagrams",
        "All datagrams that arrived at hosted clients' sockets, including duplicates, control and dropped ones.",
    ),
    _metric("commands_total", "datagrams", "Commands that the colour server has carried out."),
    _metric("sessions", "sessions", "Sessions that the colour server serves now, including those of hosted clients."),
    _metric("sessions_without_thread_total", "sessions", "Sessions for which the engine `threads` had no thread."),
    _metric("clients", "clients", "Hosted clients by state."),
    _metric("clients_kept", "clients", "Hosted clients that are defined, including those that are not running."),
    _metric(
        "store_rows_left_out", "rows", "Rows of the store that were skipped at the start because they are damaged."
    ),
    _metric(
        "clients_held_back",
        "clients",
        "Hosted clients that are defined and not running, because a limit of this process or machine is reached.",
    ),
    _metric(
        "schedule_lag_seconds",
        "s",
        "How much later than planned the colour server sent what was due: the recent maximum, halved every quarter "
        "second.",
    ),
    _metric(
        "skipped_ticks_total",
        "datagrams",
        "Datagrams that were never created because the colour server was too late for them.",
    ),
    _metric("history_written_total", "files", "How often what happened over time was kept on the disk."),
    _metric("history_write_errors_total", "files", "How often it could not be; the file of before stays."),
    _metric("recordings_running", "recordings", "Recordings that are being written."),
    _metric(
        "recorded_datagrams_total", "datagrams", "Datagrams written into recordings, once for each point that saw them."
    ),
    _metric(
        "recording_missed_datagrams_total",
        "datagrams",
        "Datagrams that recordings left out because they were too slow: the files say how many, and where.",
    ),
    _metric("captures_dropped_total", "captures", "Uploaded captures that were deleted to make room for newer ones."),
    _metric("replays_playing", "replays", "Replays that are being sent."),
    _metric("replay_datagrams_total", "datagrams", "Datagrams that replays handed to their links."),
    _metric("link_queue_datagrams", "datagrams", "Datagrams that the link is delaying now."),
    _metric(
        "link_turned_away_total",
        "datagrams",
        "Datagrams that the link would have delayed and had no room for: dropped, and lost by the link.",
    ),
    _metric("link_process_starts_total", "starts", "Starts of the process that sends delayed datagrams."),
    _metric(
        "fate_reports_forgotten_total",
        "reports",
        "Reports of the colour server about its own datagrams that were discarded before the ledger read them.",
        "Losses among the datagrams of such a report count as unexplained.",
    ),
    _metric(
        "loss_reports_forgotten_total",
        "reports",
        "Reports about datagrams that were not missing yet, and about datagrams of ended sessions, that the ledger "
        "had no room for.",
        "Losses among the datagrams of such a report count as unexplained.",
    ),
    _metric("thread_restarts_total", "restarts", "How often a thread failed and was restarted."),
    _metric("history_bytes", "bytes", "Memory used by the clients' histories."),
    _metric("events_total", "events", "Events noted for /api/history."),
    _metric("taps", "websockets", "Open websockets for single clients' datagrams."),
    _metric("taps_dropped_total", "datagrams", "Datagrams that such websockets missed because they were too slow."),
    _metric("viewers", "pages", "Pages that have the live feed open."),
    _metric("frames_total", "frames", "Frames sent to viewers."),
    _metric("frames_encoded_total", "frames", "Frames encoded; viewers that ask for the same frame share one."),
    _metric("credits_ignored_total", "messages", "Frames that viewers requested beyond two outstanding ones."),
    _metric(
        "connections_cut_total",
        "connections",
        "Connections that were cut, or refused before their request was read, by the limit that they exceeded: size, "
        "number or time.",
    ),
)
