//! What a validator is told: calls over the PSTN, and how its routes fare.
//!
//! Source: vap.md 7 and 11, validator.md 2 and 8.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_contract::{E164, Way};

use crate::{RouteId, VServiceId, wire};

/// A voice call record (validator.md 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcrReport {
    /// Outbound: we called.
    #[serde(with = "way")]
    pub direction: Way,
    /// The calling number; may be absent or wrong.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::optional")]
    pub calling: Option<E164>,
    /// The called number.
    #[serde(with = "wire::text")]
    pub called: E164,
    /// When the 200 OK was received or sent, since 1970.
    #[serde(rename = "start_ns", with = "wire::nanos")]
    pub start: Duration,
    /// When the BYE was sent or received, since 1970.
    #[serde(rename = "stop_ns", with = "wire::nanos")]
    pub stop: Duration,
    /// The VService of ours.
    #[serde(with = "wire::text")]
    pub vservice_id: VServiceId,
    /// Whether the trunk tells answer and disconnect.
    pub trunk_class: TrunkClass,
}

/// Whether a PSTN trunk tells answer and disconnect (validator.md 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrunkClass {
    /// It does: PRI, SS7, BRI, CAS, SIP, analog with both.
    Supervised,
    /// It does not: plain FXO.
    Unsupervised,
}

/// What calls over a route came to within a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFeedback {
    /// The route.
    #[serde(with = "wire::text")]
    pub route_id: RouteId,
    /// What happened.
    pub outcome: RouteOutcome,
    /// How often, 1 or more.
    pub count: u32,
    /// Within how long.
    #[serde(rename = "window_s", with = "wire::seconds")]
    pub window: Duration,
}

/// What became of a call over a learned route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RouteOutcome {
    /// No target could be connected to.
    #[serde(rename = "connect_failed")]
    ConnectFailed,
    /// The certificate names another domain.
    #[serde(rename = "tls_name_mismatch")]
    TlsNameMismatch,
    /// The peer answered 403.
    #[serde(rename = "403")]
    Forbidden,
    /// The call was set up.
    #[serde(rename = "ok")]
    Ok,
}

impl RouteOutcome {
    /// The name on the feed and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectFailed => "connect_failed",
            Self::TlsNameMismatch => "tls_name_mismatch",
            Self::Forbidden => "403",
            Self::Ok => "ok",
        }
    }
}

/// A call that went back to the PSTN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FallbackEvent {
    /// A reference to the call, at most 128 characters; no number.
    pub call: String,
    /// The route it used, if a learned one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::optional")]
    pub route_id: Option<RouteId>,
    /// What was measured.
    pub metrics: FallbackMetrics,
}

/// What was measured when a call went back to the PSTN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackMetrics {
    /// Loss over the window, in thousandths.
    pub loss_permille: u16,
    /// Interarrival jitter, in microseconds.
    pub jitter_us: u32,
    /// From the trigger to the REFER.
    #[serde(rename = "since_trigger_ms", with = "wire::millis")]
    pub since_trigger: Duration,
}

/// `sent` for outbound, `received` for inbound, as VAP's CallDirection.
mod way {
    use serde::de::Deserializer;
    use serde::ser::Serializer;
    use serde::{Deserialize, Serialize};
    use tollgate_contract::Way;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Name {
        Sent,
        Received,
    }

    pub(super) fn serialize<S: Serializer>(way: &Way, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match way {
            Way::Outbound => Name::Sent,
            Way::Inbound => Name::Received,
        };
        name.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Way, D::Error> {
        Ok(match Name::deserialize(deserializer)? {
            Name::Sent => Way::Outbound,
            Name::Received => Way::Inbound,
        })
    }
}
