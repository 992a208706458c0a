//! The vector files, and what they are judged by.

use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate_contract::Now;
use tollgate_validator::InstanceId;
use tollgate_validator::checks::{AddressRules, RouteRules};

pub(crate) fn feed_messages() -> Value {
    serde_json::from_str(include_str!("../data/feed/messages.json")).unwrap()
}

pub(crate) fn feed_sessions() -> Value {
    serde_json::from_str(include_str!("../data/feed/sessions.json")).unwrap()
}

pub(crate) fn vap_messages() -> Value {
    serde_json::from_str(include_str!("../data/vap/messages.json")).unwrap()
}

pub(crate) fn valinfos() -> Value {
    serde_json::from_str(include_str!("../data/vap/valinfo.json")).unwrap()
}

pub(crate) const OURS: InstanceId = InstanceId([1; 16]);

/// The time and the rules that a feed file names.
pub(crate) fn rules(file: &Value) -> RouteRules {
    let texts = |key: &str| -> Vec<String> { serde_json::from_value(file[key].clone()).unwrap() };
    RouteRules {
        local_domains: texts("our_domains").iter().map(|text| text.parse().unwrap()).collect(),
        addresses: AddressRules {
            own: texts("our_addresses")
                .iter()
                .map(|text| text.parse().unwrap())
                .collect(),
            ..AddressRules::default()
        },
        ..RouteRules::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test needs some first moment")]
pub(crate) fn now() -> Now {
    Now {
        instant: Instant::now(),
        unix: Duration::from_millis(1_800_000_000_000),
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
