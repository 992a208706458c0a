//! A worker thread: one core, its media sockets, its mailbox, and the order in which they have their turn.
//!
//! It decides nothing about a call or a packet; it carries both to the core and what the core says to the sockets.

mod buffer;
mod layout;
mod media_sockets;
mod turn;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use tollgate_call::transport::Transmit;
use tollgate_contract::Now;
use tollgate_contract::publish::Reader;

pub use layout::{LayoutError, MediaPair, MediaRange, media_layout};

pub(crate) use media_sockets::MediaSockets;
pub(crate) use turn::{Turn, TurnParts};

use crate::clock;
use crate::hooks::Core;
use crate::status::Heartbeat;

/// A message on its way from a worker to the SIP thread.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The worker that wants to hear of a failure.
    pub(crate) worker: usize,
    pub(crate) transmit: Transmit,
}

/// A worker thread: what waits, and what is done when it wakes.
pub(crate) struct Worker<C> {
    pub(crate) poll: Poll,
    pub(crate) reader: Reader,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) stop: Arc<AtomicBool>,
    /// [`crate::RuntimeLimits::media_wait`].
    pub(crate) media_wait: Duration,
    pub(crate) turn: Turn<C>,
}

/// The token of the mailbox's waker; media sockets have the tokens from 0.
pub(crate) const MAILBOX: Token = Token(usize::MAX);

impl<C: Core> Worker<C> {
    /// Runs until the data plane is stopped.
    ///
    /// One wake sees one snapshot. Its order: packets, messages, timers, the tick, views.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_WAKE);
        let mut next_tick = Instant::now();
        let mut last_media = None;
        self.turn.sockets.register(self.poll.registry())?;
        while !self.stop.load(Ordering::Acquire) {
            self.rest(last_media);
            let timeout = self.timeout(next_tick);
            wait(&mut self.poll, &mut events, timeout)?;
            let now = clock::now();
            self.heartbeat.beat(now.instant);
            self.turn.counters().wakes.inc();
            let snapshot = self.reader.load();
            for event in events.iter().filter(|event| event.token() != MAILBOX) {
                self.turn.sockets.on_event(event);
            }
            last_media = self.turn.handle_packets().then_some(now.instant);
            self.turn.handle_messages(now, snapshot);
            self.turn.handle_timeouts(now, snapshot);
            if now.instant >= next_tick {
                self.turn.tick(now, snapshot);
                next_tick = following_tick(now, next_tick, snapshot.fallback.monitoring_interval);
            }
            self.turn.publish_views(now);
        }
        Ok(())
    }

    /// While packets come faster than `media_wait`, waits until several can be handled by one wake: waking costs more
    /// than relaying.
    fn rest(&self, last_media: Option<Instant>) {
        let Some(last) = last_media else { return };
        let rest = self.media_wait.saturating_sub(last.elapsed());
        if !rest.is_zero() && !self.turn.has_backlog() {
            std::thread::sleep(rest);
        }
    }

    /// How long the poller may wait: until the next timer or tick, at most [`WAKE_AT_LEAST`].
    fn timeout(&self, next_tick: Instant) -> Duration {
        if self.turn.has_backlog() {
            return Duration::ZERO;
        }
        let next = self.turn.poll_timeout().map_or(next_tick, |timer| timer.min(next_tick));
        next.saturating_duration_since(Instant::now()).min(WAKE_AT_LEAST)
    }
}

/// Waits for events; an interrupted wait is one without events.
pub(crate) fn wait(poll: &mut Poll, events: &mut Events, timeout: Duration) -> io::Result<()> {
    match poll.poll(events, Some(timeout)) {
        Err(why) if why.kind() != io::ErrorKind::Interrupted => Err(why),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Ticks keep their rhythm; those missed by more than one interval are left out.
fn following_tick(now: Now, last: Instant, interval: Duration) -> Instant {
    let next = last + interval;
    if next > now.instant {
        next
    } else {
        now.instant + interval
    }
}

/// Every thread looks at the snapshot once a second, so that old ones can be freed.
pub(crate) const WAKE_AT_LEAST: Duration = Duration::from_secs(1);

/// Readiness events taken per wait; more come with the next.
const EVENTS_PER_WAKE: usize = 1_024;
