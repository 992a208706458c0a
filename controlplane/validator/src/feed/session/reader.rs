//! The control plane's end of the feed.
//!
//! Bytes and a time in; bytes, batches of facts and reports out. It holds no fact, only their names; the shell applies
//! each batch whole. One mutation, then [`Reader::poll_output`] until it is empty. Source: docs/validator-feed.md.
//!
//! ```text
//! Idle ──connected──▶ Hello sent ──HelloAck──▶ Established ◀──▶ Snapshot
//!   ▲                                               │
//!   └────────────── closed, or Close ───────────────┘
//! ```

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use tollgate_contract::Now;

use super::delta::Repeats;
use super::output::{NotTold, Output, ReaderConfig};
use super::report::{CloseReason, Report};
use super::staging::Staging;
use super::table::{Position, Table};
use crate::budget::Budget;
use crate::checks::RouteRules;
use crate::facts::{Fact, UpFact};
use crate::feed::frame::Decoder;
use crate::feed::message::{
    Heartbeat, Hello, Kind, MAJOR, MINOR, Malformed, Message, Nack, NackCode, RingState, capability,
};
use crate::feed::record::Record;

/// The control plane's end of the feed.
pub struct Reader {
    pub(super) config: ReaderConfig,
    pub(super) state: State,
    decoder: Decoder,
    budget: Option<Budget>,
    is_throttled: bool,
    /// What the facts handed on are of; `None` before the first snapshot.
    pub(super) position: Option<Position>,
    pub(super) table: Table,
    pub(super) repeats: Repeats,
    ring_is_up: Option<bool>,
    clocks_are_apart: bool,
    pub(super) outputs: VecDeque<Output>,
}

pub(super) enum State {
    Idle,
    HelloSent { deadline: Instant },
    Established(Box<Link>),
    Closed,
}

impl State {
    /// The snapshot under way.
    pub(super) fn staging(&mut self) -> Option<&mut Staging> {
        match self {
            Self::Established(link) => link.staging.as_mut(),
            Self::Idle | Self::HelloSent { .. } | Self::Closed => None,
        }
    }
}

/// An established connection.
pub(super) struct Link {
    pub(super) peer: Hello,
    last_heard: Instant,
    next_heartbeat: Instant,
    pub(super) staging: Option<Staging>,
    /// Whether deltas continue what is held; otherwise a snapshot has to come first.
    pub(super) is_synced: bool,
    faults: u32,
}

/// Most frames that are no messages, or messages out of place, on one connection.
const MAX_FAULTS: u32 = 100;

/// Most messages taken in one call, so that the outputs between two drains are bounded.
const MAX_MESSAGES_PER_CALL: usize = 256;

impl Reader {
    /// A reader that knows nothing yet and has no connection.
    #[must_use]
    pub fn new(config: ReaderConfig) -> Self {
        Self {
            config,
            state: State::Idle,
            decoder: Decoder::default(),
            budget: None,
            is_throttled: false,
            position: None,
            table: Table::default(),
            repeats: Repeats::default(),
            ring_is_up: None,
            clocks_are_apart: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes note of the facts kept from an earlier run, so that the validator may go on with deltas.
    ///
    /// Facts beyond the bounds make it forget all and ask for a snapshot. To be called before the first connection.
    pub fn restore(&mut self, position: Position, facts: &[Fact], now: Now) {
        let mut table = Table::default();
        let fits = facts.iter().all(|fact| {
            let frame = Record::of(fact).encode(0);
            let bounds = &self.config.bounds;
            frame.is_ok_and(|frame| table.note(fact, ((), frame.body().len()), bounds, now.unix).is_ok())
        });
        if fits {
            self.table = table;
            self.position = Some(position);
        }
    }

    /// New rules for facts to come; those held stand until they are told again.
    pub fn set_rules(&mut self, rules: RouteRules) {
        self.config.rules = rules;
    }

    /// Where the facts handed on stand.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// Whether Hello has been answered and the connection stands.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_))
    }

    /// A connection stands: says Hello on it.
    pub fn handle_connected(&mut self, now: Now) {
        self.decoder.clear();
        self.budget = Some(Budget::new(self.config.messages_per_second, now.instant));
        self.is_throttled = false;
        self.state = State::HelloSent {
            deadline: now.instant + self.config.hello_timeout,
        };
        let hello = self.hello();
        self.send(&Message::Hello(hello));
    }

    /// The connection is gone. A snapshot half told is forgotten; the facts held stand.
    pub fn handle_closed(&mut self) {
        self.abandon_snapshot();
        self.decoder.clear();
        self.is_throttled = false;
        self.state = State::Idle;
    }

    /// Takes bytes of the connection; returns how many.
    ///
    /// When fewer are taken than given, drain the outputs and call again with the rest: at once if some were taken,
    /// else at [`poll_timeout`](Self::poll_timeout). Nothing is to be read from the socket meanwhile.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) -> usize {
        if let State::Established(link) = &mut self.state {
            link.last_heard = now.instant;
        }
        let mut decoder = mem::take(&mut self.decoder);
        let taken = self.read(now, bytes, &mut decoder);
        self.decoder = decoder;
        taken
    }

    fn read(&mut self, now: Now, bytes: &[u8], decoder: &mut Decoder) -> usize {
        let mut taken = 0;
        let mut messages = 0;
        while taken < bytes.len() && messages < MAX_MESSAGES_PER_CALL {
            let may_read = self.budget.as_mut().is_some_and(|budget| budget.refill(now.instant));
            if matches!(self.state, State::Idle | State::Closed) {
                return bytes.len();
            }
            self.is_throttled = !may_read;
            if self.is_throttled {
                break;
            }
            let Ok((part, frame)) = decoder.push(bytes.get(taken..).unwrap_or_default()) else {
                self.nack(None, NackCode::Syntax, "frame_too_long");
                self.close(CloseReason::FrameTooLong);
                return bytes.len();
            };
            taken += part;
            if let Some(body) = frame {
                messages += 1;
                if let Some(budget) = &mut self.budget {
                    budget.spend();
                }
                self.on_frame(now, body);
            }
        }
        taken
    }

    /// A time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        let due = |deadline: Instant| deadline <= now.instant;
        match &mut self.state {
            State::HelloSent { deadline } if due(*deadline) => self.close(CloseReason::HelloTimeout),
            State::Established(link) => {
                let is_silent = due(link.last_heard + self.config.heartbeat_timeout);
                let is_stuck = link
                    .staging
                    .as_ref()
                    .and_then(|staging| staging.deadline)
                    .is_some_and(due);
                let is_quiet = due(link.next_heartbeat);
                if is_quiet {
                    link.next_heartbeat = now.instant + self.config.heartbeat_interval;
                }
                if is_silent && !self.is_throttled {
                    self.close(CloseReason::HeartbeatTimeout);
                } else if is_stuck {
                    self.close(CloseReason::SnapshotTimeout);
                } else if is_quiet {
                    self.send(&Message::Heartbeat(self.heartbeat(now)));
                }
            }
            State::HelloSent { .. } | State::Idle | State::Closed => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due, or bytes left over may be given again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ready = self
            .budget
            .filter(|_| self.is_throttled)
            .map(|budget| budget.ready_at());
        let due = match &self.state {
            State::Idle | State::Closed => return None,
            State::HelloSent { deadline } => *deadline,
            State::Established(link) => {
                let silent = (!self.is_throttled).then(|| link.last_heard + self.config.heartbeat_timeout);
                let stuck = link.staging.as_ref().and_then(|staging| staging.deadline);
                let others = silent.into_iter().chain(stuck);
                others.fold(link.next_heartbeat, Instant::min)
            }
        };
        Some(ready.map_or(due, |ready| ready.min(due)))
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tells the validator something.
    ///
    /// # Errors
    /// [`NotTold`], and why.
    pub fn tell(&mut self, fact: &UpFact) -> Result<(), NotTold> {
        let State::Established(link) = &self.state else {
            return Err(NotTold::NotConnected);
        };
        let wanted = match fact {
            UpFact::Vcr(_) => capability::VCR,
            UpFact::Feedback(_) | UpFact::Fallback(_) => capability::FEEDBACK,
        };
        if !link.peer.has(wanted) {
            return Err(NotTold::NotWanted);
        }
        let frame = Message::Up(fact.clone()).encode().map_err(|_| NotTold::TooLong)?;
        self.outputs.push_back(Output::Send(frame));
        Ok(())
    }

    fn hello(&self) -> Hello {
        let mut capabilities = vec![capability::MAPPINGS, capability::VCR, capability::FEEDBACK];
        if self.config.wants_keys {
            capabilities.push(capability::TICKET_KEYS);
        }
        Hello {
            major: MAJOR,
            minor: MINOR,
            instance: self.config.instance,
            seen_instance: self.position.map(|position| position.instance),
            generation: self.position.map_or(0, |position| position.generation),
            revision: self.position.map_or(0, |position| position.revision),
            capabilities: capabilities.into_iter().map(str::to_owned).collect(),
        }
    }

    fn heartbeat(&self, now: Now) -> Heartbeat {
        Heartbeat {
            revision: self.position.map_or(0, |position| position.revision),
            clock: now.unix,
            ring: None,
        }
    }

    fn on_frame(&mut self, now: Now, body: &[u8]) {
        let parsed = Message::parse(body);
        let is_part_of_snapshot = match &parsed {
            Ok(message) => !matches!(
                message.kind(),
                Kind::Heartbeat | Kind::SnapshotBegin | Kind::SnapshotEnd
            ),
            Err(_) => true,
        };
        if let Some(staging) = self.state.staging()
            && is_part_of_snapshot
        {
            staging.hash(body);
        }
        match parsed {
            Ok(message) => self.on_message(now, message, body),
            Err(malformed) => self.on_malformed(malformed),
        }
    }

    fn on_malformed(&mut self, malformed: Malformed) {
        let why = malformed.name();
        self.report(Report::Malformed { why });
        self.nack(malformed.revision(), NackCode::Syntax, why);
        // A newer validator may well say more than we understand; only the unreadable counts against it.
        if !matches!(malformed, Malformed::UnknownKind { .. }) {
            self.on_fault();
        }
    }

    fn on_message(&mut self, now: Now, message: Message, body: &[u8]) {
        let kind = message.kind();
        match (&mut self.state, message) {
            (State::HelloSent { .. }, Message::HelloAck(hello)) => self.on_hello_ack(now, hello),
            (State::HelloSent { .. }, Message::Nack(nack)) => {
                self.report(Report::Refused { code: nack.code });
                self.close(CloseReason::HelloExpected);
            }
            (State::HelloSent { .. }, _) => self.close(CloseReason::HelloExpected),
            (State::Established(_), Message::Heartbeat(heartbeat)) => self.on_heartbeat(now, heartbeat),
            (State::Established(_), Message::SnapshotBegin(begin)) => self.on_snapshot_begin(now, begin),
            (State::Established(link), Message::SnapshotEnd(end)) => match link.staging.take() {
                Some(staging) => self.on_snapshot_end(staging, &end),
                None => self.on_out_of_place(kind, Some(end.revision)),
            },
            (State::Established(link), Message::Record { revision, record }) => {
                if link.staging.is_some() {
                    self.on_snapshot_record(now, revision, record, body.len());
                } else {
                    self.on_delta(now, revision, record, body);
                }
            }
            (State::Established(_), Message::Nack(nack)) => self.report(Report::Refused { code: nack.code }),
            (State::Established(_), Message::Ack(_)) => {}
            (State::Established(_), Message::Hello(_) | Message::HelloAck(_) | Message::Up(_)) => {
                self.on_out_of_place(kind, None);
            }
            (State::Idle | State::Closed, _) => {}
        }
    }

    fn on_hello_ack(&mut self, now: Now, peer: Hello) {
        if peer.major != MAJOR {
            self.nack(None, NackCode::Syntax, "version");
            return self.close(CloseReason::Version);
        }
        let is_same = self.position.is_some_and(|ours| ours.instance == peer.instance);
        let ours = self.position.filter(|_| is_same);
        let is_behind = ours.is_some_and(|ours| (peer.generation, peer.revision) < (ours.generation, ours.revision));
        if is_behind {
            self.report(Report::Stale { kind: Kind::HelloAck });
            self.nack(Some(peer.revision), NackCode::Stale, "generation_or_revision");
            return self.close(CloseReason::Stale);
        }
        if self.position.is_some() && !is_same {
            self.report(Report::InstanceChanged {
                instance: peer.instance,
            });
        }
        self.report(Report::Established {
            instance: peer.instance,
            generation: peer.generation,
            minor: peer.minor,
        });
        self.state = State::Established(Box::new(Link {
            is_synced: ours.is_some_and(|ours| ours.generation == peer.generation),
            peer,
            last_heard: now.instant,
            next_heartbeat: now.instant + self.config.heartbeat_interval,
            staging: None,
            faults: 0,
        }));
    }

    fn on_heartbeat(&mut self, now: Now, heartbeat: Heartbeat) {
        if let Some(ring) = heartbeat.ring {
            let is_up = ring == RingState::Up;
            if self.ring_is_up.replace(is_up) != Some(is_up) {
                self.report(Report::Ring { is_up });
            }
        }
        let apart = heartbeat.clock.abs_diff(now.unix);
        let were_apart = mem::replace(&mut self.clocks_are_apart, apart > self.config.clock_tolerance);
        if self.clocks_are_apart && !were_apart {
            let millis = i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
            let offset_ms = if heartbeat.clock > now.unix { millis } else { -millis };
            self.report(Report::ClocksApart { offset_ms });
        }
        let is_settled = matches!(&self.state, State::Established(link) if link.is_synced && link.staging.is_none());
        let ours = self.position.map_or(0, |position| position.revision);
        if is_settled && heartbeat.revision > ours {
            self.report(Report::Behind {
                theirs: heartbeat.revision,
                ours,
            });
        }
    }

    pub(super) fn on_out_of_place(&mut self, kind: Kind, revision: Option<u64>) {
        self.report(Report::OutOfPlace { kind });
        self.nack(revision, NackCode::Syntax, "out_of_place");
        self.on_fault();
    }

    fn on_fault(&mut self) {
        match &mut self.state {
            State::Established(link) if link.faults < MAX_FAULTS => link.faults += 1,
            State::Established(_) => self.close(CloseReason::TooManyFaults),
            State::HelloSent { .. } => self.close(CloseReason::HelloExpected),
            State::Idle | State::Closed => {}
        }
    }

    /// Whether it is a ticket key that this process has not asked for and must not hold.
    pub(super) fn is_unasked_key(&self, kind: Kind) -> bool {
        kind == Kind::TicketKey && !self.config.wants_keys
    }

    fn close(&mut self, reason: CloseReason) {
        self.abandon_snapshot();
        self.state = State::Closed;
        self.outputs.push_back(Output::Close(reason));
    }

    pub(super) fn nack(&mut self, revision: Option<u64>, code: NackCode, text: &str) {
        self.send(&Message::Nack(Nack {
            revision,
            code,
            text: text.to_owned(),
        }));
    }

    pub(super) fn send(&mut self, message: &Message) {
        let frame = message
            .encode()
            .expect("Hello, Heartbeat and answers are far smaller than a frame");
        self.outputs.push_back(Output::Send(frame));
    }

    pub(super) fn report(&mut self, report: Report) {
        self.outputs.push_back(Output::Report(report));
    }
}
