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
    _metric("relays", "relays", "Relays that there are, those that cannot start included."),
    _metric("relay_flows", "flows", "Clients of all relays; each has two directions."),
    _metric(
        "relay_datagrams_total",
        "datagrams",
        "Datagrams that relays read from their sockets, by direction, up towards the target. Also of removed relays.",
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
        "What relays dropped before it was a flow's: new clients beyond a bound, network or rate, senders that are not "
        "the target, answers withheld from clients that have not proven themselves, and what found no room.",
    ),
    _metric("relay_process_restarts_total", "restarts", "How often a relay's process died and was replaced."),
    _metric("info", None, "Always 1; the label is the version of udprism."),
    _metric(
        "datagrams_sent_total",
        "datagrams",
        "Datagrams that the colour server has handed to the kernel, copies that the link made included.",
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
        "Datagrams that hosted clients received, each counted once, late ones included; also those of removed clients.",
    ),
    _metric(
        "datagrams_lost_total",
        "datagrams",
        "Sequence numbers that did not reach their hosted client in time, whatever the cause; also those of removed "
        "clients.",
        "A datagram that arrives after all stays in it, and counts in datagrams_late_total as well; from the client's "
        "ledger it is taken back.",
    ),
    _metric(
        "datagrams_late_total",
        "datagrams",
        "Those among datagrams_lost_total that arrived after all; also those of removed clients.",
    ),
    _metric(
        "departed_datagrams_total",
        "datagrams",
        "Datagrams of hosted clients that were removed, by fate: sent, received, lost. "
        "The others are still on their way.",
    ),
    _metric(
        "datagram_delay_seconds",
        "s",
        "One-way delay: the receiving kernel's stamp - the sender's stamp, of every datagram of all hosted clients.",
        "Where sender and receiver do not share a clock, the delay counts from the smallest one seen.",
        "RFC 7679",
    ),
    _metric(
        "server_drops_total",
        "datagrams",
        "Datagrams that the colour server dropped, by reason: no command, no report, or nobody who is served.",
        source="PROTOCOL.md",
    ),
    _metric(
        "pool_drops_total",
        "datagrams",
        "Datagrams that hosted clients dropped, by reason, and commands of theirs that could not be sent.",
        source="PROTOCOL.md",
    ),
    _metric("pool_batches_total", "batches", "Batches in which the hosted clients' datagrams were worked up."),
    _metric(
        "pool_datagrams_total",
        "datagrams",
        "All that arrived at hosted clients' sockets: duplicates, control datagrams and what was dropped, too.",
    ),
    _metric("commands_total", "datagrams", "Commands that the colour server has carried out."),
    _metric("sessions", "sessions", "Sessions that the colour server serves now, hosted clients' included."),
    _metric("sessions_without_thread_total", "sessions", "Sessions that got no thread, with the engine `threads`."),
    _metric("clients", "clients", "Hosted clients by state."),
    _metric("clients_kept", "clients", "Hosted clients that are defined, those included that are held back."),
    _metric(
        "store_rows_left_out", "rows", "Rows of the store that were not taken at the start because they are damaged."
    ),
    _metric(
        "clients_held_back",
        "clients",
        "Hosted clients that are defined and not running, because a limit of this process or machine is reached.",
    ),
    _metric(
        "schedule_lag_seconds",
        "s",
        "How much later than planned the colour server sent what was due: the worst of late, halved every quarter "
        "second.",
    ),
    _metric(
        "skipped_ticks_total",
        "datagrams",
        "Datagrams that were never made because the colour server came too late for their turn.",
    ),
    _metric("link_queue_datagrams", "datagrams", "Datagrams that the link holds back now."),
    _metric(
        "link_turned_away_total",
        "datagrams",
        "Datagrams that the link would have delayed and had no room for: dropped, and lost by the link.",
    ),
    _metric("link_process_starts_total", "starts", "How often the process was started that sends delayed datagrams."),
    _metric(
        "fate_reports_forgotten_total",
        "reports",
        "Reports of the colour server on its own datagrams that found no room on their way to the ledger.",
        "What was lost by the datagrams of such a report counts as unexplained.",
    ),
    _metric(
        "loss_reports_forgotten_total",
        "reports",
        "Reports on datagrams that had not been missed yet, and datagrams of sessions that are over, that the ledger "
        "had no room to remember.",
        "What was lost by the datagrams of such a report counts as unexplained.",
    ),
    _metric("thread_restarts_total", "restarts", "How often a thread died and was started again."),
    _metric("history_bytes", "bytes", "Memory of the clients' histories."),
    _metric("events_total", "events", "Events noted for /api/history."),
    _metric("taps", "websockets", "Websockets that are open on single clients' datagrams."),
    _metric("taps_dropped_total", "datagrams", "Datagrams that such websockets were too slow for."),
    _metric("viewers", "pages", "Pages that are open on the live feed."),
    _metric("frames_total", "frames", "Frames that were sent to viewers."),
    _metric("frames_encoded_total", "frames", "Different ones among them: viewers that ask for the same share one."),
    _metric("credits_ignored_total", "messages", "Frames that viewers asked for beyond two outstanding ones."),
    _metric(
        "connections_cut_total",
        "connections",
        "Connections that were cut, or refused before their request was looked at, by reason: over a bound of size, "
        "number or time.",
    ),
)
