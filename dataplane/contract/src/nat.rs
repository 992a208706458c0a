//! Sides, transports, and addresses as bound and as told to others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Which side of the edge: the company's own network, or the Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Where the call agent is.
    Inside,
    /// Where the peer edges are.
    Outside,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }

    /// `inside` or `outside`, as in labels and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
        }
    }

    /// 0 for inside, 1 for outside: an index into a pair.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Inside => 0,
            Self::Outside => 1,
        }
    }
}

/// A SIP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams; retransmitted by us (RFC 3261 §17).
    Udp,
    /// A stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

/// Not one of `udp`, `tcp`, `tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTransport;

impl Transport {
    /// As in a Via header: `UDP`, `TCP`, `TLS`.
    #[must_use]
    pub const fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// As in a URI's transport parameter and in the policy: `udp`, `tcp`, `tls`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Whether the transport delivers in order and without loss, so that no retransmission timers run.
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }
}

impl FromStr for Transport {
    type Err = InvalidTransport;

    fn from_str(text: &str) -> Result<Self, InvalidTransport> {
        match text.to_ascii_lowercase().as_str() {
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            "tls" => Ok(Self::Tls),
            _ => Err(InvalidTransport),
        }
    }
}

impl fmt::Display for InvalidTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a transport: udp, tcp or tls")
    }
}

impl std::error::Error for InvalidTransport {}

/// An address of ours in both its forms: where we listen, and what we tell others (1:1 NAT, DMZ).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireAddr {
    /// The address of the socket.
    pub bound: SocketAddr,
    /// The address written into Via, Contact and SDP.
    pub advertised: SocketAddr,
}

impl WireAddr {
    /// An address that is told as it is bound.
    #[must_use]
    pub const fn plain(address: SocketAddr) -> Self {
        Self {
            bound: address,
            advertised: address,
        }
    }

    /// Whether `ip` is of the same family as the bound address.
    #[must_use]
    pub fn same_family(&self, ip: IpAddr) -> bool {
        self.bound.is_ipv4() == ip.is_ipv4()
    }
}
