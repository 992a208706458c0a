//! Everything learned that is no route: revocations, ticket keys, mappings, domain policies, and what is local.
//!
//! It checks nothing and reads no clock; every list is bounded by who fills it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tollgate_validator::facts::{
    DomainPolicy, Fact, LearnedKey, LocalNumbers, LocalService, Mapping, RevokedTickets, TicketRevoke,
};
use tollgate_validator::{MappingId, VServiceId};

use super::Source;

/// What names a fact that is no route, at its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The key of an epoch.
    Key(u32),
    /// A revocation.
    Revocation(RevokedTickets),
    /// The domain policy.
    Domains,
    /// The numbers of a VService.
    Numbers(VServiceId),
    /// The domain and edges of a VService.
    Service(VServiceId),
    /// A mapping.
    Mapping(MappingId),
}

/// A fact that is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A ticket key.
    Key(Arc<LearnedKey>),
    /// A revocation.
    Revocation(Arc<TicketRevoke>),
    /// A domain policy.
    Domains(Arc<DomainPolicy>),
    /// Enrolled numbers.
    Numbers(Arc<LocalNumbers>),
    /// A domain of ours.
    Service(Arc<LocalService>),
    /// A mapping.
    Mapping(Arc<Mapping>),
}

impl Kept {
    /// What names it.
    #[must_use]
    pub fn name(&self) -> Name {
        match self {
            Self::Key(key) => Name::Key(key.epoch),
            Self::Revocation(revoke) => Name::Revocation(revoke.which.clone()),
            Self::Domains(_) => Name::Domains,
            Self::Numbers(numbers) => Name::Numbers(numbers.vservice_id),
            Self::Service(service) => Name::Service(service.vservice_id),
            Self::Mapping(mapping) => Name::Mapping(mapping.mapping_id.clone()),
        }
    }

    /// As a source tells it.
    #[must_use]
    pub fn fact(&self) -> Fact {
        match self {
            Self::Key(key) => Fact::TicketKey(LearnedKey::clone(key)),
            Self::Revocation(revoke) => Fact::TicketRevoke(TicketRevoke::clone(revoke)),
            Self::Domains(policy) => Fact::DomainPolicy(DomainPolicy::clone(policy)),
            Self::Numbers(numbers) => Fact::LocalNumbers(LocalNumbers::clone(numbers)),
            Self::Service(service) => Fact::LocalService(LocalService::clone(service)),
            Self::Mapping(mapping) => Fact::MappingUpsert(Mapping::clone(mapping)),
        }
    }

    /// When it ends, since 1970; `None` for what lasts until it is replaced.
    #[must_use]
    pub fn end(&self) -> Option<Duration> {
        match self {
            Self::Key(key) => Some(key.accept_until),
            Self::Revocation(revoke) => Some(revoke.until),
            Self::Mapping(mapping) => Some(mapping.expires_at),
            Self::Domains(_) | Self::Numbers(_) | Self::Service(_) => None,
        }
    }
}

/// The facts that are no routes, by name and source, so that those of one kind and of one name stand together and the
/// best source comes first.
#[derive(Debug, Default)]
pub(super) struct Keep {
    facts: BTreeMap<(Name, Source), Kept>,
    ends: BTreeSet<(Duration, Name, Source)>,
    counts: [usize; Kind::COUNT],
}

/// A list with a bound of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Keys,
    RevokedUuids,
    RevokedDomains,
    RevokedNumbers,
    DomainPolicies,
    Numbers,
    Services,
    Mappings,
}

impl Kind {
    pub(super) const COUNT: usize = 8;
}

impl Name {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Key(_) => Kind::Keys,
            Self::Revocation(RevokedTickets::Uuid(_)) => Kind::RevokedUuids,
            Self::Revocation(RevokedTickets::GrantedTo(_)) => Kind::RevokedDomains,
            Self::Revocation(RevokedTickets::Number(_)) => Kind::RevokedNumbers,
            Self::Domains => Kind::DomainPolicies,
            Self::Numbers(_) => Kind::Numbers,
            Self::Service(_) => Kind::Services,
            Self::Mapping(_) => Kind::Mappings,
        }
    }
}

impl Keep {
    pub(super) fn get(&self, source: Source, name: &Name) -> Option<&Kept> {
        self.facts.get(&(name.clone(), source))
    }

    /// Adds a fact or replaces the one of its name; `false` if it is there already as it is.
    pub(super) fn put(&mut self, source: Source, fact: Kept) -> bool {
        let name = fact.name();
        if self.get(source, &name) == Some(&fact) {
            return false;
        }
        self.remove(source, &name);
        if let Some(end) = fact.end() {
            self.ends.insert((end, name.clone(), source));
        }
        self.counts[name.kind() as usize] += 1;
        self.facts.insert((name, source), fact);
        true
    }

    pub(super) fn remove(&mut self, source: Source, name: &Name) -> Option<Kept> {
        let fact = self.facts.remove(&(name.clone(), source))?;
        self.counts[name.kind() as usize] -= 1;
        if let Some(end) = fact.end() {
            self.ends.remove(&(end, name.clone(), source));
        }
        Some(fact)
    }

    /// How many facts each list has, by [`Kind`].
    pub(super) const fn counts(&self) -> [usize; Kind::COUNT] {
        self.counts
    }

    /// How many facts a list has, of all sources.
    pub(super) const fn count(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }

    /// Name and source of the fact that ends first, if it has ended by a time since 1970.
    pub(super) fn ended(&self, unix: Duration) -> Option<(Name, Source)> {
        let (end, name, source) = self.ends.first()?;
        (*end <= unix).then(|| (name.clone(), *source))
    }

    /// When the first fact ends.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.ends.first().map(|(end, ..)| *end)
    }

    /// Every fact, by name and then by the rank of its source.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, Source, &Kept)> {
        self.facts.iter().map(|((name, source), fact)| (name, *source, fact))
    }

    /// Every fact whose name is above `after`, or without it from the name `first` on, as [`Keep::iter`].
    pub(super) fn from(&self, after: Option<&Name>, first: &Name) -> impl Iterator<Item = (&Name, Source, &Kept)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let [best, .., last] = Source::ALL;
        let from = match after {
            Some(name) => Excluded((name.clone(), last)),
            None => Included((first.clone(), best)),
        };
        let facts = self.facts.range((from, Unbounded));
        facts.map(|((name, source), fact)| (name, *source, fact))
    }

    /// Names of everything a source told.
    pub(super) fn names_of(&self, source: Source) -> impl Iterator<Item = &Name> {
        self.facts
            .keys()
            .filter(move |(_, of)| *of == source)
            .map(|(name, _)| name)
    }
}
