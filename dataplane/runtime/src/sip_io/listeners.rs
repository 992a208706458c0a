//! Our SIP listeners: bound at start, accepted from in turns.
//!
//! Who may send what is the steering's to say; here only numbers are limited.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use tollgate_call::transport::{Listener, ListenerId, LocalAddresses, Role, Source};
use tollgate_contract::{Now, Side, Snapshot, Transport};

use super::exchange::Exchange;
use super::stream::Stage;
use super::tls;
use crate::config::{ACCEPTS_PER_TURN, RuntimeLimits};
use crate::hooks::Steering;
use crate::socket::{self, BindError};

/// One bound socket.
pub(super) enum Bound {
    /// For datagrams.
    Udp(UdpSocket),
    /// For connections.
    Stream(TcpListener),
}

/// All listeners and their sockets; the token of each socket is its place.
pub(crate) struct Listeners {
    pub(super) local: LocalAddresses,
    pub(super) bound: Vec<(ListenerId, Bound)>,
    /// The first socket of each listener.
    places: Vec<usize>,
}

impl Listeners {
    /// Binds every listener, a mapping service's range port by port.
    pub(crate) fn bind(local: LocalAddresses) -> Result<Self, BindError> {
        let mut bound = Vec::new();
        let mut places = Vec::new();
        for (id, listener) in (0..=u16::MAX).map(ListenerId).zip(&local.listeners) {
            places.push(bound.len());
            for port in listener.ports() {
                bound.push((id, bind(listener, port)?));
            }
        }
        Ok(Self { local, bound, places })
    }

    /// The addresses the system bound, one for each listener in order; they tell ports asked for as 0.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let address = |(_, bound): &(ListenerId, Bound)| match bound {
            Bound::Udp(socket) => socket.local_addr(),
            Bound::Stream(listener) => listener.local_addr(),
        };
        let first = self.places.iter().filter_map(|place| self.bound.get(*place));
        first.map(address).collect()
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (place, (_, bound)) in self.bound.iter_mut().enumerate() {
            match bound {
                Bound::Udp(socket) => registry.register(socket, Token(place), Interest::READABLE)?,
                Bound::Stream(listener) => registry.register(listener, Token(place), Interest::READABLE)?,
            }
        }
        Ok(())
    }

    /// The UDP socket of a listener.
    pub(super) fn udp(&self, id: ListenerId) -> Option<(&Listener, &UdpSocket)> {
        let place = *self.places.get(usize::from(id.0))?;
        match self.bound.get(place)? {
            (_, Bound::Udp(socket)) => Some((self.local.get(id)?, socket)),
            (_, Bound::Stream(_)) => None,
        }
    }

    /// The listener named for connections we open: our own of the side and transport, else the first of the side.
    pub(super) fn for_dial(&self, side: Side, transport: Transport) -> ListenerId {
        let exact = self.local.own(side).find(|(_, own)| own.transport == transport);
        let found = exact.or_else(|| self.local.own(side).next());
        found.map_or(ListenerId(0), |(id, _)| id)
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

fn bind(listener: &Listener, port: u16) -> Result<Bound, BindError> {
    let address = SocketAddr::new(listener.address.bound.ip(), port);
    match listener.transport {
        Transport::Udp => socket::udp(address, "SIP").map(Bound::Udp),
        Transport::Tcp | Transport::Tls => {
            socket::listener(address, listener.transport, listener.role).map(Bound::Stream)
        }
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
    /// Accepts what waits at a listening socket.
    pub(super) fn accept(&mut self, now: Now, snapshot: &Snapshot, token: Token) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some((id, Bound::Stream(listener))) = self.listeners.bound.get(token.0) else {
                return;
            };
            match listener.accept() {
                Ok((stream, remote)) => self.on_accepted(now, snapshot, *id, stream, remote),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return,
                Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptor or memory is left: the connection waits in the backlog until the next wake.
                Err(_) => return self.stalled.push(token),
            }
        }
        self.again.push(token);
    }

    fn on_accepted(&mut self, now: Now, snapshot: &Snapshot, id: ListenerId, stream: TcpStream, remote: SocketAddr) {
        // Without its own address the connection is gone already.
        let (Some(listener), Ok(local)) = (self.listeners.local.get(id).copied(), stream.local_addr()) else {
            return;
        };
        if matches!(listener.role, Role::Mapped { .. }) && snapshot.mappings.at(local, now.unix).is_none() {
            return self.telemetry.sip.unmapped.inc();
        }
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
            (Transport::Tls, Some(settings)) => tls::accept(&settings).ok().map(Some),
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
            local,
            conn: Some(conn),
            peer: None,
        };
        self.count_accepted(listener.role, &source);
        // A connection the poller cannot watch is closed inside and its place given back.
        let _ = self.add(now.instant, source, stream, session, stage, None);
    }

    fn count_accepted(&self, role: Role, source: &Source) {
        self.telemetry.sip.accepted.inc();
        match role {
            Role::Trunk => {}
            Role::Transparent => self.telemetry.sip.accepted_transparent.inc(),
            Role::Mapped { .. } => {
                if let Some(port) = self.telemetry.mapped_port(source) {
                    port.accepted.inc();
                }
            }
        }
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
