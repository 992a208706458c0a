//! What a mapping is keyed by, who may want one, and the bounds.
//!
//! Holds nothing.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use tollgate_contract::Transport;
use tollgate_policy::MappingService;
use tollgate_validator::{Domain, MappingId};

/// How long a port rests before it may stand for another far address: a client that still dials the old one finds a
/// closed door, never a wrong peer. Longer than a SIP transaction lives (64·T1, RFC 3261 §17).
pub const PORT_QUARANTINE: Duration = Duration::from_secs(60);

/// The bounds of all mappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRules {
    /// The address of the mapped ports.
    pub bind: IpAddr,
    /// The mapped ports.
    pub ports: RangeInclusive<u16>,
    /// A client's mapping neither asked for nor used for so long is given up.
    pub idle_timeout: Duration,
    /// Mappings that one client may hold; its resting ports count.
    pub per_client_max: u32,
    /// How long a port rests. Default [`PORT_QUARANTINE`].
    pub quarantine: Duration,
}

/// What makes two mappings the same: two domains behind one address are two mappings, so that the certificate of one is
/// never taken for the other's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappingKey {
    /// The far address.
    pub global: SocketAddr,
    /// The transport asked for.
    pub transport: Transport,
    /// The domain that the far end's certificate must name.
    pub domain: Domain,
}

/// Where a mapping that no client asked for comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The validator's feed.
    Feed,
    /// The admin interface.
    Api,
}

impl LeaseRules {
    /// The bounds of a policy.
    #[must_use]
    pub fn of(service: &MappingService) -> Self {
        Self {
            bind: service.bind,
            ports: service.ports.clone(),
            idle_timeout: service.idle_timeout,
            per_client_max: service.per_client_max,
            quarantine: PORT_QUARANTINE,
        }
    }
}

impl Origin {
    /// `feed` or `api`, as in views and labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Api => "api",
        }
    }
}

/// Who wants a mapping. It lasts as long as anybody does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A client of the mapping service, by its address.
    Client(IpAddr),
    /// A fact: not subject to the clients' quota.
    Fact(Origin, MappingId),
}

/// A mapping that a fact demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is mapped.
    pub key: MappingKey,
    /// The host that stands outside where the mapped address is written: a name or an IP literal, with brackets for
    /// IPv6.
    pub host: String,
    /// The mapped address demanded; `None` takes any.
    pub mapped: Option<SocketAddr>,
    /// When it ends, since 1970; `None` for one that lasts until it is withdrawn.
    pub expires: Option<Duration>,
}

/// Why a client gets no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The client holds as many as it may.
    #[error("this client holds as many mappings as one may")]
    Quota,
    /// No port is free.
    #[error("every mapped port is in use or resting")]
    TableFull,
}

/// Why a fact gets no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// No port is free.
    #[error("every mapped port is in use or resting")]
    TableFull,
    /// The demanded address stands for, or has just stood for, something else; or the key has another address.
    #[error("the mapped address is taken, or this peer has another one")]
    Conflict,
    /// The demanded address is none of the mapped ports, or the transport has none.
    #[error("the address is none of the mapped ports, or the transport cannot be mapped")]
    NotMappable,
    /// The far address is private, loopback, link-local, multicast, unspecified, reserved or our own.
    #[error("the far address is not a public one, or it is the edge's own")]
    PrivateTarget,
}
