//! Mappings of far addresses to inside ones (off-path).
//!
//! Source: vap.md 11, edge.md 1.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_contract::Transport;

use super::WithdrawReason;
use crate::{Domain, MappingId, RouteId, wire};

/// A far address and the inside one that stands for it.
///
/// Keyed by far address, transport and TLS domain: two domains behind one address never share an identity check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Its name at the source.
    #[serde(with = "wire::text")]
    pub mapping_id: MappingId,
    /// The far end.
    pub global: GlobalEnd,
    /// The inside end.
    pub inside: InsideEnd,
    /// The domain the far end's certificate must name.
    #[serde(with = "wire::text")]
    pub expected_tls_domain: Domain,
    /// The routes it serves.
    #[serde(default, with = "wire::list")]
    pub route_ids: Vec<RouteId>,
    /// When it ends, since 1970.
    #[serde(rename = "expires_at_ms", with = "wire::millis")]
    pub expires_at: Duration,
}

/// The far end of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlobalEnd {
    /// Address.
    pub ip: IpAddr,
    /// Port, 1 to 65535.
    pub port: u16,
    /// Transport.
    #[serde(with = "transport")]
    pub transport: Transport,
}

/// The inside end of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsideEnd {
    /// Address.
    pub ip: IpAddr,
    /// Port, 1 to 65535.
    pub port: u16,
    /// The name of the edge's inside interface; may be empty.
    #[serde(default)]
    pub interface: String,
}

/// Ends a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingWithdraw {
    /// Which one.
    #[serde(with = "wire::text")]
    pub mapping_id: MappingId,
    /// Why.
    pub reason: WithdrawReason,
    /// How long calls in progress may go on using it.
    #[serde(default, rename = "drain_s", with = "wire::seconds")]
    pub drain: Duration,
}

/// `udp`, `tcp` or `tls`.
mod transport {
    use serde::de::Deserializer;
    use serde::ser::Serializer;
    use tollgate_contract::Transport;

    use crate::wire;

    pub(super) fn serialize<S: Serializer>(transport: &Transport, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(transport.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Transport, D::Error> {
        wire::text::deserialize(deserializer)
    }
}
