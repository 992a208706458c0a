//! A first moment, routes and random bytes for tests.

use std::time::{Duration, Instant};

use tollgate_contract::{Now, Pii};

use crate::VServiceId;
use crate::checks::{ClaimedRoute, ClaimedTarget, RouteRules};
use crate::facts::{Fact, LearnedRoute};

/// Some moment; only differences to it matter.
#[expect(clippy::disallowed_methods, reason = "a test needs some first moment")]
pub(crate) fn now() -> Now {
    Now {
        instant: Instant::now(),
        unix: Duration::from_secs(1_800_000_000),
    }
}

/// A good claim for the number `+1408555nnnn`, learned a minute ago for a day.
pub(crate) fn claim(id: &str, n: u32) -> ClaimedRoute {
    let unix = Duration::from_secs(1_800_000_000);
    ClaimedRoute {
        route_id: id.into(),
        revision: 0,
        number: Pii(format!("+1408555{n:04}")),
        domain: "peer.example".into(),
        targets: vec![ClaimedTarget {
            uri: "sip:17ahhs7zpaksux6z5==@peer.example:5061;maddr=192.0.2.4;transport=tcp".into(),
            ..ClaimedTarget::default()
        }],
        ticket: Pii("AAEAEGunuBCdrUHRgLQAwE_UMMg.".into()),
        learned_at: unix - Duration::from_secs(60),
        expires_at: unix + Duration::from_secs(86_400),
        vservice_id: VServiceId(7),
        peer: None,
        evidence: None,
    }
}

/// The same, checked.
pub(crate) fn route(id: &str, n: u32) -> LearnedRoute {
    RouteRules::default().check(&claim(id, n), now().unix).unwrap()
}

/// The same, as a fact.
pub(crate) fn upsert(id: &str, n: u32) -> Fact {
    Fact::RouteUpsert(Box::new(route(id, n)))
}
