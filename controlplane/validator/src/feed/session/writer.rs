//! The validator's end of the feed, for one connection.
//!
//! It sends what a [`Source`] holds: a snapshot, or the changes a reader has missed, then each new change. Frames are
//! made when they are polled, so a slow reader costs no memory. Source: docs/validator-feed.md.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

use tollgate_contract::Now;

use super::report::{CloseReason, Report};
use super::source::Source;
use crate::facts::UpFact;
use crate::feed::frame::{Decoder, Frame};
use crate::feed::message::{
    Heartbeat, Hello, Kind, MAJOR, MINOR, Malformed, Message, Nack, NackCode, RingState, SnapshotEnd, capability,
};

/// How a writer behaves.
#[derive(Clone, Copy, Debug)]
pub struct WriterConfig {
    /// Until Hello. Default 10 s.
    pub hello_timeout: Duration,
    /// Between heartbeats. Default 5 s.
    pub heartbeat_interval: Duration,
    /// Without a byte from the control plane. Default 15 s.
    pub heartbeat_timeout: Duration,
    /// Least time from one snapshot to the next on this connection. Default 10 s.
    pub snapshot_interval: Duration,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(15),
            snapshot_interval: Duration::from_secs(10),
        }
    }
}

/// What the shell has to do, in order.
#[derive(Clone, Debug)]
pub enum WriterOutput {
    /// Send these bytes.
    Send(Arc<Frame>),
    /// The control plane told this.
    Up(UpFact),
    /// Count or log this.
    Report(Report),
    /// Close the connection once what was queued before is sent.
    Close(CloseReason),
}

/// The validator's end of one connection.
pub struct Writer {
    config: WriterConfig,
    state: State,
    decoder: Decoder,
    ring: RingState,
    faults: u32,
    outputs: VecDeque<WriterOutput>,
}

enum State {
    HelloAwaited { deadline: Instant },
    Established(Box<Link>),
    Closed,
}

struct Link {
    reader: Hello,
    last_heard: Instant,
    next_heartbeat: Instant,
    /// The last change looked at.
    cursor: u64,
    /// The last revision told.
    told: u64,
    /// The last revision the reader has answered with Ack.
    acknowledged: u64,
    snapshot: Option<Sending>,
    /// When the next snapshot may begin; one is due while `is_due`.
    next_snapshot: Instant,
    is_due: bool,
}

/// A snapshot under way.
struct Sending {
    frames: vec::IntoIter<Arc<Frame>>,
    end: SnapshotEnd,
}

/// Most frames that are no messages, or out of place, on one connection.
const MAX_FAULTS: u32 = 100;

impl Writer {
    /// A writer for a connection that was just accepted.
    #[must_use]
    pub fn new(config: WriterConfig, now: Now) -> Self {
        Self {
            config,
            state: State::HelloAwaited {
                deadline: now.instant + config.hello_timeout,
            },
            decoder: Decoder::default(),
            ring: RingState::Up,
            faults: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Whether the validator reaches the others; told with the next heartbeat.
    pub fn set_ring(&mut self, ring: RingState) {
        self.ring = ring;
    }

    /// The last revision the reader has acknowledged; 0 for none.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        match &self.state {
            State::Established(link) => link.acknowledged,
            State::HelloAwaited { .. } | State::Closed => 0,
        }
    }

    /// Takes all bytes given.
    pub fn handle_bytes(&mut self, now: Now, source: &Source, mut bytes: &[u8]) {
        if let State::Established(link) = &mut self.state {
            link.last_heard = now.instant;
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        while !bytes.is_empty() && !matches!(self.state, State::Closed) {
            let Ok((taken, frame)) = decoder.push(bytes) else {
                self.close(CloseReason::FrameTooLong);
                break;
            };
            bytes = bytes.get(taken..).unwrap_or_default();
            match frame.map(Message::parse) {
                Some(Ok(message)) => self.on_message(now, source, message),
                Some(Err(malformed)) => self.on_malformed(malformed),
                None => {}
            }
        }
        self.decoder = decoder;
    }

    /// A time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now, source: &Source) {
        match &mut self.state {
            State::HelloAwaited { deadline } if *deadline <= now.instant => self.close(CloseReason::HelloTimeout),
            State::Established(link) => {
                if link.last_heard + self.config.heartbeat_timeout <= now.instant {
                    return self.close(CloseReason::HeartbeatTimeout);
                }
                if link.next_heartbeat <= now.instant {
                    link.next_heartbeat = now.instant + self.config.heartbeat_interval;
                    let heartbeat = Heartbeat {
                        revision: link.told,
                        clock: now.unix,
                        ring: Some(self.ring),
                    };
                    self.send(&Message::Heartbeat(heartbeat));
                }
                self.begin_snapshot_if_due(now, source);
            }
            State::HelloAwaited { .. } | State::Closed => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::HelloAwaited { deadline } => Some(*deadline),
            State::Established(link) => {
                let silent = link.last_heard + self.config.heartbeat_timeout;
                let due = link.next_heartbeat.min(silent);
                Some(if link.is_due { due.min(link.next_snapshot) } else { due })
            }
            State::Closed => None,
        }
    }

    /// The next thing to do. To be polled while the socket takes bytes, and again after the source has changed.
    pub fn poll_output(&mut self, source: &Source) -> Option<WriterOutput> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let State::Established(link) = &mut self.state else {
            return None;
        };
        let frame = match &mut link.snapshot {
            Some(sending) => match sending.frames.next() {
                Some(frame) => frame,
                None => {
                    let end = sending.end;
                    link.snapshot = None;
                    Arc::new(encoded(&Message::SnapshotEnd(end)))
                }
            },
            None => link.next_change(source)?,
        };
        Some(WriterOutput::Send(frame))
    }

    fn on_message(&mut self, now: Now, source: &Source, message: Message) {
        let kind = message.kind();
        match (&mut self.state, message) {
            (State::HelloAwaited { .. }, Message::Hello(hello)) => self.on_hello(now, source, hello),
            (State::HelloAwaited { .. }, _) => self.close(CloseReason::HelloExpected),
            (State::Established(link), Message::Ack(ack)) => link.acknowledged = link.acknowledged.max(ack.revision),
            (State::Established(_), Message::Nack(nack)) => self.on_nack(now, source, &nack),
            (State::Established(_), Message::Up(fact)) => self.outputs.push_back(WriterOutput::Up(fact)),
            (State::Established(_), Message::Heartbeat(_)) => {}
            (
                State::Established(_),
                Message::Hello(_)
                | Message::HelloAck(_)
                | Message::SnapshotBegin(_)
                | Message::SnapshotEnd(_)
                | Message::Record { .. },
            ) => {
                self.report(Report::OutOfPlace { kind });
                self.nack(None, "out_of_place");
                self.on_fault();
            }
            (State::Closed, _) => {}
        }
    }

    fn on_hello(&mut self, now: Now, source: &Source, reader: Hello) {
        if reader.major != MAJOR {
            self.nack(None, "version");
            return self.close(CloseReason::Version);
        }
        let capabilities = [
            capability::TICKET_KEYS,
            capability::MAPPINGS,
            capability::VCR,
            capability::FEEDBACK,
        ];
        self.send(&Message::HelloAck(Hello {
            major: MAJOR,
            minor: MINOR,
            instance: source.instance(),
            seen_instance: None,
            generation: source.generation(),
            revision: source.revision(),
            capabilities: capabilities.map(str::to_owned).to_vec(),
        }));
        self.report(Report::Established {
            instance: reader.instance,
            generation: source.generation(),
            minor: reader.minor,
        });
        let is_ours = reader.seen_instance == Some(source.instance()) && reader.generation == source.generation();
        let can_go_on = is_ours && source.reaches_back_to(reader.revision);
        self.state = State::Established(Box::new(Link {
            cursor: reader.revision,
            told: if can_go_on { reader.revision } else { 0 },
            reader,
            last_heard: now.instant,
            next_heartbeat: now.instant + self.config.heartbeat_interval,
            acknowledged: 0,
            snapshot: None,
            next_snapshot: now.instant,
            is_due: !can_go_on,
        }));
        self.begin_snapshot_if_due(now, source);
    }

    fn on_nack(&mut self, now: Now, source: &Source, nack: &Nack) {
        self.report(Report::Refused { code: nack.code });
        let State::Established(link) = &mut self.state else {
            return;
        };
        // A snapshot under way is the answer to what was stale before it.
        if nack.code == NackCode::Stale && link.snapshot.is_none() {
            link.is_due = true;
            self.begin_snapshot_if_due(now, source);
        }
    }

    fn begin_snapshot_if_due(&mut self, now: Now, source: &Source) {
        let State::Established(link) = &mut self.state else {
            return;
        };
        if !link.is_due || link.next_snapshot > now.instant {
            return;
        }
        link.is_due = false;
        link.next_snapshot = now.instant + self.config.snapshot_interval;
        let snapshot = source.snapshot(now.unix, |kind| is_wanted(&link.reader, kind));
        link.cursor = source.revision();
        link.told = source.revision();
        link.snapshot = Some(Sending {
            frames: snapshot.frames.into_iter(),
            end: snapshot.end,
        });
        self.send(&Message::SnapshotBegin(snapshot.begin));
    }

    fn on_malformed(&mut self, malformed: Malformed) {
        let why = malformed.name();
        self.report(Report::Malformed { why });
        self.nack(malformed.revision(), why);
        if !matches!(malformed, Malformed::UnknownKind { .. }) {
            self.on_fault();
        }
    }

    fn on_fault(&mut self) {
        self.faults += 1;
        if self.faults > MAX_FAULTS {
            self.close(CloseReason::TooManyFaults);
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.state = State::Closed;
        self.outputs.push_back(WriterOutput::Close(reason));
    }

    fn nack(&mut self, revision: Option<u64>, text: &str) {
        self.send(&Message::Nack(Nack {
            revision,
            code: NackCode::Syntax,
            text: text.to_owned(),
        }));
    }

    fn send(&mut self, message: &Message) {
        self.outputs.push_back(WriterOutput::Send(Arc::new(encoded(message))));
    }

    fn report(&mut self, report: Report) {
        self.outputs.push_back(WriterOutput::Report(report));
    }
}

impl Link {
    /// The next change the reader wants; a journal that no longer reaches back makes a snapshot due.
    fn next_change(&mut self, source: &Source) -> Option<Arc<Frame>> {
        if self.is_due {
            return None;
        }
        while let Some(change) = source.change_after(self.cursor) {
            self.cursor = change.revision;
            if is_wanted(&self.reader, change.kind) {
                self.told = change.revision;
                return Some(Arc::clone(&change.frame));
            }
        }
        self.is_due = !source.reaches_back_to(self.cursor);
        None
    }
}

/// Whether a reader is told of a kind: ticket keys only go to who verifies tickets.
fn is_wanted(reader: &Hello, kind: Kind) -> bool {
    match kind {
        Kind::TicketKey => reader.has(capability::TICKET_KEYS),
        Kind::MappingUpsert | Kind::MappingWithdraw => reader.has(capability::MAPPINGS),
        Kind::Hello
        | Kind::HelloAck
        | Kind::Heartbeat
        | Kind::SnapshotBegin
        | Kind::SnapshotEnd
        | Kind::RouteUpsert
        | Kind::RouteWithdraw
        | Kind::TicketRevoke
        | Kind::DomainPolicy
        | Kind::LocalNumbers
        | Kind::LocalService
        | Kind::Ack
        | Kind::Nack
        | Kind::VcrReport
        | Kind::RouteFeedback
        | Kind::FallbackEvent => true,
    }
}

fn encoded(message: &Message) -> Frame {
    message
        .encode()
        .expect("everything but records is far smaller than a frame")
}
