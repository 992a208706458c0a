//! What the mapping service counts, and who is connected: the counters that the ASA's mapping service had, by cause.
//!
//! Logs nothing and decides one thing alone: whether another connection is taken. Source: edge.md 9.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_contract::counters::{Counter, Counters};

use super::cause::Cause;
use super::codec::Method;
use super::leases::LeaseCounts;
use crate::exposition::{Exposition, Histogram, Kind};

/// Most connections at once; a call agent's cluster has no more than a few nodes with a few connections each.
pub const MAX_CONNECTIONS: usize = 256;

/// Most connections of one client address at once.
pub const MAX_CONNECTIONS_PER_CLIENT: usize = 8;

/// Upper bounds of the time from question to answer, in seconds.
const ANSWER_S: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0];

const METHODS: [&str; 4] = ["map", "unmap", "list", "ping"];

/// Why the service closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// The client did.
    ByClient,
    /// No request for too long.
    Idle,
    /// It broke a rule of the protocol; the refusal was sent.
    Refused,
    /// It did not read its answers.
    Stuck,
}

impl Closed {
    const NAMES: [&'static str; 4] = ["by_client", "idle", "refused", "stuck"];
}

/// Everything the mapping service counts; shared by the service, the desk and the metrics page.
#[derive(Debug)]
pub struct MappingStats {
    requests: Counters<{ METHODS.len() }>,
    answered: Counter,
    failed: Counters<{ Cause::ALL.len() }>,
    closed: Counters<{ Closed::NAMES.len() }>,
    pending: Counter,
    by_clients: Counter,
    by_facts: Counter,
    resting: Counter,
    free: Counter,
    orphans: Counter,
    waited: Mutex<Histogram>,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    next: u64,
    open: BTreeMap<u64, Session>,
}

#[derive(Debug)]
struct Session {
    client: IpAddr,
    since: Instant,
    last_request: Instant,
    requests: u64,
}

/// A connection that counts as open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenSession {
    id: u64,
    stats: Arc<MappingStats>,
}

impl Default for MappingStats {
    fn default() -> Self {
        Self {
            requests: Counters::default(),
            answered: Counter::default(),
            failed: Counters::default(),
            closed: Counters::default(),
            pending: Counter::default(),
            by_clients: Counter::default(),
            by_facts: Counter::default(),
            resting: Counter::default(),
            free: Counter::default(),
            orphans: Counter::default(),
            waited: Mutex::new(Histogram::new(ANSWER_S)),
            sessions: Mutex::default(),
        }
    }
}

impl MappingStats {
    /// How often a question was refused for a cause.
    #[must_use]
    pub fn refused(&self, cause: Cause) -> u64 {
        self.failed.at(cause.index()).get()
    }

    /// Questions answered with what was asked for.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.get()
    }

    /// The clients that have a connection.
    #[must_use]
    pub fn connected(&self) -> BTreeSet<IpAddr> {
        let sessions = lock(&self.sessions);
        sessions.open.values().map(|session| session.client).collect()
    }

    /// The connections as JSON.
    pub(super) fn sessions(&self, now: Instant) -> Value {
        let sessions = lock(&self.sessions);
        let view = |session: &Session| {
            json!({
                "client": session.client,
                "age_s": now.saturating_duration_since(session.since).as_secs(),
                "idle_s": now.saturating_duration_since(session.last_request).as_secs(),
                "requests": session.requests,
            })
        };
        sessions.open.values().map(view).collect()
    }

    /// Takes a connection, or says why not.
    pub(super) fn open(self: &Arc<Self>, client: IpAddr, now: Instant) -> Result<OpenSession, Cause> {
        let mut sessions = lock(&self.sessions);
        let of_client = sessions.open.values().filter(|session| session.client == client);
        if sessions.open.len() >= MAX_CONNECTIONS || of_client.count() >= MAX_CONNECTIONS_PER_CLIENT {
            return Err(Cause::TooManyConnections);
        }
        let id = sessions.next;
        sessions.next += 1;
        let session = Session {
            client,
            since: now,
            last_request: now,
            requests: 0,
        };
        sessions.open.insert(id, session);
        let stats = Arc::clone(self);
        Ok(OpenSession { id, stats })
    }

    pub(super) fn on_answered(&self) {
        self.answered.inc();
    }

    /// Counts a refusal, and says how many there have been for this cause.
    pub(super) fn on_refused(&self, cause: Cause) -> u64 {
        let counter = self.failed.at(cause.index());
        counter.inc();
        counter.get()
    }

    pub(super) fn on_closed(&self, why: Closed) {
        self.closed.at(why as usize).inc();
    }

    pub(super) fn on_settled(&self, waited: Duration) {
        lock(&self.waited).observe(waited.as_secs_f64());
    }

    pub(super) fn set_pending(&self, pending: usize) {
        self.pending.set(pending as u64);
    }

    pub(super) fn set_ports(&self, counts: LeaseCounts, orphans: usize) {
        self.by_clients.set(counts.by_clients as u64);
        self.by_facts.set(counts.by_facts as u64);
        self.resting.set(counts.resting as u64);
        self.free.set(counts.free as u64);
        self.orphans.set(orphans as u64);
    }

    /// The longest time since the last request of any connection.
    fn longest_idle(&self) -> Duration {
        let sessions = lock(&self.sessions);
        let oldest = sessions.open.values().map(|session| session.last_request).min();
        oldest.map(|oldest| oldest.elapsed()).unwrap_or_default()
    }
}

impl OpenSession {
    /// A request came.
    pub(super) fn on_request(&self, method: &Method, now: Instant) {
        let at = match method {
            Method::Map(_) => 0,
            Method::Unmap(_) => 1,
            Method::List { .. } => 2,
            Method::Ping => 3,
        };
        self.stats.requests.at(at).inc();
        if let Some(session) = lock(&self.stats.sessions).open.get_mut(&self.id) {
            session.last_request = now;
            session.requests += 1;
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        lock(&self.stats.sessions).open.remove(&self.id);
    }
}

/// Adds the families of the mapping service to the metrics page.
pub fn expose(out: &mut Exposition, stats: &MappingStats) {
    labelled(
        out,
        ("mapping_requests_total", "Requests to the mapping service."),
        ("method", &METHODS),
        |at| stats.requests.at(at).get(),
    );
    out.family(
        "mapping_responses_total",
        Kind::Counter,
        "Requests answered with what was asked for.",
    );
    out.sample("mapping_responses_total", &[], stats.answered.get() as f64);
    let causes = Cause::ALL.map(Cause::name);
    labelled(
        out,
        ("mapping_failed_total", "Requests and connections refused, by cause."),
        ("cause", &causes),
        |at| stats.failed.at(at).get(),
    );
    labelled(
        out,
        ("mapping_connections_closed_total", "Connections closed, by why."),
        ("reason", &Closed::NAMES),
        |at| stats.closed.at(at).get(),
    );
    let open = lock(&stats.sessions).open.len();
    gauge(out, "mapping_connections", "Connections now.", open as f64);
    gauge(
        out,
        "mapping_idle_seconds",
        "Longest time since the last request of a connection that is open.",
        stats.longest_idle().as_secs_f64(),
    );
    gauge(
        out,
        "mapping_pending",
        "Requests waiting for the data plane.",
        stats.pending.get() as f64,
    );
    out.family("mapping_ports", Kind::Gauge, "Mapped ports.");
    let states = [
        ("by_client", &stats.by_clients),
        ("by_fact", &stats.by_facts),
        ("resting", &stats.resting),
        ("free", &stats.free),
    ];
    for (state, count) in states {
        out.sample("mapping_ports", &[("state", state)], count.get() as f64);
    }
    gauge(
        out,
        "mapping_orphans",
        "Mappings whose clients are not connected and that no fact wants.",
        stats.orphans.get() as f64,
    );
    out.family(
        "mapping_answer_seconds",
        Kind::Histogram,
        "From a map request to its answer, where the data plane was waited for.",
    );
    out.histogram("mapping_answer_seconds", &[], &lock(&stats.waited));
}

fn labelled(
    out: &mut Exposition,
    (family, help): (&str, &str),
    (label, names): (&str, &[&str]),
    read: impl Fn(usize) -> u64,
) {
    out.family(family, Kind::Counter, help);
    for (at, name) in names.iter().enumerate() {
        out.sample(family, &[(label, name)], read(at) as f64);
    }
}

fn gauge(out: &mut Exposition, name: &str, help: &str, value: f64) {
    out.family(name, Kind::Gauge, help);
    out.sample(name, &[], value);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_every_connection() {
        let stats = Arc::new(MappingStats::default());
        let (greedy, modest) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let now = Instant::now();
        let open = |client| stats.open(client, now);
        let taken: Vec<_> = (0..MAX_CONNECTIONS_PER_CLIENT).map(|_| open(greedy).unwrap()).collect();
        assert_eq!(open(greedy).err(), Some(Cause::TooManyConnections));
        assert!(open(modest).is_ok());
        drop(taken);
        assert!(open(greedy).is_ok() && stats.connected().is_empty());
    }

    #[test]
    fn all_clients_together_are_bounded() {
        let stats = Arc::new(MappingStats::default());
        let now = Instant::now();
        let address = |at: usize| IpAddr::from([10, 1, (at / MAX_CONNECTIONS_PER_CLIENT) as u8, 1]);
        let taken: Vec<_> = (0..MAX_CONNECTIONS)
            .map(|at| stats.open(address(at), now).unwrap())
            .collect();
        assert_eq!(
            stats.open(IpAddr::from([10, 2, 0, 1]), now).err(),
            Some(Cause::TooManyConnections)
        );
        drop(taken);
    }

    #[test]
    fn every_cause_has_its_counter_from_the_start() {
        let stats = MappingStats::default();
        stats.on_refused(Cause::Quota);
        let mut page = Exposition::default();
        expose(&mut page, &stats);
        let page = page.into_text();
        assert!(
            page.contains("tollgate_mapping_failed_total{cause=\"quota\"} 1\n"),
            "{page}"
        );
        for cause in Cause::ALL {
            assert!(page.contains(&format!("{{cause=\"{}\"}}", cause.name())));
        }
    }
}
