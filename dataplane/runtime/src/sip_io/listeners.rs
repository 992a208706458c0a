//! Our SIP listeners: bound at start, accepted from in turns.
//!
//! Who may send what is the steering's to say; here only numbers are limited.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use tollgate_call::transport::{ListenerId, LocalAddresses, Source};
use tollgate_contract::{Side, Transport};

use super::exchange::Exchange;
use super::stream::Stage;
use super::tls;
use crate::config::{ACCEPTS_PER_TURN, RuntimeLimits};
use crate::hooks::Steering;
use crate::socket::{self, BindError};

/// One bound listener.
pub(super) enum Bound {
    /// For datagrams.
    Udp(UdpSocket),
    /// For connections.
    Stream(TcpListener),
}

/// All listeners; the token of each is its place.
pub(crate) struct Listeners {
    pub(super) local: LocalAddresses,
    pub(super) bound: Vec<Bound>,
}

impl Listeners {
    /// Binds every listener.
    pub(crate) fn bind(local: LocalAddresses) -> Result<Self, BindError> {
        let bind = |listener: &tollgate_call::transport::Listener| {
            let address = listener.address.bound;
            match listener.transport {
                Transport::Udp => socket::udp(address, "SIP").map(Bound::Udp),
                Transport::Tcp | Transport::Tls => socket::listener(address, listener.transport).map(Bound::Stream),
            }
        };
        let bound = local.listeners.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { local, bound })
    }

    /// The addresses the system bound, in the order of the listeners; they tell ports asked for as 0.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let address = |bound: &Bound| match bound {
            Bound::Udp(socket) => socket.local_addr(),
            Bound::Stream(listener) => listener.local_addr(),
        };
        self.bound.iter().map(address).collect()
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (place, bound) in self.bound.iter_mut().enumerate() {
            match bound {
                Bound::Udp(socket) => registry.register(socket, Token(place), Interest::READABLE)?,
                Bound::Stream(listener) => registry.register(listener, Token(place), Interest::READABLE)?,
            }
        }
        Ok(())
    }

    /// The listener named for connections we open: that of the side and transport, else the first of the side.
    pub(super) fn for_dial(&self, side: Side, transport: Transport) -> ListenerId {
        let listeners = &self.local.listeners;
        let exact = listeners
            .iter()
            .position(|l| l.side == side && l.transport == transport);
        let place = exact
            .or_else(|| listeners.iter().position(|l| l.side == side))
            .unwrap_or(0);
        ListenerId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    /// The address connections of a side are opened from.
    pub(super) fn local_ip(&self, id: ListenerId, side: Side) -> Option<IpAddr> {
        let listener = self
            .local
            .listeners
            .get(usize::from(id.0))
            .filter(|listener| listener.side == side)?;
        Some(listener.address.bound.ip())
    }
}

/// How many accepted connections each address has.
#[derive(Debug, Default)]
pub(super) struct PerRemote(HashMap<IpAddr, usize>);

impl PerRemote {
    /// Takes a place, if fewer than `max` are taken.
    fn take(&mut self, ip: IpAddr, max: usize) -> bool {
        let count = self.0.entry(ip).or_default();
        let has_room = *count < max;
        *count += usize::from(has_room);
        has_room
    }

    /// Gives a place back.
    pub(super) fn give_back(&mut self, ip: IpAddr) {
        let Some(count) = self.0.get_mut(&ip) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.0.remove(&ip);
        }
    }
}

impl<S: Steering> Exchange<S> {
    /// Accepts what waits at a stream listener.
    pub(super) fn accept(&mut self, now: Instant, id: ListenerId) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(Bound::Stream(listener)) = self.listeners.bound.get(usize::from(id.0)) else {
                return;
            };
            match listener.accept() {
                Ok((stream, remote)) => self.on_accepted(now, id, stream, remote),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptor or memory is left: the connection waits in the backlog until the next wake.
                Err(_) => return self.stalled.push(id),
            }
        }
        self.again.push(Token(usize::from(id.0)));
    }

    fn on_accepted(&mut self, now: Instant, id: ListenerId, stream: TcpStream, remote: SocketAddr) {
        let Some(listener) = self.listeners.local.listeners.get(usize::from(id.0)).copied() else {
            return;
        };
        if self.conns.len() >= accepted_max(&self.limits, listener.side) {
            return self.telemetry.sip.over_limit.inc();
        }
        if !self
            .per_remote
            .take(remote.ip(), self.limits.connections_per_remote_max)
        {
            return self.telemetry.sip.over_limit_per_remote.inc();
        }
        let session = match (listener.transport, self.tls(listener.side)) {
            (Transport::Tls, Some(settings)) => tls::accept(settings).ok().map(Some),
            (Transport::Tls, None) => None,
            (Transport::Udp | Transport::Tcp, _) => Some(None),
        };
        let Some(session) = session else {
            return self.per_remote.give_back(remote.ip());
        };
        let stage = if session.is_some() {
            Stage::Handshaking
        } else {
            Stage::Open
        };
        let conn = self.next_conn();
        let (side, transport) = (listener.side, listener.transport);
        let source = Source {
            side,
            transport,
            listener: id,
            remote,
            conn: Some(conn),
            peer: None,
        };
        self.telemetry.sip.accepted.inc();
        // A connection the poller cannot watch is closed inside and its place given back.
        let _ = self.add(now, source, stream, session, stage, None);
    }
}

/// How many connections may stand when one more is accepted from a side.
///
/// A quarter is out of reach for callers from outside, who may be anybody until their handshake is done: the call agent
/// and our own dials always find room.
const fn accepted_max(limits: &RuntimeLimits, side: Side) -> usize {
    match side {
        Side::Inside => limits.connections_max,
        Side::Outside => limits.connections_max - limits.connections_max / 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_take_the_last_quarter_of_connections() {
        let limits = RuntimeLimits {
            connections_max: 10_000,
            ..RuntimeLimits::default()
        };
        assert_eq!(accepted_max(&limits, Side::Outside), 7_500);
        assert_eq!(accepted_max(&limits, Side::Inside), 10_000);
    }

    #[test]
    fn places_per_address_are_bounded_and_given_back() {
        let [one, two]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let mut per_remote = PerRemote::default();
        assert!(per_remote.take(one, 1));
        assert!(!per_remote.take(one, 1));
        assert!(per_remote.take(two, 1));
        per_remote.give_back(one);
        assert!(per_remote.take(one, 1));
        per_remote.give_back(one);
        per_remote.give_back(two);
        assert!(per_remote.0.is_empty());
    }
}
