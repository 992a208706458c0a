//! What learned facts add to a snapshot beside routes: keys, revocations, denied domains, enrolled numbers.
//!
//! A pure function of the policy's snapshot and the facts. Routes follow by [`Changes`](super::Changes), and so do mappings,
//! which reach a snapshot by way of the mapping service.

use std::collections::BTreeSet;

use tollgate_contract::{E164, Snapshot, TicketKey};
use tollgate_validator::facts::{Mapping, NumberRange, RevokedTickets};

use super::{DomainRules, Kept, LearnedRoutes, Source};

/// The learned facts as a snapshot needs them.
#[derive(Clone, Copy, Debug)]
pub struct LearnedView<'t> {
    table: &'t LearnedRoutes,
}

impl LearnedRoutes {
    /// The facts as a snapshot needs them.
    #[must_use]
    pub const fn view(&self) -> LearnedView<'_> {
        LearnedView { table: self }
    }
}

impl LearnedView<'_> {
    /// Keys that verify, at most one of an epoch.
    pub fn keys(&self) -> impl Iterator<Item = TicketKey> {
        let mut last = None;
        self.table.keep.iter().filter_map(move |(_, _, fact)| match fact {
            Kept::Key(key) if last.replace(key.epoch) != Some(key.epoch) => key.for_verifying(),
            Kept::Key(_)
            | Kept::Revocation(_)
            | Kept::Domains(_)
            | Kept::Numbers(_)
            | Kept::Service(_)
            | Kept::Mapping(_) => None,
        })
    }

    /// Tickets taken back.
    pub fn revoked(&self) -> impl Iterator<Item = &RevokedTickets> {
        self.table.keep.iter().filter_map(|(_, _, fact)| match fact {
            Kept::Revocation(revoke) => Some(&revoke.which),
            Kept::Key(_) | Kept::Domains(_) | Kept::Numbers(_) | Kept::Service(_) | Kept::Mapping(_) => None,
        })
    }

    /// Domains that routes and calls may lead to and come from.
    #[must_use]
    pub const fn domains(&self) -> &DomainRules {
        &self.table.rules
    }

    /// Numbers enrolled here; `None` if no source tells any.
    #[must_use]
    pub fn enrolled(&self) -> Option<BTreeSet<E164>> {
        let mut numbers = None;
        for (_, _, fact) in self.table.keep.iter() {
            if let Kept::Numbers(local) = fact {
                let known: &mut BTreeSet<E164> = numbers.get_or_insert_default();
                known.extend(local.ranges.iter().flat_map(|range| members(*range)));
            }
        }
        numbers
    }

    /// Every mapping with its source, for whoever hands out inside addresses; later ones follow by
    /// [`Changes`](super::Changes).
    pub fn mappings(&self) -> impl Iterator<Item = (Source, &Mapping)> {
        self.table.keep.iter().filter_map(|(_, source, fact)| match fact {
            Kept::Mapping(mapping) => Some((source, &**mapping)),
            Kept::Key(_) | Kept::Revocation(_) | Kept::Domains(_) | Kept::Numbers(_) | Kept::Service(_) => None,
        })
    }
}

/// Adds the learned facts to a snapshot of the policy, but for routes and mappings. What the policy says stays: a key of an epoch
/// that the policy has is left out, and a ring that is full takes no more.
pub fn add_learned(snapshot: &mut Snapshot, view: LearnedView<'_>) {
    let tickets = &mut snapshot.tickets;
    for key in view.keys() {
        // An epoch that the policy has stays the policy's.
        let _ = tickets.keyring.add(key);
    }
    for revoked in view.revoked() {
        match revoked {
            RevokedTickets::Uuid(uuid) => drop(tickets.denied.uuids.insert(uuid.0)),
            RevokedTickets::GrantedTo(domain) => drop(tickets.denied.domains.insert(domain.to_string())),
            RevokedTickets::Number(number) => drop(tickets.denied.numbers.insert(*number)),
        }
    }
    if let Some(learned) = view.enrolled() {
        tickets.enrolled.get_or_insert_default().extend(learned);
    }
    let mut denied: BTreeSet<String> = std::mem::take(&mut snapshot.peers.denied).into_iter().collect();
    denied.extend(view.domains().denied.iter().cloned());
    snapshot.peers.denied = denied.into_iter().collect();
}

/// How many numbers a range has.
pub(super) fn size(range: NumberRange) -> u64 {
    value(range.last()) - value(range.first()) + 1
}

/// The numbers of a range; who takes them in has bounded how many there are.
fn members(range: NumberRange) -> impl Iterator<Item = E164> {
    let digits = range.first().digits();
    let values = value(range.first())..=value(range.last());
    // Both ends have as many digits, so every value between them has too.
    values.map(move |value| {
        format!("+{value:0digits$}")
            .parse()
            .expect("as many digits as its ends")
    })
}

/// The digits read as a number; 15 digits fit.
fn value(number: E164) -> u64 {
    let text = number.to_string();
    text.bytes()
        .filter(u8::is_ascii_digit)
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}
