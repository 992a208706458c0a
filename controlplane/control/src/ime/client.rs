//! The task that keeps the line: connect, converse, pause, again, for as long as the control loop listens.
//!
//! It judges no fact and keeps none. Everything that waits is bounded: while the control loop has no place for an event,
//! or the validator does not read, nothing is read from the validator.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::Rng;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tollgate_contract::Now;
use tollgate_validator::checks::RouteRules;
use tollgate_validator::facts::UpFact;
use tollgate_validator::vap::session::Retry;
use zeroize::Zeroizing;

use super::connect::connect;
use super::events::ValidatorEvent;
use super::session::{Session, Severity, Start, Step};
use super::settings::ValidatorSettings;
use super::stats::ValidatorStats;
use crate::learned::Source;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// While more bytes than these wait to be written, nothing is read: who does not read its answers gets no more.
const OUTGOING_MAX: usize = 256 << 10;

/// How long a connection that is given up has to take what was still to be said.
const FAREWELL: Duration = Duration::from_secs(1);

/// Longest pause after refusals in a row, each pause twice the one before.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// A session that stood for so long makes the pauses start anew.
const STEADY: Duration = Duration::from_secs(60);

/// What joins the task to the control loop.
#[derive(Debug)]
pub struct ValidatorChannels {
    /// To the control loop: [`EVENT_QUEUE`](super::EVENT_QUEUE) places are enough. Its end ends the task.
    pub events: mpsc::Sender<ValidatorEvent>,
    /// What the validator is to be told. It waits here while there is no session; who sends must not wait for a place.
    pub up: mpsc::Receiver<UpFact>,
    /// What routes are judged by, as it changes.
    pub rules: watch::Receiver<RouteRules>,
}

/// Keeps the line to the validator until the control loop drops its end of the events.
pub async fn run_validator(
    settings: ValidatorSettings,
    start: Option<Start>,
    channels: ValidatorChannels,
    stats: Arc<ValidatorStats>,
) {
    let mut line = Line::new(&settings, start, channels, stats);
    let events = line.channels.events.clone();
    tokio::select! {
        () = line.keep(&settings) => {}
        () = events.closed() => {}
    }
}

/// Why a connection ended, or did not come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The network or the validator ended it.
    Lost(&'static str),
    /// We did.
    Closed(&'static str, Retry),
}

impl End {
    const fn name(self) -> &'static str {
        match self {
            Self::Lost(name) | Self::Closed(name, _) => name,
        }
    }
}

/// The session and what waits around it.
pub(super) struct Line {
    session: Session,
    source: Source,
    channels: ValidatorChannels,
    stats: Arc<ValidatorStats>,
    outgoing: Vec<u8>,
    /// Events of one call of the session, until the control loop has a place for them.
    waiting: VecDeque<ValidatorEvent>,
    closing: Option<End>,
    up_since: Option<Instant>,
    pauses: Pauses,
}

impl Line {
    pub(super) fn new(
        settings: &ValidatorSettings,
        start: Option<Start>,
        mut channels: ValidatorChannels,
        stats: Arc<ValidatorStats>,
    ) -> Self {
        let rules = channels.rules.borrow_and_update().clone();
        Self {
            session: Session::new(settings, rules, start, now()),
            source: settings.source(),
            channels,
            stats,
            outgoing: Vec::new(),
            waiting: VecDeque::new(),
            closing: None,
            up_since: None,
            pauses: Pauses::new(settings.reconnect),
        }
    }

    /// Connects again and again; returns only when trying again is of no use.
    async fn keep(&mut self, settings: &ValidatorSettings) {
        loop {
            let end = match connect(settings).await {
                Ok(wire) => self.converse(wire).await,
                Err(why) => {
                    let end = match why.is_refusal() {
                        true => End::Closed(why.name(), Retry::Later),
                        false => End::Lost(why.name()),
                    };
                    self.on_end(end, &why.to_string()).await;
                    end
                }
            };
            let lasted = self.up_since.take().map(|since| since.elapsed());
            let Some(pause) = self.pauses.after(end, lasted) else {
                tracing::error!(
                    event = "validator_given_up",
                    why = end.name(),
                    "mend the policy and restart"
                );
                return self.channels.events.closed().await;
            };
            sleep_until(Instant::now() + jittered(pause)).await;
        }
    }

    /// One connection, from its first byte to its last.
    pub(super) async fn converse(&mut self, wire: impl AsyncRead + AsyncWrite) -> End {
        self.stats.on_connected();
        let rules = self.channels.rules.borrow_and_update().clone();
        self.session.set_rules(rules);
        self.session.handle_connected(now());
        let (mut from, mut to) = split(wire);
        let end = self.exchange(&mut from, &mut to).await;
        if matches!(end, End::Closed(..)) {
            let _ = timeout(FAREWELL, async {
                to.write_all(&self.outgoing).await?;
                to.shutdown().await
            })
            .await;
        }
        self.session.handle_closed();
        self.drain();
        self.on_end(end, "").await;
        end
    }

    async fn exchange(&mut self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> End {
        // Ticket keys pass here.
        let mut chunk = Zeroizing::new(vec![0; CHUNK]);
        let mut unread = 0..0;
        let (mut is_flushed, mut has_rules, mut has_up) = (true, true, true);
        let mut was_stalled = false;
        loop {
            self.drain();
            let is_stalled = !self.waiting.is_empty();
            if was_stalled && !is_stalled {
                // What was not read for our own fault is no silence of the validator's.
                self.session.handle_bytes(now(), &[]);
            }
            was_stalled = is_stalled;
            let has_room = self.outgoing.len() < OUTGOING_MAX;
            let is_ready = !is_stalled && has_room;
            if is_ready && !unread.is_empty() {
                let taken = self
                    .session
                    .handle_bytes(now(), chunk.get(unread.clone()).unwrap_or_default());
                unread.start += taken;
                if taken > 0 {
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            if let Some(end) = self.closing.take() {
                return end;
            }
            let may_tell = has_up && is_ready && self.session.is_established();
            let due = self.session.poll_timeout().map(Instant::from_std);
            tokio::select! {
                permit = self.channels.events.reserve(), if is_stalled => {
                    let Ok(permit) = permit else { return End::Lost("control_loop") };
                    if let Some(event) = self.waiting.pop_front() {
                        permit.send(event);
                    }
                }
                written = push(to, &self.outgoing), if !self.outgoing.is_empty() || !is_flushed => match written {
                    Ok(count) => {
                        is_flushed = self.outgoing.is_empty();
                        self.outgoing.drain(..count);
                    }
                    Err(_) => return End::Lost("io"),
                },
                read = from.read(&mut chunk), if is_ready && unread.is_empty() => match read {
                    Ok(0) => return End::Lost("closed"),
                    Ok(count) => {
                        unread = 0..count;
                        self.stats.on_bytes(count, now().unix);
                    }
                    Err(_) => return End::Lost("io"),
                },
                () = until(due), if !is_stalled => self.session.handle_timeout(now()),
                fact = self.channels.up.recv(), if may_tell => match fact {
                    Some(fact) => self.stats.on_told(&fact, self.session.tell(now(), &fact)),
                    None => has_up = false,
                },
                changed = self.channels.rules.changed(), if has_rules => match changed {
                    Ok(()) => self.session.set_rules(self.channels.rules.borrow_and_update().clone()),
                    Err(_) => has_rules = false,
                },
            }
        }
    }

    /// Does what the session wants: bytes into the buffer, events into the queue, the rest into counters.
    fn drain(&mut self) {
        while let Some(step) = self.session.poll(&mut self.outgoing) {
            match step {
                Step::Sent => {}
                Step::Established => self.on_established(),
                Step::Ring(is_up) => {
                    self.stats.on_ring(is_up);
                    self.waiting.push_back(ValidatorEvent::Ring { is_up });
                    if !is_up {
                        tracing::warn!(
                            event = "validator_ring",
                            "the validator reaches no others; learned routes stay"
                        );
                    }
                }
                Step::Apply(batch) => {
                    self.stats.on_facts(&batch.facts);
                    let source = self.source;
                    self.waiting.push_back(ValidatorEvent::Batch { source, batch });
                }
                Step::Refused(cause) => {
                    let count = self.stats.on_refused(cause);
                    if count.is_power_of_two() {
                        tracing::warn!(
                            event = "validator_refused",
                            cause,
                            count,
                            "a fact of the validator's is refused"
                        );
                    }
                }
                Step::Incident(kind, severity) => {
                    let count = self.stats.on_incident(kind);
                    if severity == Severity::Alarm && count.is_power_of_two() {
                        tracing::warn!(
                            event = "validator_alarm",
                            kind,
                            count,
                            "something is wrong with the validator"
                        );
                    }
                }
                Step::Close(why, retry) => {
                    self.closing.get_or_insert(End::Closed(why, retry));
                }
            }
        }
    }

    fn on_established(&mut self) {
        self.stats.on_up();
        self.up_since = Some(Instant::now());
        let source = self.source;
        self.waiting.push_back(ValidatorEvent::Up { source });
        tracing::info!(
            event = "validator_up",
            protocol = source.name(),
            "the validator answers"
        );
    }

    /// The connection is over: what it still brought is handed on, and then its end.
    async fn on_end(&mut self, end: End, detail: &str) {
        self.outgoing.clear();
        self.closing = None;
        let (why, was_up) = (end.name(), self.up_since.is_some());
        let count = self.stats.on_disconnected(why);
        if was_up || count.is_power_of_two() {
            tracing::warn!(
                event = "validator_down",
                why,
                detail,
                count,
                "learned routes stay until their own end"
            );
        }
        self.waiting.extend(was_up.then_some(ValidatorEvent::Down { why }));
        for event in self.waiting.drain(..) {
            // A control loop that has gone ends the task.
            let _ = self.channels.events.send(event).await;
        }
    }
}

/// Writes some bytes, or what is held on the way if there are none.
async fn push(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    match bytes.is_empty() {
        true => to.flush().await.map(|()| 0),
        false => to.write(bytes).await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// How long to wait before the next try.
#[derive(Debug)]
pub(super) struct Pauses {
    reconnect: Duration,
    refusals: u32,
}

impl Pauses {
    pub(super) const fn new(reconnect: Duration) -> Self {
        Self { reconnect, refusals: 0 }
    }

    /// The pause after an end, of a session that stood for so long if it did; `None` if it is no use to try again.
    ///
    /// A loss is followed by the policy's pause. Where an end is somebody's will, each pause is twice the one before, so
    /// that a wrong password is no storm.
    pub(super) fn after(&mut self, end: End, lasted: Option<Duration>) -> Option<Duration> {
        if lasted.is_some_and(|lasted| lasted >= STEADY) {
            self.refusals = 0;
        }
        match end {
            End::Lost(_) => Some(self.reconnect),
            End::Closed(_, Retry::AtOnce) if lasted.is_some_and(|lasted| lasted >= STEADY) => Some(Duration::ZERO),
            End::Closed(_, Retry::AtOnce | Retry::Later) => {
                let factor = 2u32.saturating_pow(self.refusals);
                self.refusals = self.refusals.saturating_add(1);
                Some(self.reconnect.saturating_mul(factor).min(PAUSE_MAX.max(self.reconnect)))
            }
            End::Closed(_, Retry::Never) => None,
        }
    }
}

/// Up to a quarter longer, so that edges that lost one validator together do not come back together.
fn jittered(pause: Duration) -> Duration {
    pause + pause.mul_f64(rand::rng().random_range(0.0..0.25))
}

pub(super) fn now() -> Now {
    Now {
        instant: Instant::now().into_std(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}
