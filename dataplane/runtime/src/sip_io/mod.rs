//! The SIP thread: every SIP socket of the process, each message carried to its worker and back.
//!
//! It decides nothing about SIP; TLS handshakes burn their time here and not beside media.

mod dial;
mod exchange;
mod listeners;
mod outbox;
mod queue;
mod stream;
mod tls;
mod udp;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mio::{Events, Poll};
use tollgate_contract::publish::Reader;

pub use dial::DIAL_FAILURES;

pub(crate) use exchange::{Exchange, ExchangeParts, OUTBOX};
pub(crate) use listeners::Listeners;

use crate::clock;
use crate::hooks::Steering;
use crate::status::Heartbeat;
use crate::worker::wait;

/// The SIP thread: what waits, and what is done when it wakes.
pub(crate) struct SipIo<S: Steering> {
    pub(crate) poll: Poll,
    pub(crate) reader: Reader,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) exchange: Exchange<S>,
}

impl<S: Steering> SipIo<S> {
    /// Runs until the data plane is stopped. One wake sees one snapshot.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_WAKE);
        while !self.stop.load(Ordering::Acquire) {
            let timeout = self.exchange.timeout(Instant::now());
            wait(&mut self.poll, &mut events, timeout)?;
            let now = clock::now();
            self.heartbeat.beat(now.instant);
            self.exchange.telemetry.sip.wakes.inc();
            let snapshot = self.reader.load();
            self.exchange.resume(now, snapshot);
            for event in events.iter().filter(|event| event.token() != OUTBOX) {
                self.exchange.on_ready(now, snapshot, event.token());
            }
            self.exchange.apply_outbox(now.instant);
            self.exchange.on_timers(now.instant);
        }
        Ok(())
    }
}

/// Readiness events taken per wait; more come with the next.
const EVENTS_PER_WAKE: usize = 1_024;
