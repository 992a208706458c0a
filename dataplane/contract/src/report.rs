//! The facts that go up: bounded, lossy, counted.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{E164, Side, SrtpSuite};

/// Which way a call was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From our call agent to a peer.
    Outbound,
    /// From a peer to our call agent.
    Inbound,
}

impl Way {
    /// `outbound` or `inbound`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }

    /// The side the call came from.
    #[must_use]
    pub const fn caller_side(self) -> Side {
        match self {
            Self::Outbound => Side::Inside,
            Self::Inbound => Side::Outside,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// It was answered and ended by a BYE.
    Completed,
    /// It was answered and ended by the edge itself; the reason says why.
    EndedByEdge,
    /// The caller gave up before an answer.
    Cancelled,
    /// The called party or its agent refused.
    Rejected,
    /// It could not be set up; the call agent was told to use the PSTN.
    FellBackAtSetup,
    /// It was answered and then handed back to the PSTN by a REFER.
    FellBackInCall,
}

impl CallOutcome {
    /// The name in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::EndedByEdge => "ended_by_edge",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::FellBackAtSetup => "fell_back_at_setup",
            Self::FellBackInCall => "fell_back_in_call",
        }
    }
}

/// A fact from the data plane.
#[derive(Clone, Debug)]
pub enum Report {
    /// A call is over: its record.
    CallEnded(Box<CallEnded>),
    /// A step of a fallback.
    Fallback(FallbackEvent),
    /// A call with state was refused or failed at set-up; one per call, never one per message.
    SetupFailed {
        /// Call-ID of the inside leg where there is one, else of the outside.
        call_id: String,
        /// Outbound or inbound.
        way: Way,
        /// A closed set of reasons, for metrics.
        reason: &'static str,
        /// The status the caller got.
        status: u16,
        /// More words for the log, without secrets or numbers.
        detail: String,
    },
    /// A bug was contained: the call it happened in was discarded.
    Contained {
        /// Worker index.
        worker: usize,
        /// What was being done.
        doing: &'static str,
    },
}

/// The record of a call, written once at its end.
#[derive(Clone, Debug)]
pub struct CallEnded {
    /// Call-ID on the inside leg.
    pub call_id_inside: String,
    /// Call-ID on the outside leg.
    pub call_id_outside: String,
    /// Outbound or inbound.
    pub way: Way,
    /// The called number.
    pub called: Option<E164>,
    /// The peer's domain.
    pub peer_domain: String,
    /// Unique ID of the ticket that let an inbound call in.
    pub ticket: Option<[u8; 16]>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// A closed set of reasons, for metrics.
    pub reason: &'static str,
    /// Final status of the INVITE as its sender got it, 0 if none.
    pub status: u16,
    /// The status with which the peer refused an outbound call, where ours hides it.
    pub peer_status: Option<u16>,
    /// When the INVITE came, since 1970.
    pub started: Duration,
    /// From INVITE to the first 18x or final answer.
    pub setup: Option<Duration>,
    /// From INVITE to the 2xx.
    pub answer: Option<Duration>,
    /// From the 2xx to the end.
    pub talk: Option<Duration>,
    /// Quality per m= line and direction.
    pub media: Vec<MediaView>,
    /// The fallback, if one was triggered.
    pub fallback: Option<FallbackEvent>,
}

/// Quality of the packets received from one side, by the packets themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DirectionQuality {
    /// Packets received and authenticated.
    pub packets: u64,
    /// Their bytes as received.
    pub bytes: u64,
    /// Packets the sequence numbers say were sent (RFC 3550 A.3).
    pub expected: u64,
    /// Expected less received, never below 0.
    pub lost: u64,
    /// Packets received twice.
    pub duplicates: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Longest run of lost packets.
    pub longest_burst: u32,
    /// Interarrival jitter now, microseconds (RFC 3550 A.8).
    pub jitter_us: u32,
    /// The greatest jitter seen, microseconds.
    pub jitter_max_us: u32,
    /// Transmission rating, -100 to 100 (ITU-T G.107).
    pub r_factor: f32,
    /// Mean opinion score estimated from R, 1 to 4.5.
    pub mos: f32,
    /// The codec model used for R.
    pub codec: &'static str,
}

impl DirectionQuality {
    /// Lost over expected, 0 to 1.
    #[must_use]
    pub fn loss_ratio(&self) -> f64 {
        if self.expected == 0 {
            0.0
        } else {
            self.lost as f64 / self.expected as f64
        }
    }
}

/// One m= line as it stands.
#[derive(Clone, Debug)]
pub struct MediaView {
    /// Position of the m= line, from 0.
    pub index: usize,
    /// `audio`, `video`, …
    pub kind: String,
    /// Suite on the outside.
    pub suite: Option<SrtpSuite>,
    /// Port of ours per side (inside, outside).
    pub local: [u16; 2],
    /// Where media goes per side (inside, outside).
    pub remote: [Option<SocketAddr>; 2],
    /// Whether the remote was learned from a packet, per side.
    pub latched: [bool; 2],
    /// Quality of what came from each side (inside, outside).
    pub quality: [DirectionQuality; 2],
}

/// What made a fallback start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FallbackTrigger {
    /// Loss over the threshold.
    Loss,
    /// Jitter over the threshold.
    Jitter,
    /// Media stopped while expected.
    Dead,
}

impl FallbackTrigger {
    /// The name in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Jitter => "jitter",
            Self::Dead => "dead",
        }
    }
}

/// A fallback and its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackEvent {
    /// Call-ID on the inside leg.
    pub call_id_inside: String,
    /// What triggered it.
    pub trigger: FallbackTrigger,
    /// The side whose media was bad.
    pub side: Side,
    /// Loss over the window at the trigger, 0 to 1.
    pub loss_ratio: f32,
    /// Jitter at the trigger, microseconds.
    pub jitter_us: u32,
    /// Time from the trigger until now.
    pub since_trigger: Duration,
    /// Where it stands: `hold_down`, `cancelled`, `refer_sent`, `refer_accepted`, `refer_refused`, `moved`, `suppressed`.
    pub stage: &'static str,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallPhase {
    /// The INVITE is under way, nobody rings yet.
    Inviting,
    /// It rings or plays early media.
    Early,
    /// Answered.
    Established,
    /// A REFER is out.
    FallingBack,
    /// Over; transactions are being finished.
    Ending,
}

impl CallPhase {
    /// The name in views and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inviting => "inviting",
            Self::Early => "early",
            Self::Established => "confirmed",
            Self::FallingBack => "fallback",
            Self::Ending => "ending",
        }
    }
}

/// A live call as `show calls` sees it.
#[derive(Clone, Debug)]
pub struct CallView {
    /// Call-ID on the inside leg.
    pub call_id_inside: String,
    /// Call-ID on the outside leg.
    pub call_id_outside: String,
    /// Outbound or inbound.
    pub way: Way,
    /// Where it stands.
    pub phase: CallPhase,
    /// The peer's domain.
    pub peer_domain: String,
    /// The called number.
    pub called: Option<E164>,
    /// How long ago the INVITE came.
    pub age: Duration,
    /// The m= lines.
    pub media: Vec<MediaView>,
}
