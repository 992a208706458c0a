//! A route as a source tells it, unchecked.
//!
//! Text and numbers as read; [`RouteRules::check`](super::RouteRules::check) makes a learned route of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_contract::Pii;

use crate::facts::{Evidence, LearnedRoute, RouteTarget, TargetHost};
use crate::{NodeId, VServiceId, wire};

/// A route that has passed no check yet. On the feed it is the body of RouteUpsert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedRoute {
    /// Its name at the source.
    pub route_id: String,
    /// Rises with each change of the route; on the feed the message's own revision.
    #[serde(skip_serializing)]
    pub revision: u64,
    /// The number called.
    #[serde(with = "wire::pii")]
    pub number: Pii<String>,
    /// The peer's domain.
    pub domain: String,
    /// Where its edges are.
    pub targets: Vec<ClaimedTarget>,
    /// The ticket in its text form.
    #[serde(with = "wire::pii")]
    pub ticket: Pii<String>,
    /// When it was proven, since 1970.
    #[serde(rename = "learned_at_ms", with = "wire::millis")]
    pub learned_at: Duration,
    /// When it ends, since 1970.
    #[serde(rename = "expires_at_ms", with = "wire::millis")]
    pub expires_at: Duration,
    /// The VService of ours that it was learned for.
    #[serde(with = "wire::text")]
    pub vservice_id: VServiceId,
    /// The validator that proved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<ClaimedPeer>,
    /// What the proof rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// The validator that proved a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedPeer {
    /// Its Node-ID.
    #[serde(with = "wire::text")]
    pub node_id: NodeId,
}

/// One edge of a peer as told. What repeats the URI may be absent; it must agree with it where it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedTarget {
    /// The learned URI.
    pub uri: String,
    /// The URI's `maddr`, an address or a name; on the feed `host` or `ip`.
    #[serde(default, alias = "ip", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The URI's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The domain the certificate must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_tls_domain: Option<String>,
    /// Order of trial, lowest first. Default 0.
    #[serde(default)]
    pub priority: u16,
}

impl From<&LearnedRoute> for ClaimedRoute {
    fn from(route: &LearnedRoute) -> Self {
        Self {
            route_id: route.route_id.to_string(),
            revision: route.revision,
            number: Pii(route.number.to_string()),
            domain: route.domain.to_string(),
            targets: route.targets.iter().map(ClaimedTarget::from).collect(),
            ticket: route.ticket.clone(),
            learned_at: route.learned_at,
            expires_at: route.expires_at,
            vservice_id: route.vservice_id,
            peer: route.peer_node.map(|node_id| ClaimedPeer { node_id }),
            evidence: route.evidence.clone(),
        }
    }
}

impl From<&RouteTarget> for ClaimedTarget {
    fn from(target: &RouteTarget) -> Self {
        let host = match &target.host {
            TargetHost::Ip(ip) => ip.to_string(),
            TargetHost::Name(name) => name.to_string(),
        };
        Self {
            uri: target.uri.clone(),
            host: Some(host),
            port: Some(target.port),
            expected_tls_domain: Some(target.expected_tls_domain.to_string()),
            priority: target.priority,
        }
    }
}
