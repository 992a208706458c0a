//! The learned routes of every source, and which of them holds for a number.
//!
//! It checks nothing and reads no clock. Each route costs its slot and one place in each of three ordered indexes, by
//! id, by number and by end; domains and target lists are shared among the routes of a peer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tollgate_contract::{E164, NumberPattern, Route, RouteChange};

use super::{DomainRules, Source};

/// Most routes one source may have for a number: a number belongs to one peer, and a few while it moves.
pub const ROUTES_PER_NUMBER_MAX: usize = 8;

/// A learned route as it is kept: what calls need, and what names it at its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRoute {
    /// Who told it.
    pub source: Source,
    /// Its name there, 1 to 64 characters.
    pub id: Arc<str>,
    /// Its revision there.
    pub revision: u64,
    /// The number called.
    pub number: E164,
    /// When it was proven, since 1970.
    pub learned_at: Duration,
    /// Where calls go; it always has an end.
    pub route: Arc<Route>,
}

impl HeldRoute {
    /// Whether it says what another says; when they were learned does not matter.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let learned_at = other.learned_at;
        Self {
            learned_at,
            ..self.clone()
        } == *other
    }

    /// When it ends, since 1970.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.route.expires.unwrap_or(Duration::MAX)
    }
}

/// The place of a route in the book.
type Slot = u32;

/// All learned routes.
#[derive(Debug, Default)]
pub(super) struct Book {
    slots: Vec<Option<HeldRoute>>,
    free: Vec<Slot>,
    ids: [BTreeMap<Arc<str>, Slot>; Source::ALL.len()],
    numbers: BTreeSet<(E164, Slot)>,
    ends: BTreeSet<(Duration, Slot)>,
    /// Numbers that the policy has routes for: what is learned for them is kept and not used.
    taken: BTreeSet<E164>,
    /// What held for each number changed since the last [`Book::settle`].
    touched: BTreeMap<E164, Option<Arc<Route>>>,
}

impl Book {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn len_of(&self, source: Source) -> usize {
        self.ids[source.index()].len()
    }

    pub(super) fn by_id(&self, source: Source, id: &str) -> Option<&HeldRoute> {
        self.held(*self.ids[source.index()].get(id)?)
    }

    /// Every route of a source, by id.
    pub(super) fn of_source(&self, source: Source) -> impl Iterator<Item = &HeldRoute> {
        self.ids[source.index()].values().filter_map(|slot| self.held(*slot))
    }

    /// Every route for a number, in no order.
    pub(super) fn of_number(&self, number: E164) -> impl Iterator<Item = &HeldRoute> {
        let slots = self.numbers.range((number, Slot::MIN)..=(number, Slot::MAX));
        slots.filter_map(|(_, slot)| self.held(*slot))
    }

    /// Every route for a number above one, in the order of numbers.
    pub(super) fn after(&self, number: Option<E164>) -> impl Iterator<Item = &HeldRoute> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = number.map_or(Unbounded, |number| Excluded((number, Slot::MAX)));
        let slots = self.numbers.range((from, Unbounded));
        slots.filter_map(|(_, slot)| self.held(*slot))
    }

    /// Every route from a place on, with the place after each; places do not move while routes come and go.
    pub(super) fn slots_from(&self, at: usize) -> impl Iterator<Item = (usize, &HeldRoute)> {
        let slots = self.slots.iter().enumerate().skip(at);
        slots.filter_map(|(at, held)| Some((at + 1, held.as_ref()?)))
    }

    /// The route that calls to a number take: the best source's, of those the highest revision's, of those the first
    /// id's; none where the policy has one of its own.
    pub(super) fn winner(&self, number: E164, rules: &DomainRules) -> Option<&HeldRoute> {
        if self.taken.contains(&number) {
            return None;
        }
        self.of_number(number)
            .filter(|held| rules.permits(&held.route.domain))
            .min_by(|a, b| {
                let rank = |held: &HeldRoute| (held.source, std::cmp::Reverse(held.revision));
                rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id))
            })
    }

    /// Adds a route or replaces the one of the same source and id.
    pub(super) fn put(&mut self, held: HeldRoute, rules: &DomainRules) {
        self.remove(held.source, &held.id, rules);
        self.touch(held.number, rules);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // Policies allow 4,000,000 routes at most.
            Slot::try_from(self.slots.len() - 1).expect("the table's bound is below 2^32")
        });
        self.ids[held.source.index()].insert(held.id.clone(), slot);
        self.numbers.insert((held.number, slot));
        self.ends.insert((held.end(), slot));
        self.slots[slot as usize] = Some(held);
    }

    /// Removes a route.
    pub(super) fn remove(&mut self, source: Source, id: &str, rules: &DomainRules) -> Option<HeldRoute> {
        let slot = *self.ids[source.index()].get(id)?;
        let number = self.held(slot)?.number;
        self.touch(number, rules);
        self.ids[source.index()].remove(id);
        let held = self.slots.get_mut(slot as usize).and_then(Option::take)?;
        self.numbers.remove(&(held.number, slot));
        self.ends.remove(&(held.end(), slot));
        self.free.push(slot);
        Some(held)
    }

    /// The route that ends first, if it has ended by a time since 1970.
    pub(super) fn ended(&self, unix: Duration) -> Option<&HeldRoute> {
        let (end, slot) = self.ends.first()?;
        self.held(*slot).filter(|_| *end <= unix)
    }

    /// When the first route ends.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// Numbers that the policy has routes for, from now on.
    pub(super) fn set_taken(&mut self, taken: BTreeSet<E164>, rules: &DomainRules) {
        let differing: Vec<E164> = self.taken.symmetric_difference(&taken).copied().collect();
        for number in differing {
            self.touch(number, rules);
        }
        self.taken = taken;
    }

    /// Notes every number that other rules for domains may change; must come before the new rules are used.
    pub(super) fn touch_domains(&mut self, old: &DomainRules, new: &DomainRules) {
        // One look for each domain, not for each route: a peer's routes share their domain.
        let mut known: BTreeMap<&str, bool> = BTreeMap::new();
        let routes = self.slots.iter().flatten();
        let moved = routes.filter(|held| {
            let domain = &*held.route.domain;
            *known
                .entry(domain)
                .or_insert_with(|| old.permits(domain) != new.permits(domain))
        });
        let numbers: BTreeSet<E164> = moved.map(|held| held.number).collect();
        for number in numbers {
            self.touch(number, old);
        }
    }

    /// What the route table must change since the last time, at most one change for a number.
    pub(super) fn settle(&mut self, rules: &DomainRules) -> Vec<RouteChange> {
        let touched = std::mem::take(&mut self.touched);
        let changes = touched.into_iter().filter_map(|(number, before)| {
            let after = self.winner(number, rules).map(|held| held.route.clone());
            let pattern = NumberPattern::Exact(number);
            (before != after).then_some(RouteChange { pattern, route: after })
        });
        changes.collect()
    }

    /// Every route in use, for a table made anew.
    pub(super) fn winners(&self, rules: &DomainRules) -> impl Iterator<Item = (NumberPattern, Arc<Route>)> {
        let mut last = None;
        let numbers = self.numbers.iter().map(|(number, _)| *number);
        let numbers = numbers.filter(move |number| last.replace(*number) != Some(*number));
        numbers.filter_map(|number| {
            let held = self.winner(number, rules)?;
            Some((NumberPattern::Exact(number), held.route.clone()))
        })
    }

    fn held(&self, slot: Slot) -> Option<&HeldRoute> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn touch(&mut self, number: E164, rules: &DomainRules) {
        if !self.touched.contains_key(&number) {
            let before = self.winner(number, rules).map(|held| held.route.clone());
            self.touched.insert(number, before);
        }
    }
}
