//! All learned facts of all sources.
//!
//! It decides which facts hold and says what changes; it stores and publishes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_contract::{E164, MAX_KEYS, NumberPattern, Route};
use tollgate_validator::facts::{Fact, LearnedRoute, Mapping, RouteTarget, TargetHost};
use tollgate_validator::{Domain, MappingId, VServiceId};

use super::book::Book;
use super::intern::Interned;
use super::kept::{Keep, Kind};
use super::{Cause, Changes, DomainRules, HeldRoute, Journal, Kept, MappingChange, Mark, Name, Op, Source, Stats};

/// Most entries that end in one call of [`LearnedRoutes::expire`]; the next call goes on.
pub(super) const EXPIRED_PER_CALL_MAX: usize = 20_000;

/// How much may be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Routes of all sources: `learned.routes_max`.
    pub routes_max: usize,
    /// Ticket keys of all sources: what the policy's leave of the ring's 16.
    pub keys_max: usize,
}

impl Bounds {
    /// Revocations of each kind, by ticket, domain and number (ticket.md 9).
    pub const REVOCATIONS_MAX: usize = 100_000;
    /// Mappings of all sources.
    pub const MAPPINGS_MAX: usize = 20_000;
    /// Domains of one policy.
    pub const DOMAINS_MAX: usize = 10_000;
    /// VServices of ours, of all sources.
    pub const VSERVICES_MAX: usize = 256;
    /// Enrolled numbers, of all sources.
    pub const ENROLLED_MAX: u64 = 100_000;

    pub(super) const fn of(self, kind: Kind) -> usize {
        match kind {
            Kind::Keys => self.keys_max,
            Kind::RevokedUuids | Kind::RevokedDomains | Kind::RevokedNumbers => Self::REVOCATIONS_MAX,
            Kind::DomainPolicies => Source::ALL.len(),
            Kind::Numbers | Kind::Services => Self::VSERVICES_MAX,
            Kind::Mappings => Self::MAPPINGS_MAX,
        }
    }
}

/// Every learned fact with its source.
#[derive(Debug)]
pub struct LearnedRoutes {
    pub(super) bounds: Bounds,
    pub(super) book: Book,
    pub(super) keep: Keep,
    pub(super) rules: DomainRules,
    pub(super) interned: Interned,
    pub(super) marks: [Option<Mark>; Source::ALL.len()],
    pub(super) journal: Journal,
    /// Since the last [`LearnedRoutes::settled`].
    mapping_changes: Vec<MappingChange>,
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) expired: u64,
}

impl LearnedRoutes {
    /// Nothing learned yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            book: Book::default(),
            keep: Keep::default(),
            rules: DomainRules::default(),
            interned: Interned::new(),
            marks: [None; Source::ALL.len()],
            journal: Journal::default(),
            mapping_changes: Vec::new(),
            refused: BTreeMap::new(),
            expired: 0,
        }
    }

    /// What a new policy bounds, and the numbers it has routes for. What exceeds a smaller bound stays until it ends;
    /// more is refused.
    pub fn set_policy(&mut self, bounds: Bounds, numbers: BTreeSet<E164>) -> Changes {
        self.bounds = bounds;
        self.book.set_taken(numbers, &self.rules);
        self.settled(false)
    }

    /// Ends what has ended by a time since 1970, at most 20,000 entries a call. A revocation, a key and a mapping end
    /// too; the losing route of a number takes over.
    pub fn expire(&mut self, unix: Duration) -> Changes {
        let mut has_additions = false;
        for _ in 0..EXPIRED_PER_CALL_MAX {
            if let Some((source, id)) = self.book.ended(unix).map(|held| (held.source, held.id.clone())) {
                self.remove_route(source, &id);
                self.expired += 1;
            } else if let Some((name, source)) = self.keep.ended(unix) {
                has_additions |= self.remove_kept(source, &name) == Some(Removed::OfSnapshot);
            } else {
                break;
            }
        }
        self.settled(has_additions)
    }

    /// When the next fact ends, since 1970.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        [self.book.next_end(), self.keep.next_end()].into_iter().flatten().min()
    }

    /// Every route in use, for a table made anew; most tables follow [`Changes`].
    pub fn routes(&self) -> impl Iterator<Item = (NumberPattern, Arc<Route>)> {
        self.book.winners(&self.rules)
    }

    /// The learned route in use for a number.
    #[must_use]
    pub fn in_use(&self, number: E164) -> Option<&HeldRoute> {
        self.book.winner(number, &self.rules)
    }

    /// Routes held, of all sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.book.len()
    }

    /// Whether no route is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a source stands.
    #[must_use]
    pub fn mark(&self, source: Source) -> Option<Mark> {
        self.marks[source.index()]
    }

    /// What changed since the store was told last.
    pub const fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Takes in what the store held, past no check but the bounds: it was checked when it was learned. What does not
    /// fit is told by `false`.
    pub fn restore(&mut self, op: Op) -> bool {
        match op {
            Op::PutRoute(held) => {
                let is_new = self.book.by_id(held.source, &held.id).is_none();
                if is_new && self.book.len() >= self.bounds.routes_max {
                    return false;
                }
                let held = self.shared(held);
                self.book.put(held, &self.rules);
            }
            Op::Put(source, fact) => {
                let kind = fact.name().kind();
                if self.keep.count(kind) >= self.bounds.of(kind) {
                    return false;
                }
                let is_domains = fact.name() == Name::Domains;
                self.keep.put(source, fact);
                if is_domains {
                    self.join_domains();
                }
            }
            Op::Mark(source, mark) => self.marks[source.index()] = Some(mark),
            Op::RemoveRoute(..) | Op::Remove(..) => {}
        }
        true
    }

    /// Forgets what changed so far: a table made anew from [`LearnedRoutes::routes`] has it.
    pub fn settle_restored(&mut self) {
        self.settled(false);
        self.journal.take();
    }

    /// Up to `most` routes from a place on, for a store that is written anew, and the next place. Places do not move
    /// while routes come and go: the first is 0, and the end is where no more come.
    pub(crate) fn routes_from(&self, place: usize, most: usize) -> (Vec<Op>, usize) {
        let routes = self.book.slots_from(place).take(most);
        let (places, ops): (Vec<usize>, Vec<Op>) =
            routes.map(|(next, held)| (next, Op::PutRoute(held.clone()))).unzip();
        (ops, places.last().copied().unwrap_or(place))
    }

    /// Everything but routes, for a store that is written anew.
    pub(crate) fn all_but_routes(&self) -> Vec<Op> {
        let marks = Source::ALL
            .into_iter()
            .filter_map(|source| Some((source, self.mark(source)?)));
        let marks = marks.map(|(source, mark)| Op::Mark(source, mark));
        let facts = self.keep.iter().map(|(_, source, fact)| Op::Put(source, fact.clone()));
        marks.chain(facts).collect()
    }

    /// Everything a source told, as facts: what the feed's reader wants to know of an earlier run. What only a validator
    /// needs of a route is not kept, so its URIs are plain, and VService and evidence are missing.
    pub fn facts_of(&self, source: Source) -> impl Iterator<Item = Fact> {
        let routes = self.book.of_source(source).filter_map(fact_of);
        let others = self.keep.iter().filter(move |(_, of, _)| *of == source);
        routes.chain(others.map(|(_, _, fact)| fact.fact()))
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::of(self)
    }

    pub(super) fn count_refused(&mut self, causes: &[Cause]) {
        for cause in causes {
            *self.refused.entry(cause.name()).or_default() += 1;
        }
    }

    pub(super) fn settled(&mut self, has_additions: bool) -> Changes {
        Changes {
            routes: self.book.settle(&self.rules),
            mappings: std::mem::take(&mut self.mapping_changes),
            has_additions,
        }
    }

    /// The same route with domain and targets that others of the peer have too.
    pub(super) fn shared(&mut self, held: HeldRoute) -> HeldRoute {
        let route = Route {
            domain: self.interned.domain(&held.route.domain),
            targets: self.interned.targets(&held.route.targets),
            ticket: held.route.ticket.clone(),
            expires: held.route.expires,
        };
        HeldRoute {
            route: Arc::new(route),
            ..held
        }
    }

    /// Adds or replaces a route; `false` if it is there already as it is.
    pub(super) fn put_route(&mut self, held: HeldRoute) -> bool {
        let known = self.book.by_id(held.source, &held.id);
        if known.is_some_and(|known| known.says_the_same(&held)) {
            return false;
        }
        let held = self.shared(held);
        self.journal.note(|| Op::PutRoute(held.clone()));
        self.book.put(held, &self.rules);
        true
    }

    pub(super) fn remove_route(&mut self, source: Source, id: &str) -> bool {
        let Some(held) = self.book.remove(source, id, &self.rules) else {
            return false;
        };
        self.journal.note(|| Op::RemoveRoute(source, held.id));
        true
    }

    /// Adds or replaces a fact that is no route; whether a snapshot shows the difference.
    pub(super) fn put_kept(&mut self, source: Source, fact: Kept) -> bool {
        if !self.keep.put(source, fact.clone()) {
            return false;
        }
        self.journal.note(|| Op::Put(source, fact.clone()));
        match fact {
            Kept::Mapping(mapping) => {
                let id = mapping.mapping_id.clone();
                self.note_mapping(source, id, Some(mapping));
                return false;
            }
            Kept::Domains(_) => self.join_domains(),
            Kept::Key(_) | Kept::Revocation(_) | Kept::Numbers(_) | Kept::Service(_) => {}
        }
        true
    }

    /// Removes a fact that is no route, if it is there.
    pub(super) fn remove_kept(&mut self, source: Source, name: &Name) -> Option<Removed> {
        self.keep.remove(source, name)?;
        self.journal.note(|| Op::Remove(source, name.clone()));
        match name {
            Name::Mapping(id) => {
                self.note_mapping(source, id.clone(), None);
                return Some(Removed::Beside);
            }
            Name::Domains => self.join_domains(),
            Name::Key(_) | Name::Revocation(_) | Name::Numbers(_) | Name::Service(_) => {}
        }
        Some(Removed::OfSnapshot)
    }

    fn note_mapping(&mut self, source: Source, id: MappingId, mapping: Option<Arc<Mapping>>) {
        self.mapping_changes.push(MappingChange { source, id, mapping });
    }

    /// Joins the sources' domain policies anew and notes the numbers that it moves.
    fn join_domains(&mut self) {
        let policies = self.keep.iter().filter_map(|(_, source, fact)| match fact {
            Kept::Domains(policy) => Some((source, policy.clone())),
            Kept::Key(_) | Kept::Revocation(_) | Kept::Numbers(_) | Kept::Service(_) | Kept::Mapping(_) => None,
        });
        let rules = DomainRules::of(&policies.collect());
        if rules != self.rules {
            self.book.touch_domains(&self.rules, &rules);
            self.rules = rules;
        }
    }
}

/// What a removed fact was to a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removed {
    /// A part of it.
    OfSnapshot,
    /// It reaches the data plane by another way.
    Beside,
}

/// A kept route as a fact; ids and domains were read from such when it was learned.
fn fact_of(held: &HeldRoute) -> Option<Fact> {
    let domain: Domain = held.route.domain.parse().ok()?;
    let targets = held.route.targets.iter().zip(0..).map(|(at, priority)| RouteTarget {
        uri: learned_uri(domain.as_str(), *at),
        host: TargetHost::Ip(at.ip()),
        port: at.port(),
        expected_tls_domain: domain.clone(),
        priority,
    });
    Some(Fact::RouteUpsert(Box::new(LearnedRoute {
        route_id: held.id.parse().ok()?,
        revision: held.revision,
        number: held.number,
        targets: targets.collect(),
        domain,
        ticket: held.route.ticket.clone()?,
        learned_at: held.learned_at,
        expires_at: held.end(),
        vservice_id: VServiceId(0),
        peer_node: None,
        evidence: None,
    })))
}

/// The URI that a route has whose source told an address alone, in the form of learned ones (vap.md 6).
pub(super) fn learned_uri(domain: &str, at: SocketAddr) -> String {
    match at {
        SocketAddr::V4(at) => format!("sip:edge@{domain}:{};maddr={};transport=tcp", at.port(), at.ip()),
        SocketAddr::V6(at) => format!("sip:edge@{domain}:{};maddr=[{}];transport=tcp", at.port(), at.ip()),
    }
}

impl Default for Bounds {
    /// A million routes, and every key of the ring.
    fn default() -> Self {
        Self {
            routes_max: 1_000_000,
            keys_max: MAX_KEYS,
        }
    }
}
