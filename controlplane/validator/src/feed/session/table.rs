//! What a reader knows of the facts it has handed on: their names, sizes and ends, so that it can say "full".
//!
//! The facts themselves are the control plane's. Everything here is bounded by [`Bounds`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tollgate_contract::{E164, MAX_KEYS};

use crate::facts::{Fact, LearnedKeyState, RevokedTickets, RouteRef, RouteWithdraw};
use crate::feed::message::{Counts, Kind};
use crate::{Domain, InstanceId, MappingId, RouteId, VServiceId};

/// Which facts are held: what a new connection may go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The validator they are of.
    pub instance: InstanceId,
    /// Its generation: rises when it begins anew.
    pub generation: u64,
    /// The last revision of that generation that was answered.
    pub revision: u64,
}

/// Most facts of each kind held from one source. What goes beyond is refused with 507, never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Routes. Default 100,000.
    pub routes: usize,
    /// Ticket keys. Default 16, the most a keyring holds.
    pub ticket_keys: usize,
    /// Revocations. Default 100,000 (ticket.md 9).
    pub ticket_revokes: usize,
    /// VServices with enrolled numbers. Default 1,000.
    pub local_numbers: usize,
    /// VServices with a domain. Default 1,000.
    pub local_services: usize,
    /// Mappings. Default 1,000, the mapping service's ports.
    pub mappings: usize,
    /// Bytes of all records together, as on the wire. Default 256 MiB: 100,000 routes of 2.6 KiB.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            routes: 100_000,
            ticket_keys: MAX_KEYS,
            ticket_revokes: 100_000,
            local_numbers: 1_000,
            local_services: 1_000,
            mappings: 1_000,
            bytes: 256 << 20,
        }
    }
}

impl Bounds {
    /// The most facts of a kind; 1 for the domain policy, which is one list.
    pub(crate) fn of(&self, kind: Kind) -> usize {
        match kind {
            Kind::RouteUpsert => self.routes,
            Kind::TicketKey => self.ticket_keys,
            Kind::TicketRevoke => self.ticket_revokes,
            Kind::LocalNumbers => self.local_numbers,
            Kind::LocalService => self.local_services,
            Kind::MappingUpsert => self.mappings,
            Kind::DomainPolicy => 1,
            Kind::Hello
            | Kind::HelloAck
            | Kind::Heartbeat
            | Kind::SnapshotBegin
            | Kind::SnapshotEnd
            | Kind::RouteWithdraw
            | Kind::MappingWithdraw
            | Kind::Ack
            | Kind::Nack
            | Kind::VcrReport
            | Kind::RouteFeedback
            | Kind::FallbackEvent => 0,
        }
    }
}

/// The place a fact stands at: a later fact of the same slot replaces it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Route(RouteId),
    Key(u32),
    Revoke(RevokedTickets),
    Policy,
    Numbers(VServiceId),
    Service(VServiceId),
    Mapping(MappingId),
}

/// What a fact does to the slots.
pub(crate) enum Change<'a> {
    /// It stands at this slot.
    Put(Slot),
    /// It ends the facts at a slot.
    Remove(Slot),
    /// It ends every route of a number to a domain.
    RemoveRoutes(E164, &'a Domain),
}

impl Slot {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Route(_) => Kind::RouteUpsert,
            Self::Key(_) => Kind::TicketKey,
            Self::Revoke(_) => Kind::TicketRevoke,
            Self::Policy => Kind::DomainPolicy,
            Self::Numbers(_) => Kind::LocalNumbers,
            Self::Service(_) => Kind::LocalService,
            Self::Mapping(_) => Kind::MappingUpsert,
        }
    }
}

/// What the fact does to the slots.
pub(crate) fn change_of(fact: &Fact) -> Change<'_> {
    match fact {
        Fact::RouteUpsert(route) => Change::Put(Slot::Route(route.route_id.clone())),
        Fact::RouteWithdraw(RouteWithdraw { which, .. }) => match which {
            RouteRef::Id(id) => Change::Remove(Slot::Route(id.clone())),
            RouteRef::NumberAndDomain(number, domain) => Change::RemoveRoutes(*number, domain),
        },
        // A retired key leaves the ring; its epoch must not keep a place.
        Fact::TicketKey(key) if key.state == LearnedKeyState::Retired => Change::Remove(Slot::Key(key.epoch)),
        Fact::TicketKey(key) => Change::Put(Slot::Key(key.epoch)),
        Fact::TicketRevoke(revoke) => Change::Put(Slot::Revoke(revoke.which.clone())),
        Fact::DomainPolicy(_) => Change::Put(Slot::Policy),
        Fact::LocalNumbers(numbers) => Change::Put(Slot::Numbers(numbers.vservice_id)),
        Fact::LocalService(service) => Change::Put(Slot::Service(service.vservice_id)),
        Fact::MappingUpsert(mapping) => Change::Put(Slot::Mapping(mapping.mapping_id.clone())),
        Fact::MappingWithdraw(withdraw) => Change::Remove(Slot::Mapping(withdraw.mapping_id.clone())),
    }
}

/// A fact's end since 1970, for those that end by themselves.
fn end_of(fact: &Fact) -> Option<Duration> {
    match fact {
        Fact::RouteUpsert(route) => Some(route.expires_at),
        Fact::TicketRevoke(revoke) => Some(revoke.until),
        Fact::MappingUpsert(mapping) => Some(mapping.expires_at),
        Fact::RouteWithdraw(_)
        | Fact::TicketKey(_)
        | Fact::DomainPolicy(_)
        | Fact::LocalNumbers(_)
        | Fact::LocalService(_)
        | Fact::MappingWithdraw(_) => None,
    }
}

/// No room for a further fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

/// The facts held, by name, each with a payload of the owner's.
#[derive(Debug)]
pub(crate) struct Table<P = ()> {
    held: BTreeMap<Slot, Held<P>>,
    /// Finds routes by what a withdrawal may name.
    by_number: BTreeMap<(E164, Domain), BTreeSet<RouteId>>,
    /// Finds what has ended.
    by_end: BTreeSet<(Duration, Slot)>,
    counts: Counts,
    bytes: usize,
}

#[derive(Debug)]
struct Held<P> {
    payload: P,
    bytes: usize,
    end: Option<Duration>,
    route: Option<(E164, Domain)>,
}

impl<P> Default for Table<P> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            by_number: BTreeMap::new(),
            by_end: BTreeSet::new(),
            counts: Counts::default(),
            bytes: 0,
        }
    }
}

impl<P> Table<P> {
    /// Notes a checked fact of so many bytes at a time since 1970.
    ///
    /// # Errors
    /// [`TableFull`] if there is no room even after what has ended is forgotten; the table is as before.
    pub(crate) fn note(
        &mut self,
        fact: &Fact,
        (payload, bytes): (P, usize),
        bounds: &Bounds,
        unix: Duration,
    ) -> Result<(), TableFull> {
        let slot = match change_of(fact) {
            Change::Put(slot) => slot,
            Change::Remove(slot) => {
                self.remove(&slot);
                return Ok(());
            }
            Change::RemoveRoutes(number, domain) => {
                self.remove_routes(number, domain);
                return Ok(());
            }
        };
        if !self.has_room(&slot, bytes, bounds) {
            self.forget_ended(unix);
        }
        if !self.has_room(&slot, bytes, bounds) {
            return Err(TableFull);
        }
        self.remove(&slot);
        self.put(slot, fact, (payload, bytes));
        Ok(())
    }

    /// How many facts of each kind are held.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// The payloads of what has not ended, with their kinds, in the order of the slots.
    pub(crate) fn live(&self, unix: Duration) -> impl Iterator<Item = (Kind, &P)> {
        let live = self
            .held
            .iter()
            .filter(move |(_, held)| held.end.is_none_or(|end| unix < end));
        live.map(|(slot, held)| (slot.kind(), &held.payload))
    }

    fn has_room(&self, slot: &Slot, bytes: usize, bounds: &Bounds) -> bool {
        let former = self.held.get(slot);
        let mut counts = self.counts;
        let held = counts.of(slot.kind()).map_or(0, |count| *count);
        let places = held + u64::from(former.is_none());
        let fits = usize::try_from(places).is_ok_and(|places| places <= bounds.of(slot.kind()));
        fits && self.bytes - former.map_or(0, |held| held.bytes) + bytes <= bounds.bytes
    }

    fn put(&mut self, slot: Slot, fact: &Fact, (payload, bytes): (P, usize)) {
        let end = end_of(fact);
        let route = match (fact, &slot) {
            (Fact::RouteUpsert(route), Slot::Route(id)) => {
                let key = (route.number, route.domain.clone());
                self.by_number.entry(key.clone()).or_default().insert(id.clone());
                Some(key)
            }
            _ => None,
        };
        if let Some(end) = end {
            self.by_end.insert((end, slot.clone()));
        }
        if let Some(count) = self.counts.of(slot.kind()) {
            *count += 1;
        }
        self.bytes += bytes;
        let held = Held {
            payload,
            bytes,
            end,
            route,
        };
        self.held.insert(slot, held);
    }

    fn remove(&mut self, slot: &Slot) {
        let Some((slot, held)) = self.held.remove_entry(slot) else {
            return;
        };
        self.bytes -= held.bytes;
        if let Some(count) = self.counts.of(slot.kind()) {
            *count -= 1;
        }
        if let (Some(key), Slot::Route(id)) = (held.route, &slot) {
            self.unlink(key, id);
        }
        if let Some(end) = held.end {
            self.by_end.remove(&(end, slot));
        }
    }

    fn unlink(&mut self, key: (E164, Domain), id: &RouteId) {
        let Entry::Occupied(mut ids) = self.by_number.entry(key) else {
            return;
        };
        ids.get_mut().remove(id);
        if ids.get().is_empty() {
            ids.remove();
        }
    }

    fn remove_routes(&mut self, number: E164, domain: &Domain) {
        for id in self.by_number.remove(&(number, domain.clone())).unwrap_or_default() {
            self.remove(&Slot::Route(id));
        }
    }

    fn forget_ended(&mut self, unix: Duration) {
        while let Some((end, slot)) = self.by_end.first().cloned() {
            if end > unix {
                break;
            }
            self.remove(&slot);
        }
    }
}
