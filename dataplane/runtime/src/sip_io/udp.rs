//! SIP over datagrams, RFC 3261 §18.
//!
//! Retransmission is the transaction's; a datagram that cannot be sent is counted, and told where that is final.

use std::io;
use std::net::SocketAddr;

use mio::Token;
use tollgate_call::transport::{ListenerId, SendFailure, Source};
use tollgate_contract::{Now, Snapshot, Transport};

use super::exchange::Exchange;
use super::queue::Queued;
use crate::config::DATAGRAMS_PER_TURN;
use crate::hooks::Steering;
use crate::telemetry::of;

impl<S: Steering> Exchange<S> {
    /// Takes the datagrams that wait at a listener.
    pub(super) fn read_datagrams(&mut self, now: Now, snapshot: &Snapshot, token: Token, id: ListenerId) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let room = self.limits.datagram_max.saturating_add(1).min(self.scratch.len());
            let (Some((_, socket)), Some(room)) = (self.listeners.udp(id), self.scratch.get_mut(..room)) else {
                return;
            };
            match socket.recv_from(room) {
                Ok((len, _)) if len > self.limits.datagram_max => self.telemetry.sip.datagrams_oversize.inc(),
                Ok((len, remote)) => self.on_datagram(now, snapshot, id, remote, len),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                // The echo of an earlier datagram's fate; the socket is as good as before.
                Err(_) => {}
            }
        }
        self.again.push(token);
    }

    fn on_datagram(&mut self, now: Now, snapshot: &Snapshot, id: ListenerId, remote: SocketAddr, len: usize) {
        let datagram = self.scratch.get(..len).unwrap_or_default();
        let message = self
            .message_in(datagram)
            .and_then(|range| datagram.get(range))
            .map(<[u8]>::to_vec);
        let Some(message) = message else {
            return self.telemetry.sip.framing_errors.inc();
        };
        let Some(listener) = self.listeners.local.get(id) else {
            return;
        };
        let source = Source {
            side: listener.side,
            transport: Transport::Udp,
            listener: id,
            remote,
            local: listener.address.bound,
            conn: None,
            peer: None,
        };
        if let Some(bytes) = self.deliver(now, snapshot, &source, message) {
            self.send_datagram(id, remote, Queued { bytes, sender: None });
        }
    }

    /// Sends one datagram.
    pub(super) fn send_datagram(&self, from: ListenerId, to: SocketAddr, queued: Queued) {
        let Some((listener, socket)) = self.listeners.udp(from) else {
            return self.fail(queued.sender, SendFailure::Unreachable);
        };
        match socket.send_to(&queued.bytes, to) {
            Ok(_) => of(&self.telemetry.sip.messages_out, listener.side, Transport::Udp).inc(),
            // A full queue is a lost datagram, which retransmission heals (RFC 3261 §17.1.1.2).
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => self.telemetry.sip.datagram_send_errors.inc(),
            Err(_) => {
                self.telemetry.sip.datagram_send_errors.inc();
                self.fail(queued.sender, SendFailure::Unreachable);
            }
        }
    }
}
