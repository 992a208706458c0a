//! What the workers want sent: to a datagram's destination, an open connection, or one to be dialled.
//!
//! Every message ends in one of three ways: written, failed and told, or failed and counted.

use std::time::Instant;

use tollgate_call::transport::{ConnId, Dial, SendFailure, Source, Target, Transmit};
use tollgate_contract::{Side, Transport};

use super::dial::{Join, failure_index};
use super::exchange::Exchange;
use super::queue::{Queued, Sender};
use super::stream::Stage;
use super::tls;
use crate::hooks::Steering;
use crate::socket;
use crate::worker::Outgoing;

impl<S: Steering> Exchange<S> {
    /// Sends what the workers left, up to a budget.
    pub(super) fn apply_outbox(&mut self, now: Instant) {
        self.outbox.begin();
        self.has_more_outgoing = true;
        for _ in 0..OUTGOING_PER_WAKE {
            let Some(Outgoing { worker, transmit }) = self.outbox.next() else {
                self.has_more_outgoing = false;
                return;
            };
            self.apply(now, worker, transmit);
        }
    }

    fn apply(&mut self, now: Instant, worker: usize, transmit: Transmit) {
        let Transmit { target, bytes, token } = transmit;
        let queued = Queued {
            bytes,
            sender: token.map(|token| Sender { worker, token }),
        };
        match target {
            Target::Datagram { from, to } => self.send_datagram(from, to, queued),
            Target::Connection { conn, otherwise } => match (self.is_open(conn), otherwise) {
                (true, _) => self.send_on(now, conn, queued),
                (false, Some(dial)) => self.send_by_dial(now, &dial, queued),
                (false, None) => self.fail(queued.sender, SendFailure::ConnectionLost),
            },
            Target::Dial(dial) => self.send_by_dial(now, &dial, queued),
        }
    }

    fn is_open(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.stage == Stage::Open)
    }

    fn send_on(&mut self, now: Instant, id: ConnId, queued: Queued) {
        let Some(mut conn) = self.conns.remove(&id) else {
            return self.fail(queued.sender, SendFailure::ConnectionLost);
        };
        self.push(&mut conn, queued);
        let flushed = self.flush(&mut conn);
        self.settle(now, conn, flushed);
    }

    fn send_by_dial(&mut self, now: Instant, dial: &Dial, queued: Queued) {
        if let Some(conn) = self.dials.pooled(dial).filter(|conn| self.is_open(*conn)) {
            return self.send_on(now, conn, queued);
        }
        match self.dials.join(dial, queued) {
            Join::Start => self.try_next_address(now, dial),
            Join::Waits => {}
            Join::Full(queued) => {
                self.telemetry.sip.outbound_full.inc();
                self.fail(queued.sender, SendFailure::Overload);
            }
        }
    }

    /// Begins with the next address of a dial; when there is none, all who waited are told.
    pub(super) fn try_next_address(&mut self, now: Instant, dial: &Dial) {
        while let Some(address) = self.dials.next_address(dial) {
            match self.begin(now, dial, address) {
                Ok(()) => return,
                Err(why) => self.dials.on_address_failed(dial, why),
            }
        }
        let (waiting, why) = self.dials.give_up(dial);
        self.telemetry.sip.dials_failed[failure_index(why)].inc();
        for queued in waiting {
            self.fail(queued.sender, why);
        }
    }

    fn begin(&mut self, now: Instant, dial: &Dial, remote: std::net::SocketAddr) -> Result<(), SendFailure> {
        if self.conns.len() >= self.limits.connections_max {
            self.telemetry.sip.over_limit.inc();
            return Err(SendFailure::Overload);
        }
        let (side, transport) = (dial.side, dial.transport);
        let session = match (transport, side, self.tls(side)) {
            (Transport::Tls, _, Some(settings)) => {
                Some(tls::dial(&settings, dial, remote.ip()).map_err(|why| self.count_handshake(why))?)
            }
            (Transport::Tcp, Side::Inside, _) => None,
            // Nothing but TLS leaves outside, and nothing is dialled over datagrams.
            (Transport::Tls, _, None) | (Transport::Tcp, Side::Outside, _) => return Err(SendFailure::Tls),
            (Transport::Udp, _, _) => return Err(SendFailure::Unreachable),
        };
        let listener = self.listeners.for_dial(side, transport);
        let stream = socket::connect(self.listeners.local_ip(listener, side), remote);
        let stream = stream.map_err(|_| SendFailure::Unreachable)?;
        let local = stream.local_addr().map_err(|_| SendFailure::Unreachable)?;
        let source = Source {
            side,
            transport,
            listener,
            remote,
            local,
            conn: Some(self.next_conn()),
            peer: None,
        };
        self.add(now, source, stream, session, Stage::Connecting, Some(dial.clone()))
            .map_err(|_| SendFailure::Unreachable)
    }
}

/// Messages of workers sent per wake before the sockets have their turn.
const OUTGOING_PER_WAKE: usize = 256;
