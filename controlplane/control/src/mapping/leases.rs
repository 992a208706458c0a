//! Which mapped port stands for which far address, for whom, and how long.
//!
//! Judges no address, waits for nobody and answers no client; [`MappingDesk`](super::MappingDesk) does. Source: edge.md
//! 1, vap.md 11 rules 5 to 8.

mod lease;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tollgate_contract::{MappingTable, Now};
use tollgate_validator::MappingId;

use lease::{Hold, Lease, Rest, latest};

pub use lease::LeaseView;
pub use terms::{AskError, Claim, LeaseRules, MappingKey, Origin, PORT_QUARANTINE, PutError, Source};

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseCounts {
    /// Mappings that a client wants.
    pub by_clients: usize,
    /// Mappings that facts alone want.
    pub by_facts: usize,
    /// Ports that rest.
    pub resting: usize,
    /// Ports that are free.
    pub free: usize,
}

/// All mappings and the ports they may have.
///
/// At the bound nothing is evicted: the question is refused. Resting ports count against the quota of the client that
/// held them last, so that asking and giving up in turns cannot drain the range.
#[derive(Debug)]
pub struct MappingLeases {
    rules: LeaseRules,
    leases: BTreeMap<u16, Lease>,
    /// Ports in use and resting ones: a key that returns in time finds its port again.
    ports_by_key: BTreeMap<MappingKey, u16>,
    ports_by_fact: BTreeMap<(Origin, MappingId), u16>,
    resting: BTreeMap<u16, Rest>,
    free: BTreeSet<u16>,
    /// Where the search for a free port goes on, so that ports return late.
    next_port: u16,
    charges: BTreeMap<IpAddr, u32>,
    is_changed: bool,
}

impl MappingLeases {
    /// No mappings, every port free.
    #[must_use]
    pub fn new(rules: LeaseRules) -> Self {
        Self {
            free: rules.ports.clone().collect(),
            next_port: *rules.ports.start(),
            rules,
            leases: BTreeMap::new(),
            ports_by_key: BTreeMap::new(),
            ports_by_fact: BTreeMap::new(),
            resting: BTreeMap::new(),
            charges: BTreeMap::new(),
            is_changed: false,
        }
    }

    /// The bounds.
    #[must_use]
    pub const fn rules(&self) -> &LeaseRules {
        &self.rules
    }

    /// A client asks: the same key has the same answer, and its life begins anew.
    ///
    /// # Errors
    /// [`AskError`]; nothing is evicted to make room.
    pub fn ask(&mut self, now: Now, client: IpAddr, key: &MappingKey, host: &str) -> Result<SocketAddr, AskError> {
        let source = Source::Client(client);
        if let Some(port) = self.port_in_use(key)
            && let Some(hold) = self
                .leases
                .get_mut(&port)
                .and_then(|lease| lease.holds.get_mut(&source))
        {
            hold.asked = now.instant;
            return Ok(self.mapped(port));
        }
        let returning = self.resting_of(key).is_some_and(|rest| rest.charged == Some(client));
        if self.charge_of(client) >= self.rules.per_client_max.saturating_add(u32::from(returning)) {
            return Err(AskError::Quota);
        }
        let port = self.any_port(now, key).ok_or(AskError::TableFull)?;
        self.begin(now, port, key, host);
        self.hold(now, port, source, None);
        *self.charges.entry(client).or_default() += 1;
        Ok(self.mapped(port))
    }

    /// A client's mapping of before a restart is there again, as if it had just been asked for; whether its port, its
    /// quota and its key allowed it.
    pub fn restore(&mut self, now: Now, client: IpAddr, key: &MappingKey, host: &str, mapped: SocketAddr) -> bool {
        let has_quota = self.charge_of(client) < self.rules.per_client_max;
        let Some(port) = self.demanded_port(now, key, mapped).ok().filter(|_| has_quota) else {
            return false;
        };
        self.begin(now, port, key, host);
        self.hold(now, port, Source::Client(client), None);
        *self.charges.entry(client).or_default() += 1;
        true
    }

    /// A fact demands a mapping; it replaces what the same fact demanded before.
    ///
    /// # Errors
    /// [`PutError`], of which [`PutError::PrivateTarget`] is not decided here; what was demanded before then stands.
    pub fn put(&mut self, now: Now, origin: Origin, id: &MappingId, claim: &Claim) -> Result<SocketAddr, PutError> {
        if !claim.key.transport.is_reliable() {
            return Err(PutError::NotMappable);
        }
        let port = match claim.mapped {
            Some(mapped) => self.demanded_port(now, &claim.key, mapped)?,
            None => self.any_port(now, &claim.key).ok_or(PutError::TableFull)?,
        };
        self.begin(now, port, &claim.key, &claim.host);
        let former = self.ports_by_fact.insert((origin, id.clone()), port);
        let source = Source::Fact(origin, id.clone());
        self.hold(now, port, source.clone(), claim.expires);
        if let Some(former) = former.filter(|former| *former != port) {
            self.drop_hold(now, former, &source);
        }
        Ok(self.mapped(port))
    }

    /// A fact is over after `drain`; whether it was there.
    pub fn withdraw(&mut self, now: Now, origin: Origin, id: &MappingId, drain: Duration) -> bool {
        let Some(port) = self.ports_by_fact.get(&(origin, id.clone())).copied() else {
            return false;
        };
        let source = Source::Fact(origin, id.clone());
        if drain.is_zero() {
            self.drop_fact(now, port, &source);
            return true;
        }
        let hold = self
            .leases
            .get_mut(&port)
            .and_then(|lease| lease.holds.get_mut(&source));
        if let Some(hold) = hold {
            let end = now.unix.saturating_add(drain);
            hold.expires = Some(hold.expires.map_or(end, |expires| expires.min(end)));
            self.is_changed = true;
        }
        true
    }

    /// A client gives a mapping up; whether it held it.
    pub fn give_up(&mut self, now: Now, client: IpAddr, mapped: SocketAddr) -> bool {
        mapped.ip() == self.rules.bind && self.drop_hold(now, mapped.port(), &Source::Client(client))
    }

    /// A mapping is in use: its life begins anew.
    pub fn note_use(&mut self, now: Now, mapped: SocketAddr) {
        if mapped.ip() == self.rules.bind
            && let Some(lease) = self.leases.get_mut(&mapped.port())
        {
            lease.used = now.instant;
        }
    }

    /// Ends what is over, and says which mapped addresses stand for nothing from now on. Looks at every mapping; once a
    /// second is often enough.
    pub fn expire(&mut self, now: Now) -> Vec<SocketAddr> {
        self.end_rests(now);
        let mut over = Vec::new();
        for (port, lease) in &self.leases {
            let ended = lease.holds.iter().filter(|(source, hold)| {
                self.remaining(now, lease, source, hold)
                    .is_some_and(|remaining| remaining.is_zero())
            });
            over.extend(ended.map(|(source, _)| (*port, source.clone())));
        }
        for (port, source) in &over {
            match source {
                Source::Client(_) => _ = self.drop_hold(now, *port, source),
                Source::Fact(..) => self.drop_fact(now, *port, source),
            }
        }
        let mut ports: Vec<u16> = over.into_iter().map(|(port, _)| port).collect();
        ports.dedup();
        ports.retain(|port| !self.leases.contains_key(port));
        ports.into_iter().map(|port| self.mapped(port)).collect()
    }

    /// The mapping at an inside address.
    #[must_use]
    pub fn at(&self, now: Now, mapped: SocketAddr) -> Option<LeaseView<'_>> {
        let (port, lease) = self.leases.get_key_value(&mapped.port())?;
        (mapped.ip() == self.rules.bind).then(|| self.view(now, *port, lease))
    }

    /// Whether a client holds the mapping at an inside address.
    #[must_use]
    pub fn is_held_by(&self, mapped: SocketAddr, client: IpAddr) -> bool {
        let lease = self
            .leases
            .get(&mapped.port())
            .filter(|_| mapped.ip() == self.rules.bind);
        lease.is_some_and(|lease| lease.holds.contains_key(&Source::Client(client)))
    }

    /// Whether a key is mapped.
    #[must_use]
    pub fn has(&self, key: &MappingKey) -> bool {
        self.port_in_use(key).is_some()
    }

    /// All mappings, by port.
    pub fn iter(&self, now: Now) -> impl Iterator<Item = LeaseView<'_>> {
        self.leases
            .iter()
            .map(move |(port, lease)| self.view(now, *port, lease))
    }

    /// A client's mappings at ports above `after`, lowest first; what remains is what remains for this client.
    pub fn of_client(&self, now: Now, client: IpAddr, after: u16) -> impl Iterator<Item = LeaseView<'_>> {
        let above = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        let source = Source::Client(client);
        self.leases.range(above).filter_map(move |(port, lease)| {
            let hold = lease.holds.get(&source)?;
            Some(LeaseView {
                remaining: self.remaining(now, lease, &source, hold),
                ..self.view(now, *port, lease)
            })
        })
    }

    /// How many there are of each kind.
    #[must_use]
    pub fn counts(&self) -> LeaseCounts {
        let has_client = |lease: &&Lease| lease.holds.keys().any(|source| matches!(source, Source::Client(_)));
        let by_clients = self.leases.values().filter(has_client).count();
        LeaseCounts {
            by_clients,
            by_facts: self.leases.len() - by_clients,
            resting: self.resting.len(),
            free: self.free.len(),
        }
    }

    /// Whether the table differs from the one last published.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The table for a snapshot.
    #[must_use]
    pub fn table(&self) -> MappingTable {
        self.leases
            .iter()
            .map(|(port, lease)| (self.mapped(*port), lease.mapping()))
            .collect()
    }

    /// The table as it is now stands in the snapshot of this generation.
    pub fn on_published(&mut self, generation: u64) {
        self.is_changed = false;
        for lease in self.leases.values_mut() {
            lease.generation.get_or_insert(generation);
        }
    }

    /// The port that a key has or had, or a free one.
    fn any_port(&mut self, now: Now, key: &MappingKey) -> Option<u16> {
        if let Some(known) = self.ports_by_key.get(key) {
            return Some(*known);
        }
        if self.free.is_empty() {
            self.end_rests(now);
        }
        let port = self
            .free
            .range(self.next_port..)
            .next()
            .or_else(|| self.free.first())
            .copied()?;
        self.next_port = port.wrapping_add(1);
        Some(port)
    }

    fn demanded_port(&mut self, now: Now, key: &MappingKey, mapped: SocketAddr) -> Result<u16, PutError> {
        let port = mapped.port();
        if mapped.ip() != self.rules.bind || !self.rules.ports.contains(&port) {
            return Err(PutError::NotMappable);
        }
        self.end_rests(now);
        match self.ports_by_key.get(key) {
            Some(known) if *known == port => Ok(port),
            None if self.free.contains(&port) => Ok(port),
            Some(_) | None => Err(PutError::Conflict),
        }
    }

    /// Makes the mapping of a port unless it is there; the caller adds a hold at once.
    fn begin(&mut self, now: Now, port: u16, key: &MappingKey, host: &str) {
        if self.leases.contains_key(&port) {
            return;
        }
        self.free.remove(&port);
        if let Some(rest) = self.resting.remove(&port) {
            self.uncharge(rest.charged);
        }
        let lease = Lease {
            key: key.clone(),
            host: host.to_owned(),
            made: now.instant,
            used: now.instant,
            generation: None,
            holds: BTreeMap::new(),
        };
        self.leases.insert(port, lease);
        self.ports_by_key.insert(key.clone(), port);
        self.is_changed = true;
    }

    fn hold(&mut self, now: Now, port: u16, source: Source, expires: Option<Duration>) {
        let lease = self.leases.get_mut(&port).expect("begin made or found it");
        let (asked, end) = (now.instant, lease.end());
        lease.holds.insert(source, Hold { asked, expires });
        if lease.end() != end {
            // The data plane may have seen the former end pass.
            lease.generation = None;
            self.is_changed = true;
        }
    }

    fn drop_fact(&mut self, now: Now, port: u16, source: &Source) {
        if let Source::Fact(origin, id) = source {
            self.ports_by_fact.remove(&(*origin, id.clone()));
        }
        self.drop_hold(now, port, source);
    }

    /// Ends a hold, and the mapping with its last one; whether it was there.
    fn drop_hold(&mut self, now: Now, port: u16, source: &Source) -> bool {
        let Some(lease) = self.leases.get_mut(&port) else {
            return false;
        };
        if lease.holds.remove(source).is_none() {
            return false;
        }
        let client = match source {
            Source::Client(client) => Some(*client),
            Source::Fact(..) => None,
        };
        self.is_changed = true;
        if lease.holds.is_empty()
            && let Some(lease) = self.leases.remove(&port)
        {
            // The client's charge goes on with the rest.
            let until = now.instant + self.rules.quarantine;
            let (key, charged) = (lease.key, client);
            self.resting.insert(port, Rest { key, until, charged });
        } else {
            self.uncharge(client);
        }
        true
    }

    fn end_rests(&mut self, now: Now) {
        let over = self.resting.iter().filter(|(_, rest)| rest.until <= now.instant);
        let over: Vec<u16> = over.map(|(port, _)| *port).collect();
        for port in over {
            if let Some(rest) = self.resting.remove(&port) {
                self.ports_by_key.remove(&rest.key);
                self.uncharge(rest.charged);
                self.free.insert(port);
            }
        }
    }

    fn uncharge(&mut self, client: Option<IpAddr>) {
        let Some(client) = client else { return };
        let Some(charge) = self.charges.get_mut(&client) else {
            return;
        };
        *charge = charge.saturating_sub(1);
        if *charge == 0 {
            self.charges.remove(&client);
        }
    }

    fn charge_of(&self, client: IpAddr) -> u32 {
        self.charges.get(&client).copied().unwrap_or_default()
    }

    fn port_in_use(&self, key: &MappingKey) -> Option<u16> {
        let port = self.ports_by_key.get(key).copied();
        port.filter(|port| self.leases.contains_key(port))
    }

    fn resting_of(&self, key: &MappingKey) -> Option<&Rest> {
        self.resting.get(self.ports_by_key.get(key)?)
    }

    fn mapped(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.rules.bind, port)
    }

    /// What is left of a hold; `None` if it has no end.
    fn remaining(&self, now: Now, lease: &Lease, source: &Source, hold: &Hold) -> Option<Duration> {
        match source {
            Source::Client(_) => {
                let idle = now.instant.saturating_duration_since(hold.asked.max(lease.used));
                Some(self.rules.idle_timeout.saturating_sub(idle))
            }
            Source::Fact(..) => hold.expires.map(|expires| expires.saturating_sub(now.unix)),
        }
    }

    fn view<'l>(&self, now: Now, port: u16, lease: &'l Lease) -> LeaseView<'l> {
        let ends = lease
            .holds
            .iter()
            .map(|(source, hold)| self.remaining(now, lease, source, hold));
        let asked = lease.holds.values().map(|hold| hold.asked).max();
        let last = asked.map_or(lease.used, |asked| asked.max(lease.used));
        LeaseView {
            mapped: self.mapped(port),
            key: &lease.key,
            host: &lease.host,
            age: now.instant.saturating_duration_since(lease.made),
            idle: now.instant.saturating_duration_since(last),
            remaining: latest(ends),
            generation: lease.generation,
            holds: &lease.holds,
        }
    }
}

#[cfg(test)]
mod tests;
