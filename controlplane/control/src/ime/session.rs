//! The feed's reader and VAP's client behind one face, and their outputs in one vocabulary.
//!
//! Pure but for the random numbers each is seeded with; what both protocols mean stands in `tollgate_validator`.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tollgate_contract::Now;
use tollgate_validator::InstanceId;
use tollgate_validator::checks::RouteRules;
use tollgate_validator::facts::{Fact, UpFact};
use tollgate_validator::feed::session::{self as feed, Bounds, NotTold, Position, Reader, ReaderConfig};
use tollgate_validator::vap::session::{self as vap, Client, ClientConfig, Retry};

use super::settings::ValidatorSettings;
use crate::learned::{Batch, LearnedRoutes, Scope, Source, Tolerance};

/// Heartbeats of ours in the time after which silence means loss, and the longest time between two: a validator's own
/// limit is not told, and is 15 s by default.
const HEARTBEATS_PER_SILENCE: u32 = 3;
const MAX_HEARTBEAT: Duration = Duration::from_secs(5);

/// Ti of VAP where the policy's limit of silence is longer.
const MAX_TRANSACTION: Duration = Duration::from_millis(39_500);

/// Bytes of records that a route may have on the average; the reader's own least is kept.
const BYTES_PER_ROUTE: usize = 1_024;

/// What was learned from the feed before, so that it may go on with deltas.
#[derive(Clone, Debug)]
pub struct Start {
    /// Where the validator stood.
    pub position: Position,
    /// The facts of that position.
    pub facts: Vec<Fact>,
}

impl Start {
    /// What is held of the feed; `None` if it was never heard.
    #[must_use]
    pub fn of(learned: &LearnedRoutes) -> Option<Self> {
        Some(Self {
            position: learned.mark(Source::Feed)?.position()?,
            facts: learned.facts_of(Source::Feed).collect(),
        })
    }
}

/// The session, whatever it speaks. One connection after the other; what was learned stays between them.
pub(super) enum Session {
    Feed(Box<Reader>),
    Vap(Box<Client>),
}

/// What is to be done next, in order.
pub(super) enum Step {
    /// Send what was put into the buffer.
    Sent,
    /// The session stands.
    Established,
    /// The validator reaches the others, or no longer.
    Ring(bool),
    /// Facts to apply.
    Apply(Batch),
    /// Something was refused, by cause.
    Refused(&'static str),
    /// Something to count; an alarm if so marked.
    Incident(&'static str, Severity),
    /// Close once all is sent.
    Close(&'static str, Retry),
}

/// How loud an incident is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Note,
    Alarm,
}

impl Session {
    /// A session without a connection.
    pub(super) fn new(settings: &ValidatorSettings, rules: RouteRules, start: Option<Start>, now: Now) -> Self {
        let bounds = Bounds {
            routes: settings.routes_max,
            bytes: Bounds::default()
                .bytes
                .max(settings.routes_max.saturating_mul(BYTES_PER_ROUTE)),
            ..Bounds::default()
        };
        if let Some(vap) = &settings.vap {
            let config = ClientConfig {
                vservices: vec![vap.vservice],
                rules,
                bounds,
                route_life: vap.route_life,
                transaction_timeout: settings.silence.min(MAX_TRANSACTION),
                retry_interval: settings.reconnect,
                ..ClientConfig::new(&vap.username, vap.password.clone())
            };
            return Self::Vap(Box::new(Client::new(config, StdRng::from_os_rng())));
        }
        let mut reader = Reader::new(ReaderConfig {
            rules,
            bounds,
            // This process verifies tickets.
            wants_keys: true,
            heartbeat_interval: (settings.silence / HEARTBEATS_PER_SILENCE).min(MAX_HEARTBEAT),
            heartbeat_timeout: settings.silence,
            ..ReaderConfig::new(InstanceId(rand::random()))
        });
        if let Some(start) = start {
            reader.restore(start.position, &start.facts, now);
        }
        Self::Feed(Box::new(reader))
    }

    pub(super) fn set_rules(&mut self, rules: RouteRules) {
        match self {
            Self::Feed(reader) => reader.set_rules(rules),
            Self::Vap(client) => client.set_rules(rules),
        }
    }

    pub(super) fn is_established(&self) -> bool {
        match self {
            Self::Feed(reader) => reader.is_established(),
            Self::Vap(client) => client.is_registered(),
        }
    }

    pub(super) fn handle_connected(&mut self, now: Now) {
        match self {
            Self::Feed(reader) => reader.handle_connected(now),
            Self::Vap(client) => client.handle_connected(now),
        }
    }

    pub(super) fn handle_closed(&mut self) {
        match self {
            Self::Feed(reader) => reader.handle_closed(),
            Self::Vap(client) => client.handle_closed(),
        }
    }

    pub(super) fn handle_bytes(&mut self, now: Now, bytes: &[u8]) -> usize {
        match self {
            Self::Feed(reader) => reader.handle_bytes(now, bytes),
            Self::Vap(client) => client.handle_bytes(now, bytes),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        match self {
            Self::Feed(reader) => reader.handle_timeout(now),
            Self::Vap(client) => client.handle_timeout(now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Feed(reader) => reader.poll_timeout(),
            Self::Vap(client) => client.poll_timeout(),
        }
    }

    pub(super) fn tell(&mut self, now: Now, fact: &UpFact) -> Result<(), NotTold> {
        match self {
            Self::Feed(reader) => reader.tell(fact),
            Self::Vap(client) => client.tell(now, fact),
        }
    }

    /// The next thing to do; bytes to send are added to the buffer.
    pub(super) fn poll(&mut self, outgoing: &mut Vec<u8>) -> Option<Step> {
        let step = match self {
            Self::Feed(reader) => match reader.poll_output()? {
                feed::Output::Send(frame) => {
                    outgoing.extend_from_slice(frame.bytes());
                    Step::Sent
                }
                feed::Output::Apply(batch) => Step::Apply(batch.into()),
                feed::Output::Report(report) => of_feed(report),
                // A validator that is mended or replaced may be what answers next time.
                feed::Output::Close(why) => Step::Close(why.name(), Retry::Later),
            },
            Self::Vap(client) => match client.poll_output()? {
                vap::ClientOutput::Send(bytes) => {
                    outgoing.extend_from_slice(&bytes);
                    Step::Sent
                }
                vap::ClientOutput::Apply(facts) => Step::Apply(Batch {
                    scope: Scope::Delta,
                    tolerance: Tolerance::SkipBad,
                    mark: None,
                    facts,
                }),
                vap::ClientOutput::Report(report) => of_vap(report),
                vap::ClientOutput::Close(why) => Step::Close(why.name(), why.retry()),
            },
        };
        Some(step)
    }
}

fn of_feed(report: feed::Report) -> Step {
    use feed::Report;
    let note = |kind| Step::Incident(kind, Severity::Note);
    let alarm = |kind| Step::Incident(kind, Severity::Alarm);
    match report {
        Report::Established { .. } => Step::Established,
        Report::Ring { is_up } => Step::Ring(is_up),
        Report::RecordRefused { fault, .. } => Step::Refused(fault.name()),
        Report::SnapshotApplied { .. } => note("snapshot_applied"),
        Report::InstanceChanged { .. } => note("instance_changed"),
        Report::SnapshotAbandoned { .. } => note("snapshot_abandoned"),
        Report::SnapshotRefused { .. } => alarm("snapshot_refused"),
        Report::TableFull { .. } => alarm("table_full"),
        Report::Stale { .. } => note("stale"),
        Report::Repeated { .. } => note("repeated"),
        Report::Malformed { .. } => note("malformed"),
        Report::OutOfPlace { .. } => note("out_of_place"),
        Report::ClocksApart { .. } => alarm("clocks_apart"),
        Report::Behind { .. } => alarm("behind"),
        Report::Refused { .. } => note("refused_by_validator"),
    }
}

fn of_vap(report: vap::Report) -> Step {
    use vap::Report;
    let note = |kind| Step::Incident(kind, Severity::Note);
    let alarm = |kind| Step::Incident(kind, Severity::Alarm);
    match report {
        Report::Registered { .. } => Step::Established,
        Report::Ring { is_up } => Step::Ring(is_up),
        Report::RouteRefused { fault } => Step::Refused(fault.name()),
        Report::ValInfoRefused { fault } => Step::Refused(fault.name()),
        Report::Subscribed { .. } => note("subscribed"),
        Report::TableFull => alarm("table_full"),
        Report::BadMac { .. } => alarm("bad_mac"),
        Report::UnknownTransaction => note("unknown_transaction"),
        Report::Malformed { .. } => note("malformed"),
        Report::UnknownSubscription => alarm("unknown_subscription"),
        Report::Refused { .. } => alarm("refused_by_validator"),
        Report::TimedOut { .. } => note("timed_out"),
    }
}
