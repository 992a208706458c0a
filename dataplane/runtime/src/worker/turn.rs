//! What a worker does in one wake: each input to the core, then everything the core wants done.
//!
//! It contains the core's panics, each at the cost of what was being handled, and never waits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tollgate_call::transport::{SendFailure, SendToken, Transmit, TransportEvent};
use tollgate_contract::{Now, Report, Snapshot};

use super::Outgoing;
use super::buffer::PacketBuffer;
use super::media_sockets::{MediaSockets, Received};
use crate::channel::{Mailbox, Postbox};
use crate::clock;
use crate::config::{PACKET_MAX, PACKETS_PER_SOCKET, RuntimeLimits, VIEWS_PER_WORKER};
use crate::hooks::{Core, CoreOutput};
use crate::status::ViewBoard;
use crate::telemetry::{Telemetry, WorkerIoCounters};

/// The core and all it is joined to.
pub(crate) struct Turn<C> {
    index: usize,
    core: C,
    pub(super) sockets: MediaSockets,
    mailbox: Mailbox<TransportEvent>,
    outbox: Postbox<Outgoing>,
    reports: SyncSender<Report>,
    limits: RuntimeLimits,
    telemetry: Arc<Telemetry>,
    views: Arc<ViewBoard>,
    buffer: PacketBuffer,
    /// Messages the SIP thread had no room for, to be told to the core as failed.
    refused: VecDeque<SendToken>,
    has_more_messages: bool,
}

/// What a worker is made of, beside its core and sockets.
pub(crate) struct TurnParts {
    pub(crate) index: usize,
    pub(crate) mailbox: Mailbox<TransportEvent>,
    pub(crate) outbox: Postbox<Outgoing>,
    pub(crate) reports: SyncSender<Report>,
    pub(crate) limits: RuntimeLimits,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) views: Arc<ViewBoard>,
}

impl<C: Core> Turn<C> {
    pub(crate) fn new(core: C, sockets: MediaSockets, parts: TurnParts) -> Self {
        let TurnParts {
            index,
            mailbox,
            outbox,
            reports,
            limits,
            telemetry,
            views,
        } = parts;
        let (buffer, refused, has_more_messages) = (PacketBuffer::new(), VecDeque::new(), false);
        Self {
            index,
            core,
            sockets,
            mailbox,
            outbox,
            reports,
            limits,
            telemetry,
            views,
            buffer,
            refused,
            has_more_messages,
        }
    }

    /// Whether work is known to be left that no event will announce.
    pub(super) fn has_backlog(&self) -> bool {
        self.has_more_messages || !self.refused.is_empty() || self.sockets.readable() > 0
    }

    /// When the core wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    /// Reads every readable socket once round, each up to its budget. Whether there was a packet.
    pub(super) fn handle_packets(&mut self) -> bool {
        let mut any = false;
        for _ in 0..self.sockets.readable() {
            let Some(socket) = self.sockets.next_readable() else {
                break;
            };
            any |= self.drain_socket(socket);
        }
        any
    }

    fn drain_socket(&mut self, index: usize) -> bool {
        let now = clock::now();
        let telemetry = Arc::clone(&self.telemetry);
        let Some(counters) = telemetry.workers.get(self.index) else {
            return false;
        };
        for taken in 0..PACKETS_PER_SOCKET {
            match self.sockets.receive(index, self.buffer.receive_room()) {
                Received::Empty => return taken > 0,
                Received::Error => counters.receive_errors.inc(),
                Received::Packet { len, .. } if len > PACKET_MAX => counters.packets_oversize.inc(),
                Received::Packet { side, from, len } => {
                    counters.packets_in[side.index()].inc();
                    counters.bytes_in[side.index()].add(len as u64);
                    self.relay(now, index, from, len, counters);
                }
            }
        }
        self.sockets.queue(index);
        true
    }

    fn relay(&mut self, now: Now, at: usize, from: std::net::SocketAddr, len: usize, counters: &WorkerIoCounters) {
        let Ok(at) = u32::try_from(at) else { return };
        let (core, whole) = (&mut self.core, self.buffer.whole());
        let forward = catch_unwind(AssertUnwindSafe(|| core.handle_packet(now, at, from, whole, len)));
        match forward {
            Ok(None) => {}
            Ok(Some(forward)) => match self.buffer.packet(forward.len) {
                Some(packet) => self.sockets.send(forward, packet, counters),
                None => counters.send_errors.inc(),
            },
            Err(_) => self.on_panic(now, "packet"),
        }
    }

    /// Handles messages up to the budget of one wake.
    pub(super) fn handle_messages(&mut self, now: Now, snapshot: &Snapshot) {
        self.mailbox.begin();
        self.has_more_messages = true;
        for _ in 0..self.limits.sip_budget.max(1) {
            let Some(event) = self.next_event() else {
                self.has_more_messages = false;
                break;
            };
            self.counters().messages.inc();
            self.feed(now, "message", |core| core.handle_transport(now, snapshot, event));
        }
    }

    fn next_event(&mut self) -> Option<TransportEvent> {
        let refused = self.refused.pop_front();
        let overload = |token| TransportEvent::SendFailed {
            token,
            why: SendFailure::Overload,
        };
        refused.map(overload).or_else(|| self.mailbox.next())
    }

    /// Fires the core's timers that are due.
    pub(super) fn handle_timeouts(&mut self, now: Now, snapshot: &Snapshot) {
        if self.core.poll_timeout().is_some_and(|timer| timer <= now.instant) {
            self.feed(now, "timer", |core| core.handle_timeout(now, snapshot));
        }
    }

    /// The monitoring interval has passed.
    pub(super) fn tick(&mut self, now: Now, snapshot: &Snapshot) {
        self.feed(now, "tick", |core| core.tick(now, snapshot));
    }

    /// Shows the live calls if somebody asked.
    pub(super) fn publish_views(&mut self, now: Now) {
        let Some(question) = self.views.pending(self.index) else {
            return;
        };
        let core = &self.core;
        let views = catch_unwind(AssertUnwindSafe(|| core.views(now, VIEWS_PER_WORKER)));
        if views.is_err() {
            self.count_panic("views");
        }
        self.views.answer(self.index, question, views.unwrap_or_default());
    }

    /// One input, then all outputs.
    fn feed(&mut self, now: Now, doing: &'static str, input: impl FnOnce(&mut C)) {
        let core = &mut self.core;
        if catch_unwind(AssertUnwindSafe(|| input(core))).is_err() {
            self.on_panic(now, doing);
        }
        loop {
            let core = &mut self.core;
            match catch_unwind(AssertUnwindSafe(|| core.poll_output())) {
                Ok(Some(CoreOutput::Transmit(transmit))) => self.transmit(transmit),
                Ok(Some(CoreOutput::Report(report))) => self.report(report),
                Ok(None) => return,
                Err(_) => return self.on_panic(now, "output"),
            }
        }
    }

    fn transmit(&mut self, transmit: Transmit) {
        let outgoing = Outgoing {
            worker: self.index,
            transmit,
        };
        let Err(refused) = self.outbox.send(outgoing) else {
            return self.counters().transmits.inc();
        };
        self.counters().transmits_refused.inc();
        let has_room = self.refused.len() < self.limits.mailbox_messages;
        self.refused.extend(refused.transmit.token.filter(|_| has_room));
    }

    fn report(&self, report: Report) {
        if self.reports.try_send(report).is_err() {
            self.counters().reports_lost.inc();
        }
    }

    fn on_panic(&mut self, now: Now, doing: &'static str) {
        self.count_panic(doing);
        let core = &mut self.core;
        if catch_unwind(AssertUnwindSafe(|| core.discard_after_panic(now))).is_err() {
            self.count_panic("discard");
        }
    }

    fn count_panic(&self, doing: &'static str) {
        self.counters().panics.inc();
        self.report(Report::Contained {
            worker: self.index,
            doing,
        });
    }

    pub(super) fn counters(&self) -> &WorkerIoCounters {
        self.telemetry
            .workers
            .get(self.index)
            .expect("there is a set of counters for every worker")
    }
}
