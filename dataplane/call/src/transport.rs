//! What crosses between the SIP sockets and a worker: framed messages in, bytes and where to send them out.
//!
//! Plain values; the sockets themselves are the runtime's.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tollgate_contract::{Side, Transport, WireAddr};

/// A SIP listener of ours, by its place in [`LocalAddresses::listeners`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u16);

/// A stream connection, never used twice in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// Whom those who connect to a listener mean to reach (product.md 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Us: every outside listener, and inside the far end of the call agent's trunk.
    Trunk,
    /// The peer that the port is mapped to: the mapping service's ports, one listening socket for each.
    Mapped {
        /// The last port; the first is that of the listener's bound address.
        last_port: u16,
    },
    /// The peer whose address was dialled: connections routed through us keep their destination (TPROXY).
    Transparent,
}

/// One SIP listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Inside or outside.
    pub side: Side,
    /// UDP, TCP or TLS; only TLS outside.
    pub transport: Transport,
    /// Bound and advertised address.
    pub address: WireAddr,
    /// Whom it stands for; outside always [`Role::Trunk`].
    pub role: Role,
}

impl Listener {
    /// Its ports: one, or a mapping service's range.
    #[must_use]
    pub const fn ports(&self) -> RangeInclusive<u16> {
        let first = self.address.bound.port();
        match self.role {
            Role::Trunk | Role::Transparent => first..=first,
            Role::Mapped { last_port } => first..=last_port,
        }
    }

    /// What Via and Contact tell those who connected to `local`: where they believe the far end to be.
    #[must_use]
    pub fn told(&self, local: SocketAddr) -> SocketAddr {
        match self.role {
            Role::Trunk => self.address.advertised,
            Role::Mapped { .. } => SocketAddr::new(self.address.advertised.ip(), local.port()),
            Role::Transparent => local,
        }
    }
}

/// Our SIP addresses, fixed at start.
#[derive(Clone, Debug, Default)]
pub struct LocalAddresses {
    /// Every listener; [`ListenerId`] is an index.
    pub listeners: Vec<Listener>,
}

impl LocalAddresses {
    /// The listener of an id.
    #[must_use]
    pub fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(usize::from(id.0))
    }

    /// The listeners of a side that stand for us, in order: those we speak from and may be spoken to as.
    pub fn own(&self, side: Side) -> impl Iterator<Item = (ListenerId, &Listener)> {
        let numbered = (0..=u16::MAX).map(ListenerId).zip(&self.listeners);
        numbered.filter(move |(_, listener)| listener.side == side && listener.role == Role::Trunk)
    }
}

/// What a peer proved in its TLS handshake: the names of its certificate (RFC 5922 §7.1; calls.md 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// dNSName entries and hosts of user-less `sip:` URIs: ASCII lower case, no trailing dot, no wildcards.
    pub domains: Vec<String>,
}

/// Where a message came from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Inside or outside.
    pub side: Side,
    /// The transport it came by.
    pub transport: Transport,
    /// The listener it came to; for a connection we opened, the listener of that side and transport.
    pub listener: ListenerId,
    /// The sender's address.
    pub remote: SocketAddr,
    /// The address it sent to: on a mapped port the mapped address, on a transparent listener the original destination;
    /// for datagrams the bound address.
    pub local: SocketAddr,
    /// The connection, for streams.
    pub conn: Option<ConnId>,
    /// The peer's certificate names; always there outside.
    pub peer: Option<Arc<PeerIdentity>>,
}

/// A connection to be opened, or reused if one of the same kind is up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dial {
    /// The side the remote is on.
    pub side: Side,
    /// TCP or TLS.
    pub transport: Transport,
    /// Addresses tried in order.
    pub addresses: Vec<SocketAddr>,
    /// With TLS: the name the server's certificate must bear.
    pub server_name: Option<String>,
    /// Longest wait for one address, TLS handshake included.
    pub timeout: Duration,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A datagram from one of our UDP listeners.
    Datagram {
        /// The listener it is sent from.
        from: ListenerId,
        /// Its destination.
        to: SocketAddr,
    },
    /// An open connection; if it is gone, the dial is tried where there is one.
    Connection {
        /// The connection.
        conn: ConnId,
        /// What to do when it is gone.
        otherwise: Option<Dial>,
    },
    /// A connection to be opened or reused.
    Dial(Dial),
}

/// Names a transmission whose failure the sender wants to hear of. Opaque to the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendToken {
    /// The call.
    pub call: u64,
    /// The client transaction in it.
    pub transaction: u64,
}

/// Bytes to send.
#[derive(Clone)]
pub struct Transmit {
    /// Where to.
    pub target: Target,
    /// One whole SIP message.
    pub bytes: Vec<u8>,
    /// Whether [`TransportEvent::SendFailed`] is wanted.
    pub token: Option<SendToken>,
}

/// Why a message could not be sent. Each is a counter and a log word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendFailure {
    /// Connection refused, reset or unroutable.
    Unreachable,
    /// No connection within the dial's timeout.
    ConnectTimeout,
    /// The handshake failed: unknown CA, expired, alert, no common suite.
    Tls,
    /// The certificate does not bear the expected name.
    TlsName,
    /// The connection was lost before the message was written.
    ConnectionLost,
    /// A queue was full.
    Overload,
}

impl SendFailure {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::TlsName => "tls_name_mismatch",
            Self::ConnectionLost => "connection_lost",
            Self::Overload => "overload",
        }
    }
}

/// From the SIP sockets to the worker that owns the call.
#[derive(Clone)]
pub enum TransportEvent {
    /// One framed message.
    Received {
        /// Where it came from.
        source: Source,
        /// Its bytes, one message exactly.
        bytes: Vec<u8>,
    },
    /// A transmission with a token failed for good (all addresses tried).
    SendFailed {
        /// Which.
        token: SendToken,
        /// Why.
        why: SendFailure,
    },
}

impl fmt::Debug for Transmit {
    /// Where to and how much: the bytes hold tickets and keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Transmit({} bytes, {:?}, {:?})",
            self.bytes.len(),
            self.target,
            self.token
        )
    }
}

impl fmt::Debug for TransportEvent {
    /// Where from and how much: the bytes hold tickets and keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received { source, bytes } => write!(f, "Received({} bytes, {source:?})", bytes.len()),
            Self::SendFailed { token, why } => write!(f, "SendFailed({token:?}, {why:?})"),
        }
    }
}
