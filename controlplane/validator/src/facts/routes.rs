//! Learned routes, and their end.
//!
//! Source: vap.md 11, validator.md 6 to 8.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_contract::{E164, Pii};

use crate::{Domain, NodeId, RouteId, VServiceId, wire};

/// A route that has passed every check of [`RouteRules`](crate::checks::RouteRules).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedRoute {
    /// Its name at the source.
    pub route_id: RouteId,
    /// Rises with each change of this route.
    pub revision: u64,
    /// The number called.
    pub number: E164,
    /// The peer's domain, which its certificate must name.
    pub domain: Domain,
    /// Where its edges are: 1 or more, lowest priority value first.
    pub targets: Vec<RouteTarget>,
    /// The ticket in its text form: 1 to 1024 characters, opaque to the calling side.
    pub ticket: Pii<String>,
    /// When it was proven, since 1970.
    pub learned_at: Duration,
    /// When it ends, since 1970; from then on it is dead even without a withdrawal.
    pub expires_at: Duration,
    /// The VService of ours that it was learned for.
    pub vservice_id: VServiceId,
    /// The validator that proved it, if known.
    pub peer_node: Option<NodeId>,
    /// What the proof rests on, if known.
    pub evidence: Option<Evidence>,
}

/// One edge of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// The learned URI, for the topmost Route; at most 614 characters.
    pub uri: String,
    /// Where to connect.
    pub host: TargetHost,
    /// The port, 1 to 65535.
    pub port: u16,
    /// The domain its certificate must name; equal to the route's.
    pub expected_tls_domain: Domain,
    /// Order of trial, lowest first.
    pub priority: u16,
}

/// The `maddr` of a learned URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetHost {
    /// An address, checked; an IPv4-mapped one is held as IPv4.
    Ip(IpAddr),
    /// A name, only where the rules allow names. What it resolves to must still pass
    /// [`AddressRules`](crate::checks::AddressRules).
    Name(Domain),
}

impl RouteTarget {
    /// The socket address, unless the host is a name.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match &self.host {
            TargetHost::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            TargetHost::Name(_) => None,
        }
    }
}

impl LearnedRoute {
    /// Whether the route may be used at a time since 1970.
    #[must_use]
    pub fn is_live(&self, unix: Duration) -> bool {
        unix < self.expires_at
    }
}

/// What a proof rests on (validator.md 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The PVP methods that succeeded, such as `a` and `b`.
    pub methods: Vec<String>,
    /// Sum of the validations' values, in bits.
    pub sum: u32,
    /// Number of validations.
    pub count: u32,
}

/// Ends a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawWithdraw", into = "RawWithdraw")]
pub struct RouteWithdraw {
    /// Which one.
    pub which: RouteRef,
    /// Why.
    pub reason: WithdrawReason,
}

/// Names the route to withdraw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteRef {
    /// The one of this id.
    Id(RouteId),
    /// Every route of a number to a domain.
    NumberAndDomain(E164, Domain),
}

#[derive(Serialize, Deserialize)]
struct RawWithdraw {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::optional")]
    route_id: Option<RouteId>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::optional")]
    number: Option<E164>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::optional")]
    domain: Option<Domain>,
    reason: WithdrawReason,
}

impl TryFrom<RawWithdraw> for RouteWithdraw {
    type Error = &'static str;

    fn try_from(raw: RawWithdraw) -> Result<Self, &'static str> {
        let which = match (raw.route_id, raw.number, raw.domain) {
            (Some(id), None, None) => RouteRef::Id(id),
            (None, Some(number), Some(domain)) => RouteRef::NumberAndDomain(number, domain),
            _ => return Err("either route_id, or number and domain"),
        };
        Ok(Self {
            which,
            reason: raw.reason,
        })
    }
}

impl From<RouteWithdraw> for RawWithdraw {
    fn from(withdraw: RouteWithdraw) -> Self {
        let (route_id, number, domain) = match withdraw.which {
            RouteRef::Id(id) => (Some(id), None, None),
            RouteRef::NumberAndDomain(number, domain) => (None, Some(number), Some(domain)),
        };
        Self {
            route_id,
            number,
            domain,
            reason: withdraw.reason,
        }
    }
}

/// Why a route or mapping ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithdrawReason {
    /// Its time is over.
    Expired,
    /// The peer or the operator took it back.
    Revoked,
    /// A policy forbids it.
    Policy,
    /// Calls or validations over it failed.
    Failed,
}

impl WithdrawReason {
    /// The name on the feed and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Policy => "policy",
            Self::Failed => "failed",
        }
    }
}
