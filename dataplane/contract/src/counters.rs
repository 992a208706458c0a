//! Counters that a worker alone writes and anyone may read: how the data plane is seen from outside.
//!
//! They are plain numbers that only grow (or gauges that are set); a reader sums over the workers. No label holds a
//! number, a Call-ID or an address.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{CallOutcome, FallbackTrigger, Side, TicketCause, Way};

/// A number written by one thread and read by any.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// `N` counters, made at zero.
#[derive(Debug)]
pub struct Counters<const N: usize>([Counter; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl<const N: usize> Counters<N> {
    /// The counter at an index; the last one stands for every index beyond.
    #[must_use]
    pub fn at(&self, index: usize) -> &Counter {
        &self.0[index.min(N - 1)]
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Counter> {
        self.0.iter()
    }
}

/// Rules of RFC 3261 and calls.md that a message broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A request of no dialog we know.
    UnknownDialog,
    /// A dialog's request on a connection of another peer domain.
    ForeignPeer,
    /// CSeq lower than seen, or equal in a new transaction.
    CSeq,
    /// A response or ACK that fits nothing.
    Unmatched,
    /// A CANCEL that fits no INVITE.
    CancelWithoutInvite,
    /// A new INVITE while one is pending.
    Glare,
    /// SDP in an ACK after a complete exchange.
    SdpInAck,
    /// A source that may not place calls inside.
    SourceNotAllowed,
    /// Max-Forwards has run out.
    MaxForwards,
    /// A REFER from outside.
    ReferFromOutside,
    /// A key kept by the peer over a change of its address (calls.md 5).
    KeyKeptOnMove,
}

impl Violation {
    /// Every violation's name; the position is its index.
    pub const NAMES: [&'static str; 11] = [
        "unknown_dialog",
        "foreign_peer",
        "cseq",
        "unmatched",
        "cancel_without_invite",
        "glare",
        "sdp_in_ack",
        "source_not_allowed",
        "max_forwards",
        "refer_from_outside",
        "key_kept_on_move",
    ];
}

/// What became of a request for a new call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionResult {
    /// Taken.
    Admitted,
    /// Draining.
    Draining,
    /// At `max_calls`, or the ports of a worker are used up.
    NoCapacity,
    /// No route to the number.
    NoRoute,
    /// The number is not +E.164.
    NotE164,
    /// The ticket failed; its cause has its own counter.
    Ticket,
    /// The peer domain is denied.
    Denied,
    /// Outside SDP without SRTP.
    PlainRtp,
    /// SDP that cannot be used.
    BadSdp,
    /// The peer asks for too many calls a second.
    RateLimited,
    /// The mapped address stands for no peer any more.
    NoMapping,
    /// The call agent brought no ticket and no route has one for this number and domain.
    NoTicket,
    /// Neither the learned URI nor the Request-URI names a domain to look for in the peer's certificate.
    NoPeerName,
}

impl AdmissionResult {
    /// Every result's name; the position is its index.
    pub const NAMES: [&'static str; 13] = [
        "admitted",
        "draining",
        "no_capacity",
        "no_route",
        "not_e164",
        "ticket",
        "denied",
        "plain_rtp",
        "bad_sdp",
        "rate_limited",
        "no_mapping",
        "no_ticket",
        "no_peer_name",
    ];
}

/// Everything one worker counts about signalling and media.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Requests received, by side and method label.
    pub sip_requests: [Counters<14>; 2],
    /// Responses sent, by side and status less 100.
    pub sip_responses: [Counters<600>; 2],
    /// Messages that are not acceptable SIP, by reason.
    pub sip_parse_errors: Counters<12>,
    /// Broken rules, by [`Violation`].
    pub state_violations: Counters<11>,
    /// Messages sent again by our timers.
    pub retransmissions: Counter,
    /// Tickets that passed.
    pub tickets_ok: Counter,
    /// Tickets that failed, by cause.
    pub tickets_failed: Counters<13>,
    /// Requests for calls, by way and [`AdmissionResult`].
    pub admissions: [Counters<13>; 2],
    /// Calls ended, by way and outcome.
    pub calls_ended: [Counters<6>; 2],
    /// Calls now, by phase: inviting, early, confirmed, fallback, ending.
    pub calls_active: Counters<5>,
    /// Transactions now.
    pub transactions: Counter,
    /// Packets forwarded, by the side they came from.
    pub packets_forwarded: Counters<2>,
    /// Their bytes as received.
    pub bytes_forwarded: Counters<2>,
    /// Packets dropped, by drop reason.
    pub packets_dropped: Counters<32>,
    /// Packets protected, by suite.
    pub protected: Counters<6>,
    /// Packets authenticated and decrypted, by suite.
    pub unprotected: Counters<6>,
    /// Port pairs, by side: used, free, quarantined.
    pub ports: [Counters<3>; 2],
    /// Fallbacks triggered, by trigger.
    pub fallback_triggers: Counters<3>,
    /// Fallback steps: cancelled, refer_sent, refer_accepted, refer_refused, moved, suppressed.
    pub fallback_steps: Counters<6>,
    /// Hold-downs running.
    pub hold_downs: Counter,
    /// Calls discarded after a bug.
    pub contained: Counter,
}

impl WorkerCounters {
    /// Names of the [`fallback_steps`](Self::fallback_steps).
    pub const FALLBACK_STEPS: [&'static str; 6] = [
        "cancelled",
        "refer_sent",
        "refer_accepted",
        "refer_refused",
        "moved",
        "suppressed",
    ];

    /// Counts a broken rule.
    pub fn violation(&self, violation: Violation) {
        self.state_violations.at(violation as usize).inc();
    }

    /// Counts a ticket's failure.
    pub fn ticket_failed(&self, cause: TicketCause) {
        self.tickets_failed.at(cause as usize).inc();
    }

    /// Counts what became of a request for a call.
    pub fn admission(&self, way: Way, result: AdmissionResult) {
        self.admissions[way as usize].at(result as usize).inc();
    }

    /// Counts a call's end.
    pub fn call_ended(&self, way: Way, outcome: CallOutcome) {
        self.calls_ended[way as usize].at(outcome as usize).inc();
    }

    /// Counts a response sent to a side.
    pub fn response_sent(&self, side: Side, status: u16) {
        self.sip_responses[side.index()]
            .at(usize::from(status.saturating_sub(100)))
            .inc();
    }

    /// Counts a fallback's trigger.
    pub fn fallback_triggered(&self, trigger: FallbackTrigger) {
        self.fallback_triggers.at(trigger as usize).inc();
    }

    /// Counts a step of a fallback by its name.
    pub fn fallback_step(&self, step: &str) {
        if let Some(at) = Self::FALLBACK_STEPS.iter().position(|name| *name == step) {
            self.fallback_steps.at(at).inc();
        }
    }
}
