//! The control loop's half of the mapping service: it owns the mappings and holds each answer back until the data plane
//! serves the port it names.
//!
//! Opens no socket, resolves no name and publishes nothing; the loop that owns it does. Source: architecture.md 2.7.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tollgate_contract::{MappingTable, Now, Transport};
use tollgate_validator::checks::AddressRules;
use tollgate_validator::facts::{Mapping as MappingFact, TargetHost};
use tollgate_validator::{Domain, MappingId};

use super::cause::Cause;
use super::codec::{Answer, Item, LIST_PAGE};
use super::kept::KeptMapping;
use super::leases::{AskError, Claim, LeaseRules, LeaseView, MappingKey, MappingLeases, Origin, PutError, Source};
use super::stats::MappingStats;

/// How long an answer waits for the data plane. Its threads wake at least once a second.
pub const READY_LIMIT: Duration = Duration::from_secs(2);

/// Most answers waiting for the data plane; a question beyond is refused at once.
pub const MAX_PENDING: usize = 1_024;

/// A client's question, as the service hands it over.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub client: IpAddr,
    /// What.
    pub asked: Asked,
    /// Where the answer goes; an answer to a client that has left is lost without harm.
    pub reply: oneshot::Sender<Reply>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// An inside address.
    Map(ResolvedTarget),
    /// To give one up.
    Unmap(SocketAddr),
    /// Which ones there are above a port.
    List {
        /// 0 from the start.
        after: u16,
    },
}

/// A target whose name is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedTarget {
    /// As the client named it.
    pub host: TargetHost,
    /// Its addresses, best first; never empty.
    pub addresses: Vec<IpAddr>,
    /// The port.
    pub port: NonZeroU16,
    /// TCP or TLS.
    pub transport: Transport,
    /// The domain that the far end's certificate must name.
    pub domain: Domain,
}

/// The lines of an answer, or why there is none.
pub type Reply = Result<Vec<Answer>, Cause>;

/// Whether a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is.
    Answered,
    /// It will be by [`MappingDesk::settle`].
    Pending,
}

/// The mappings and the answers that wait.
///
/// The loop that owns it takes the questions that have come ([`ask`](Self::ask)), then, if
/// [`is_changed`](Self::is_changed), publishes a snapshot with [`table`](Self::table) and tells its generation
/// ([`on_published`](Self::on_published)), then calls [`settle`](Self::settle), again every few milliseconds while
/// [`has_pending`](Self::has_pending). [`expire`](Self::expire) is due once a second.
#[derive(Debug)]
pub struct MappingDesk {
    leases: MappingLeases,
    addresses: AddressRules,
    /// First come, first to wait too long.
    pending: VecDeque<Pending>,
    /// The newest generation that every thread of the data plane has been seen to serve.
    seen: u64,
    stats: Arc<MappingStats>,
}

#[derive(Debug)]
struct Pending {
    client: IpAddr,
    mapped: SocketAddr,
    asked: Instant,
    reply: oneshot::Sender<Reply>,
}

impl MappingDesk {
    /// No mappings. `addresses` judges far addresses: what a client or the feed may have mapped.
    #[must_use]
    pub fn new(rules: LeaseRules, addresses: AddressRules, stats: Arc<MappingStats>) -> Self {
        let leases = MappingLeases::new(rules);
        stats.set_ports(leases.counts(), 0);
        Self {
            leases,
            addresses,
            pending: VecDeque::new(),
            seen: 0,
            stats,
        }
    }

    /// Takes a question and answers it, unless the data plane has to be waited for.
    pub fn ask(&mut self, now: Now, question: Question) -> Outcome {
        let Question { client, asked, reply } = question;
        let outcome = match asked {
            Asked::Map(target) => self.ask_map(now, client, &target, reply),
            Asked::Unmap(mapped) => {
                let is_held = self.leases.give_up(now, client, mapped);
                let answer = vec![Answer::Unmapped];
                send(reply, if is_held { Ok(answer) } else { Err(Cause::NotFound) })
            }
            Asked::List { after } => send(reply, Ok(self.list(now, client, after))),
        };
        self.stats.set_pending(self.pending.len());
        outcome
    }

    /// Answers every question whose mapping is in force, and refuses those that have waited for [`READY_LIMIT`]: their
    /// mappings are taken back. `is_seen` says whether every thread of the data plane serves a generation.
    pub fn settle(&mut self, now: Now, is_seen: impl Fn(u64) -> bool) {
        for pending in std::mem::take(&mut self.pending) {
            let is_held = self.leases.is_held_by(pending.mapped, pending.client);
            let lease = self.leases.at(now, pending.mapped).filter(|_| is_held);
            let in_force = lease.filter(|lease| lease.generation.is_some_and(|new| new <= self.seen || is_seen(new)));
            let waited = now.instant.saturating_duration_since(pending.asked);
            if let Some(lease) = in_force {
                self.seen = self.seen.max(lease.generation.unwrap_or_default());
                self.stats.on_settled(waited);
                log_made(&pending, &lease);
                send(pending.reply, Ok(vec![self.mapped(pending.mapped)]));
            } else if waited >= READY_LIMIT || !is_held {
                self.leases.give_up(now, pending.client, pending.mapped);
                send(pending.reply, Err(Cause::NotReady));
            } else {
                self.pending.push_back(pending);
            }
        }
        self.stats.set_pending(self.pending.len());
    }

    /// The clients' mappings, to be kept over a restart.
    #[must_use]
    pub fn kept(&self, now: Now) -> Vec<KeptMapping> {
        let kept = self.leases.iter(now).map(|lease| KeptMapping {
            mapped: lease.mapped,
            global: lease.key.global,
            transport: lease.key.transport,
            domain: lease.key.domain.to_string(),
            host: lease.host.to_owned(),
            clients: lease.sources().filter_map(client_of).collect(),
        });
        kept.filter(|mapping| !mapping.clients.is_empty()).collect()
    }

    /// Takes mappings of before a restart in again; returns how many fit the policy as it is now.
    pub fn restore(&mut self, now: Now, kept: &[KeptMapping]) -> usize {
        let is_restored = |desk: &mut Self, mapping: &KeptMapping, client: &IpAddr| {
            let Ok(domain) = mapping.domain.parse() else {
                return false;
            };
            let key = MappingKey {
                global: mapping.global,
                transport: mapping.transport,
                domain,
            };
            let is_allowed = desk.addresses.check(mapping.global.ip()).is_ok();
            is_allowed && desk.leases.restore(now, *client, &key, &mapping.host, mapping.mapped)
        };
        let pairs = kept
            .iter()
            .flat_map(|mapping| mapping.clients.iter().map(move |client| (mapping, client)));
        pairs
            .filter(|(mapping, client)| is_restored(self, mapping, client))
            .count()
    }

    /// Whether answers wait for the data plane.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the table differs from the one last published.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.leases.is_changed()
    }

    /// The table for the next snapshot.
    #[must_use]
    pub fn table(&self) -> MappingTable {
        self.leases.table()
    }

    /// The table as it is now stands in the snapshot of this generation.
    pub fn on_published(&mut self, generation: u64) {
        self.leases.on_published(generation);
    }

    /// A call goes over a mapping, or a connection stands at it: it is not idle.
    pub fn note_use(&mut self, now: Now, mapped: SocketAddr) {
        self.leases.note_use(now, mapped);
    }

    /// Ends what is over, and says which mapped addresses stand for nothing from now on. The gauges of the metrics page
    /// are brought up to date.
    pub fn expire(&mut self, now: Now) -> Vec<SocketAddr> {
        let ended = self.leases.expire(now);
        let connected = self.stats.connected();
        let orphans = self
            .leases
            .iter(now)
            .filter(|lease| is_orphan(lease, &connected))
            .count();
        self.stats.set_ports(self.leases.counts(), orphans);
        ended
    }

    /// Takes a mapping that the feed or the API demands. An inside port of 0 takes any.
    ///
    /// # Errors
    /// [`PutError`]; what the same id demanded before then stands.
    pub fn put(&mut self, now: Now, origin: Origin, fact: &MappingFact) -> Result<SocketAddr, PutError> {
        let global = fact.global;
        self.addresses.check(global.ip).map_err(|_| PutError::PrivateTarget)?;
        let ip = global.ip.to_canonical();
        let claim = Claim {
            key: MappingKey {
                global: SocketAddr::new(ip, global.port),
                transport: global.transport,
                domain: fact.expected_tls_domain.clone(),
            },
            host: host_outside(&TargetHost::Ip(ip)),
            mapped: (fact.inside.port != 0).then(|| SocketAddr::new(fact.inside.ip.to_canonical(), fact.inside.port)),
            expires: Some(fact.expires_at),
        };
        self.leases.put(now, origin, &fact.mapping_id, &claim)
    }

    /// A mapping of the feed or the API is over after `drain`; whether it was there.
    pub fn withdraw(&mut self, now: Now, origin: Origin, id: &MappingId, drain: Duration) -> bool {
        self.leases.withdraw(now, origin, id, drain)
    }

    /// Mappings and connections as JSON. A mapping is an orphan when none of the clients that hold it is connected and
    /// no fact wants it.
    #[must_use]
    pub fn view(&self, now: Now) -> Value {
        let connected = self.stats.connected();
        let view = |lease: LeaseView<'_>| self.view_of(&lease, &connected);
        let mappings: Value = self.leases.iter(now).map(view).collect();
        let counts = self.leases.counts();
        json!({
            "mappings": mappings,
            "clients": self.stats.sessions(now.instant),
            "pending": self.pending.len(),
            "ports": {
                "by_client": counts.by_clients,
                "by_fact": counts.by_facts,
                "resting": counts.resting,
                "free": counts.free,
            },
        })
    }

    fn ask_map(&mut self, now: Now, client: IpAddr, target: &ResolvedTarget, reply: oneshot::Sender<Reply>) -> Outcome {
        if self.pending.len() >= MAX_PENDING {
            return send(reply, Err(Cause::NotReady));
        }
        let asked = self.key(target).and_then(|key| {
            let mapped = self.leases.ask(now, client, &key, &host_outside(&target.host));
            mapped.map_err(|why| match why {
                AskError::Quota => Cause::Quota,
                AskError::TableFull => Cause::TableFull,
            })
        });
        let mapped = match asked {
            Ok(mapped) => mapped,
            Err(cause) => return send(reply, Err(cause)),
        };
        let generation = self.leases.at(now, mapped).and_then(|lease| lease.generation);
        if generation.is_some_and(|generation| generation <= self.seen) {
            return send(reply, Ok(vec![self.mapped(mapped)]));
        }
        let asked = now.instant;
        self.pending.push_back(Pending {
            client,
            mapped,
            asked,
            reply,
        });
        Outcome::Pending
    }

    /// What a target maps: the first of its addresses that is mapped already, else the first. Names often have their
    /// addresses told in turns.
    fn key(&self, target: &ResolvedTarget) -> Result<MappingKey, Cause> {
        let key = |ip: &IpAddr| MappingKey {
            global: SocketAddr::new(ip.to_canonical(), target.port.get()),
            transport: target.transport,
            domain: target.domain.clone(),
        };
        let known = target.addresses.iter().map(key).find(|key| self.leases.has(key));
        let key = known
            .or_else(|| target.addresses.first().map(key))
            .ok_or(Cause::Unresolved)?;
        let judged = self.addresses.check(key.global.ip());
        judged.map(|()| key).map_err(|_| Cause::PrivateTarget)
    }

    fn mapped(&self, mapped: SocketAddr) -> Answer {
        Answer::Mapped {
            mapped,
            lifetime: self.leases.rules().idle_timeout,
        }
    }

    fn list(&self, now: Now, client: IpAddr, after: u16) -> Vec<Answer> {
        let mut leases = self.leases.of_client(now, client, after);
        let items = leases.by_ref().take(LIST_PAGE).map(|lease| Answer::Item(item(&lease)));
        let mut lines: Vec<Answer> = items.collect();
        lines.push(Answer::Listed {
            count: lines.len() as u16,
            more: leases.next().is_some(),
        });
        lines
    }

    fn view_of(&self, lease: &LeaseView<'_>, connected: &BTreeSet<IpAddr>) -> Value {
        let sources: Vec<Value> = lease.sources().map(view_of_source).collect();
        json!({
            "mapped": lease.mapped,
            "peer": lease.key.global,
            "host": lease.host,
            "transport": lease.key.transport.name(),
            "domain": lease.key.domain.as_str(),
            "age_s": lease.age.as_secs(),
            "idle_s": lease.idle.as_secs(),
            "remaining_s": lease.remaining.map(|remaining| remaining.as_secs()),
            "in_force": lease.generation.is_some_and(|generation| generation <= self.seen),
            "sources": sources,
            "orphan": is_orphan(lease, connected),
        })
    }
}

/// Whether nobody who is still there wants the mapping.
fn is_orphan(lease: &LeaseView<'_>, connected: &BTreeSet<IpAddr>) -> bool {
    lease.sources().all(|source| match source {
        Source::Client(client) => !connected.contains(client),
        Source::Fact(..) => false,
    })
}

fn client_of(source: &Source) -> Option<IpAddr> {
    match source {
        Source::Client(client) => Some(*client),
        Source::Fact(..) => None,
    }
}

fn log_made(pending: &Pending, lease: &LeaseView<'_>) {
    tracing::info!(
        event = "mapping_made",
        client = %pending.client,
        mapped = %lease.mapped,
        peer = %lease.key.global,
        domain = %lease.key.domain,
        "an inside address stands for a peer's",
    );
}

/// Sends an answer. A client that has left before it came learns nothing; the mapping ends by its idle timer.
fn send(reply: oneshot::Sender<Reply>, answer: Reply) -> Outcome {
    let _ = reply.send(answer);
    Outcome::Answered
}

/// The host as it stands in a URI: an IPv6 address in brackets (RFC 3986 §3.2.2).
fn host_outside(host: &TargetHost) -> String {
    match host {
        TargetHost::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
        TargetHost::Ip(IpAddr::V4(ip)) => ip.to_string(),
        TargetHost::Name(name) => name.to_string(),
    }
}

fn item(lease: &LeaseView<'_>) -> Item {
    Item {
        mapped: lease.mapped,
        host: lease.host.to_owned(),
        global: lease.key.global,
        transport: lease.key.transport,
        domain: lease.key.domain.clone(),
        lifetime: lease.remaining.unwrap_or_default(),
    }
}

fn view_of_source(source: &Source) -> Value {
    match source {
        Source::Client(client) => json!({ "client": client }),
        Source::Fact(origin, id) => json!({ origin.name(): id.as_str() }),
    }
}

#[cfg(test)]
mod tests;
