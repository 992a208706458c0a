//! What is counted about the line to the validator, as metrics.
//!
//! No label holds a number, a domain, an id or any text of the validator's. Logs nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tollgate_validator::facts::{Fact, UpFact};
use tollgate_validator::feed::session::NotTold;

use crate::exposition::{Exposition, Kind};

/// Everything counted about one validator; shared by its task, the control loop and the metrics page.
#[derive(Debug, Default)]
pub struct ValidatorStats(Mutex<Counts>);

/// Sums by a name of a closed set.
type ByName = BTreeMap<&'static str, u64>;

#[derive(Debug, Default)]
struct Counts {
    is_up: bool,
    ring_is_up: Option<bool>,
    last_heard: Option<Duration>,
    bytes: u64,
    connections: u64,
    disconnects: ByName,
    facts: ByName,
    refused: ByName,
    incidents: ByName,
    told: ByName,
    untold: ByName,
}

impl ValidatorStats {
    /// Whether the session stands.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.counts().is_up
    }

    /// Connections made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts().connections
    }

    /// Connections and attempts that ended for this reason.
    #[must_use]
    pub fn disconnects(&self, reason: &str) -> u64 {
        self.counts().disconnects.get(reason).copied().unwrap_or_default()
    }

    /// Records refused for this cause.
    #[must_use]
    pub fn refused(&self, cause: &str) -> u64 {
        self.counts().refused.get(cause).copied().unwrap_or_default()
    }

    /// Incidents of this kind.
    #[must_use]
    pub fn incidents(&self, kind: &str) -> u64 {
        self.counts().incidents.get(kind).copied().unwrap_or_default()
    }

    /// Things the validator was told, of this kind.
    #[must_use]
    pub fn told(&self, kind: &str) -> u64 {
        self.counts().told.get(kind).copied().unwrap_or_default()
    }

    /// Things it was not told, for this reason.
    #[must_use]
    pub fn untold(&self, reason: &str) -> u64 {
        self.counts().untold.get(reason).copied().unwrap_or_default()
    }

    pub(super) fn on_connected(&self) {
        self.counts().connections += 1;
    }

    /// Counts an end, and says how many there have been for this reason.
    pub(super) fn on_disconnected(&self, reason: &'static str) -> u64 {
        let mut counts = self.counts();
        counts.is_up = false;
        increased(&mut counts.disconnects, reason)
    }

    pub(super) fn on_up(&self) {
        self.counts().is_up = true;
    }

    pub(super) fn on_ring(&self, is_up: bool) {
        self.counts().ring_is_up = Some(is_up);
    }

    pub(super) fn on_bytes(&self, bytes: usize, unix: Duration) {
        let mut counts = self.counts();
        counts.bytes += bytes as u64;
        counts.last_heard = Some(unix);
    }

    pub(super) fn on_facts(&self, facts: &[Fact]) {
        let mut counts = self.counts();
        for fact in facts {
            increased(&mut counts.facts, fact_name(fact));
        }
    }

    pub(super) fn on_refused(&self, cause: &'static str) -> u64 {
        increased(&mut self.counts().refused, cause)
    }

    pub(super) fn on_incident(&self, kind: &'static str) -> u64 {
        increased(&mut self.counts().incidents, kind)
    }

    pub(super) fn on_told(&self, fact: &UpFact, told: Result<(), NotTold>) {
        let mut counts = self.counts();
        match told {
            Ok(()) => increased(&mut counts.told, up_name(fact)),
            Err(why) => increased(&mut counts.untold, untold_name(why)),
        };
    }

    /// Counts what found no place in a queue of ours.
    pub(super) fn on_lost(&self) {
        increased(&mut self.counts().untold, "queue_full");
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn increased(sums: &mut ByName, name: &'static str) -> u64 {
    let sum = sums.entry(name).or_default();
    *sum += 1;
    *sum
}

const fn fact_name(fact: &Fact) -> &'static str {
    match fact {
        Fact::RouteUpsert(_) => "route_upsert",
        Fact::RouteWithdraw(_) => "route_withdraw",
        Fact::TicketKey(_) => "ticket_key",
        Fact::TicketRevoke(_) => "ticket_revoke",
        Fact::DomainPolicy(_) => "domain_policy",
        Fact::LocalNumbers(_) => "local_numbers",
        Fact::LocalService(_) => "local_service",
        Fact::MappingUpsert(_) => "mapping_upsert",
        Fact::MappingWithdraw(_) => "mapping_withdraw",
    }
}

const fn up_name(fact: &UpFact) -> &'static str {
    match fact {
        UpFact::Vcr(_) => "vcr",
        UpFact::Feedback(_) => "feedback",
        UpFact::Fallback(_) => "fallback",
    }
}

const fn untold_name(why: NotTold) -> &'static str {
    match why {
        NotTold::NotConnected => "not_connected",
        NotTold::NotWanted => "not_wanted",
        NotTold::Busy => "busy",
        NotTold::TooLong => "too_long",
    }
}

/// Adds the metrics of the line to the validator to a page.
pub fn expose(out: &mut Exposition, stats: &ValidatorStats) {
    let counts = stats.counts();
    expose_state(out, &counts);
    #[rustfmt::skip]
    let families = [
        ("validator_disconnects_total", "reason", "Connections and attempts that ended.", &counts.disconnects),
        ("validator_facts_total", "kind", "Facts taken from the validator.", &counts.facts),
        ("validator_refused_total", "cause", "Records of the validator that were refused.", &counts.refused),
        ("validator_incidents_total", "kind", "What else happened on the line.", &counts.incidents),
        ("validator_told_total", "kind", "What the validator was told.", &counts.told),
        ("validator_untold_total", "reason", "What it was not told.", &counts.untold),
    ];
    for (name, label, help, sums) in families {
        out.family(name, Kind::Counter, help);
        for (value, count) in sums {
            out.sample(name, &[(label, value)], *count as f64);
        }
    }
}

/// What has one value each; what is not known yet is left out.
fn expose_state(out: &mut Exposition, counts: &Counts) {
    let flag = |is_set: bool| f64::from(u8::from(is_set));
    let (up, ring) = (Some(flag(counts.is_up)), counts.ring_is_up.map(flag));
    let last_heard = counts.last_heard.map(|unix| unix.as_secs_f64());
    let (bytes, connections) = (Some(counts.bytes as f64), Some(counts.connections as f64));
    #[rustfmt::skip]
    let families = [
        ("validator_up", Kind::Gauge, "1 while the session with the validator stands.", up),
        ("validator_ring_up", Kind::Gauge, "1 while the validator reaches the others.", ring),
        ("validator_last_message_timestamp_seconds", Kind::Gauge, "When it was last heard, since 1970.", last_heard),
        ("validator_received_bytes_total", Kind::Counter, "Bytes read from the validator.", bytes),
        ("validator_connections_total", Kind::Counter, "Connections made to the validator.", connections),
    ];
    for (name, kind, help, value) in families {
        if let Some(value) = value {
            out.family(name, kind, help);
            out.sample(name, &[], value);
        }
    }
}
