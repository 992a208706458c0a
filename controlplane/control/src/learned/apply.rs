//! How a batch is judged as a whole and then put in force.
//!
//! Nothing is changed before every entry is judged, so a refused batch leaves no trace but counters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tollgate_contract::{E164, Route};
use tollgate_validator::facts::{
    Fact, LearnedKey, LearnedRoute, LocalNumbers, Mapping, MappingWithdraw, RouteRef, RouteWithdraw, TicketRevoke,
};

use super::book::ROUTES_PER_NUMBER_MAX;
use super::kept::Kind;
use super::refusal::REFUSED_LISTED_MAX;
use super::table::{Bounds, Removed};
use super::{
    Batch, Cause, Changes, HeldRoute, Kept, LearnedRoutes, Name, Op, Outcome, Refused, Removal, Scope, Source,
    Tolerance,
};

impl LearnedRoutes {
    /// Applies what a source tells, at a time since 1970: whole or not at all, but for entries that
    /// [`Tolerance::SkipBad`] leaves out. The same batch twice changes nothing. What has ended by now ends first.
    pub fn apply(&mut self, unix: Duration, source: Source, batch: Batch) -> Outcome {
        let mut changes = self.expire(unix);
        let (refused, gone) = self.judge(unix, source, &batch);
        let causes: Vec<Cause> = refused.iter().map(|refusal| refusal.cause).collect();
        self.count_refused(&causes);
        let is_overfull = refused.iter().any(|refusal| refusal.cause == Cause::Full);
        let is_refused = is_overfull || (batch.tolerance == Tolerance::None && !refused.is_empty());
        let is_stale = self.is_stale(source, &batch);
        if !is_refused && !is_stale {
            changes.extend(self.commit(unix, source, batch, &refused, gone));
        }
        let refused = if is_stale {
            self.count_refused(&[Cause::Stale]);
            vec![Refused::of(0, Cause::Stale)]
        } else {
            refused
        };
        Outcome {
            is_applied: !is_refused && !is_stale,
            refused_count: refused.len(),
            refused: refused.into_iter().take(REFUSED_LISTED_MAX).collect(),
            changes,
        }
    }

    /// Takes back what a source told; the number says how many facts there were.
    pub fn remove(&mut self, unix: Duration, source: Source, what: &Removal) -> (usize, Changes) {
        let mut changes = self.expire(unix);
        let ids: Vec<Arc<str>> = match what {
            Removal::AllRoutes => self.book.of_source(source).map(|held| held.id.clone()).collect(),
            Removal::RoutesOf(number) => {
                let routes = self.book.of_number(*number);
                let ours = routes.filter(|held| held.source == source);
                ours.map(|held| held.id.clone()).collect()
            }
            Removal::AllMappings | Removal::AllRevocations | Removal::Mapping(_) | Removal::Revocation(_) => Vec::new(),
        };
        let names: Vec<Name> = match what {
            Removal::AllMappings => self.names_in(source, Scope::Mappings),
            Removal::AllRevocations => self.names_in(source, Scope::Revocations),
            Removal::Mapping(id) => vec![Name::Mapping(id.clone())],
            Removal::Revocation(which) => vec![Name::Revocation(which.clone())],
            Removal::AllRoutes | Removal::RoutesOf(_) => Vec::new(),
        };
        let routes = ids.iter().filter(|id| self.remove_route(source, id)).count();
        let others: Vec<Removed> = names.iter().filter_map(|name| self.remove_kept(source, name)).collect();
        changes.extend(self.settled(others.contains(&Removed::OfSnapshot)));
        (routes + others.len(), changes)
    }

    /// A snapshot of an earlier generation of the same run is late, whatever it says.
    fn is_stale(&self, source: Source, batch: &Batch) -> bool {
        let (Some(held), Some(told)) = (self.mark(source), batch.mark) else {
            return false;
        };
        held.instance == told.instance && told.generation < held.generation
    }

    /// The refused entries, and the routes and other facts that a replacing batch no longer names.
    fn judge(&self, unix: Duration, source: Source, batch: &Batch) -> (Vec<Refused>, Gone) {
        let mut plan = Plan::new(self, source, batch);
        let mut refused = Vec::new();
        for (index, fact) in batch.facts.iter().enumerate() {
            if let Err(cause) = self.judge_one(unix, &mut plan, fact) {
                refused.push(Refused::of(index, cause));
                if cause == Cause::Full {
                    break;
                }
            }
        }
        let mut gone = Gone::default();
        if batch.scope.has_routes() {
            let held = self.book.of_source(source).map(|held| &held.id);
            gone.routes = held.filter(|id| !plan.ids.contains(&***id)).cloned().collect();
        }
        let names = self.names_in(source, batch.scope).into_iter();
        gone.names = names.filter(|name| !plan.names.contains(name)).collect();
        (refused, gone)
    }

    fn judge_one<'f>(&self, unix: Duration, plan: &mut Plan<'f>, fact: &'f Fact) -> Result<(), Cause> {
        match fact {
            Fact::RouteUpsert(route) => self.judge_route(unix, plan, route),
            Fact::TicketKey(key) => self.judge_key(unix, plan, key),
            Fact::TicketRevoke(revoke) => {
                self.claim(plan, Name::Revocation(revoke.which.clone()))?;
                in_time(unix, revoke.until)
            }
            Fact::DomainPolicy(policy) => {
                self.claim(plan, Name::Domains)?;
                let fits = policy.domains.len() <= Bounds::DOMAINS_MAX;
                fits.then_some(()).ok_or(Cause::Full)
            }
            Fact::LocalNumbers(numbers) => {
                self.claim(plan, Name::Numbers(numbers.vservice_id))?;
                self.judge_numbers(plan, numbers)
            }
            Fact::LocalService(service) => self.claim(plan, Name::Service(service.vservice_id)),
            Fact::MappingUpsert(mapping) => {
                self.claim(plan, Name::Mapping(mapping.mapping_id.clone()))?;
                in_time(unix, mapping.expires_at)?;
                // An inside port of 0 leaves the choice to the mapping service.
                (mapping.global.port != 0).then_some(()).ok_or(Cause::Syntax)
            }
            Fact::RouteWithdraw(_) | Fact::MappingWithdraw(_) => Ok(()),
        }
    }

    fn judge_route<'f>(&self, unix: Duration, plan: &mut Plan<'f>, route: &'f LearnedRoute) -> Result<(), Cause> {
        let id = route.route_id.as_str();
        let is_first = plan.ids.insert(id);
        if !is_first && plan.source.is_operator() {
            return Err(Cause::Duplicate);
        }
        in_time(unix, route.expires_at)?;
        if route.targets.iter().all(|target| target.socket_addr().is_none()) {
            return Err(Cause::Route(tollgate_validator::checks::RouteFault::HostName));
        }
        let known = self.book.by_id(plan.source, id);
        if let Some(known) = known
            && !plan.is_in_order
        {
            match route.revision.cmp(&known.revision) {
                std::cmp::Ordering::Less => return Err(Cause::Stale),
                std::cmp::Ordering::Equal if !known.says_the_same(&held_of(plan.source, route)) => {
                    return Err(Cause::Conflict);
                }
                std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => {}
            }
        }
        let is_new = known.is_none() || plan.scope.has_routes();
        if is_new && is_first {
            plan.routes += 1;
            if plan.routes > self.bounds.routes_max {
                return Err(Cause::Full);
            }
        }
        let stays = known.is_some_and(|known| known.number == route.number) && !plan.scope.has_routes();
        if !stays && is_first {
            let of_number = plan.of_number.entry(route.number).or_insert_with(|| {
                let others = self.book.of_number(route.number);
                match plan.scope.has_routes() {
                    true => 0,
                    false => others.filter(|held| held.source == plan.source).count(),
                }
            });
            *of_number += 1;
            if *of_number > ROUTES_PER_NUMBER_MAX {
                return Err(Cause::Crowded);
            }
        }
        Ok(())
    }

    fn judge_key(&self, unix: Duration, plan: &mut Plan<'_>, key: &LearnedKey) -> Result<(), Cause> {
        self.claim(plan, Name::Key(key.epoch))?;
        if key.for_verifying().is_none() {
            return Ok(());
        }
        in_time(unix, key.accept_until)?;
        for source in Source::ALL {
            if let Some(Kept::Key(known)) = self.keep.get(source, &Name::Key(key.epoch))
                && (known.secret != key.secret || known.alg != key.alg)
            {
                return Err(Cause::EpochTaken);
            }
        }
        Ok(())
    }

    fn judge_numbers(&self, plan: &mut Plan<'_>, numbers: &LocalNumbers) -> Result<(), Cause> {
        let name = Name::Numbers(numbers.vservice_id);
        let held = self.keep.iter().filter_map(|(known, source, fact)| {
            let Kept::Numbers(held) = fact else { return None };
            ((known, source) != (&name, plan.source)).then(|| enrolled(held))
        });
        let held: u64 = held.sum();
        plan.enrolled = plan.enrolled.saturating_add(enrolled(numbers));
        match held.saturating_add(plan.enrolled) <= Bounds::ENROLLED_MAX {
            true => Ok(()),
            false => Err(Cause::Full),
        }
    }

    /// Notes that the batch names a fact; new ones must fit into their list.
    fn claim(&self, plan: &mut Plan<'_>, name: Name) -> Result<(), Cause> {
        let kind = name.kind();
        let is_known = self.keep.get(plan.source, &name).is_some();
        let replaces = plan.scope.has(&name);
        if plan.names.contains(&name) {
            let may_repeat = !plan.source.is_operator();
            return may_repeat.then_some(()).ok_or(Cause::Duplicate);
        }
        plan.names.insert(name);
        if !is_known || replaces {
            plan.counts[kind as usize] += 1;
        }
        let fits = plan.counts[kind as usize] <= self.bounds.of(kind);
        fits.then_some(()).ok_or(Cause::Full)
    }

    /// Puts every entry in force that was not refused.
    fn commit(&mut self, unix: Duration, source: Source, batch: Batch, refused: &[Refused], gone: Gone) -> Changes {
        let mut has_additions = false;
        for id in &gone.routes {
            self.remove_route(source, id);
        }
        for name in &gone.names {
            has_additions |= self.remove_kept(source, name) == Some(Removed::OfSnapshot);
        }
        let mut refused = refused.iter().map(|refusal| refusal.index).peekable();
        for (index, fact) in batch.facts.into_iter().enumerate() {
            if refused.next_if_eq(&index).is_none() {
                has_additions |= self.commit_one(unix, source, fact);
            }
        }
        if let Some(mark) = batch.mark
            && self.mark(source) != Some(mark)
        {
            self.marks[source.index()] = Some(mark);
            self.journal.note(|| Op::Mark(source, mark));
        }
        self.settled(has_additions)
    }

    /// Puts an entry in force; whether anything but routes changed.
    fn commit_one(&mut self, unix: Duration, source: Source, fact: Fact) -> bool {
        match fact {
            Fact::RouteUpsert(route) => {
                self.put_route(held_of(source, &route));
                false
            }
            Fact::RouteWithdraw(withdraw) => {
                self.withdraw_route(source, &withdraw);
                false
            }
            Fact::TicketKey(key) => match key.for_verifying() {
                Some(_) => self.put_kept(source, Kept::Key(Arc::new(key))),
                None => self.remove_kept(source, &Name::Key(key.epoch)).is_some(),
            },
            Fact::TicketRevoke(revoke) => self.put_revocation(source, revoke),
            Fact::DomainPolicy(policy) => self.put_kept(source, Kept::Domains(Arc::new(policy))),
            Fact::LocalNumbers(numbers) => self.put_kept(source, Kept::Numbers(Arc::new(numbers))),
            Fact::LocalService(service) => self.put_kept(source, Kept::Service(Arc::new(service))),
            Fact::MappingUpsert(mapping) => self.put_kept(source, Kept::Mapping(Arc::new(mapping))),
            Fact::MappingWithdraw(withdraw) => self.withdraw_mapping(unix, source, &withdraw),
        }
    }

    fn put_revocation(&mut self, source: Source, revoke: TicketRevoke) -> bool {
        self.put_kept(source, Kept::Revocation(Arc::new(revoke)))
    }

    fn withdraw_route(&mut self, source: Source, withdraw: &RouteWithdraw) {
        match &withdraw.which {
            RouteRef::Id(id) => {
                self.remove_route(source, id.as_str());
            }
            RouteRef::NumberAndDomain(number, domain) => {
                let routes = self.book.of_number(*number);
                let named = routes.filter(|held| held.source == source && *held.route.domain == *domain.as_str());
                let ids: Vec<Arc<str>> = named.map(|held| held.id.clone()).collect();
                for id in ids {
                    self.remove_route(source, &id);
                }
            }
        }
    }

    /// A mapping taken back goes on until its drain is over, so that calls in progress keep their far side.
    fn withdraw_mapping(&mut self, unix: Duration, source: Source, withdraw: &MappingWithdraw) -> bool {
        let name = Name::Mapping(withdraw.mapping_id.clone());
        if withdraw.drain.is_zero() {
            self.remove_kept(source, &name);
            return false;
        }
        let Some(Kept::Mapping(mapping)) = self.keep.get(source, &name) else {
            return false;
        };
        let mapping = Mapping {
            expires_at: mapping.expires_at.min(unix.saturating_add(withdraw.drain)),
            ..Mapping::clone(mapping)
        };
        self.put_kept(source, Kept::Mapping(Arc::new(mapping)))
    }

    fn names_in(&self, source: Source, scope: Scope) -> Vec<Name> {
        if matches!(scope, Scope::Delta | Scope::Routes) {
            return Vec::new();
        }
        let names = self.keep.names_of(source);
        names.filter(|name| scope.has(name)).cloned().collect()
    }
}

/// What a replacing batch no longer names.
#[derive(Default)]
struct Gone {
    routes: Vec<Arc<str>>,
    names: Vec<Name>,
}

/// What the tables would hold if the entries judged so far were in force.
struct Plan<'f> {
    source: Source,
    scope: Scope,
    /// Whether the last word holds, whatever revision a route names.
    is_in_order: bool,
    /// Routes the batch names.
    ids: BTreeSet<&'f str>,
    /// Other facts it names.
    names: BTreeSet<Name>,
    /// Routes of all sources. Withdrawals of the same batch make no room.
    routes: usize,
    /// Routes of this source, by number.
    of_number: BTreeMap<E164, usize>,
    counts: [usize; Kind::COUNT],
    /// Numbers that the batch enrols.
    enrolled: u64,
}

impl Plan<'_> {
    fn new(table: &LearnedRoutes, source: Source, batch: &Batch) -> Self {
        let scope = batch.scope;
        let replaced = if scope.has_routes() {
            table.book.len_of(source)
        } else {
            0
        };
        let mut counts = table.keep.counts();
        for name in table.names_in(source, scope) {
            counts[name.kind() as usize] -= 1;
        }
        Self {
            source,
            scope,
            is_in_order: scope.has_routes() || source.is_operator() || batch.mark.is_some(),
            ids: BTreeSet::new(),
            names: BTreeSet::new(),
            routes: table.book.len() - replaced,
            of_number: BTreeMap::new(),
            counts,
            enrolled: 0,
        }
    }
}

fn in_time(unix: Duration, end: Duration) -> Result<(), Cause> {
    if end <= unix { Err(Cause::Expired) } else { Ok(()) }
}

fn enrolled(numbers: &LocalNumbers) -> u64 {
    let sizes = numbers.ranges.iter().map(|range| super::view::size(*range));
    sizes.fold(0, u64::saturating_add)
}

fn held_of(source: Source, route: &LearnedRoute) -> HeldRoute {
    HeldRoute {
        source,
        id: Arc::from(route.route_id.as_str()),
        revision: route.revision,
        number: route.number,
        learned_at: route.learned_at,
        route: Arc::new(Route {
            domain: Arc::from(route.domain.as_str()),
            targets: route.targets.iter().filter_map(|target| target.socket_addr()).collect(),
            ticket: Some(route.ticket.clone()),
            expires: Some(route.expires_at),
        }),
    }
}
