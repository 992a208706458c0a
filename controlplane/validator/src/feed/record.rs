//! The records of the feed: facts, and routes that have yet to be checked.
//!
//! Judges each by itself; order and room are the reader's. Source: vap.md 11.

use std::time::Duration;

use super::frame::{Frame, FrameTooLong};
use super::message::{Kind, NackCode, frame};
use crate::checks::{ClaimedRoute, RouteFault, RouteRules};
use crate::facts::{Fact, LearnedKey, LocalService, Mapping, TicketRevoke};

/// A fact as told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// RouteUpsert: a route, unchecked.
    Claim(Box<ClaimedRoute>),
    /// Any other fact; reading it has checked its form. Never [`Fact::RouteUpsert`] when it was read.
    Fact(Fact),
}

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FactFault {
    /// A route fails its checks.
    Route(RouteFault),
    /// An epoch of 0.
    Epoch,
    /// A key of fewer than 10 or more than 64 bytes, or under 16 for `v2-hmac-sha256`.
    KeyLength,
    /// A key that stops before it begins, or verifies shorter than it issues.
    KeyTimes,
    /// A port of 0.
    Port,
    /// A mapping's far address that no target may have.
    Address(RouteFault),
    /// An interface name over 64 characters or with control characters.
    Interface,
    /// More list entries than a message may have.
    TooMany,
    /// It ended before now.
    Expired,
}

/// Most addresses of a local service, and most routes of a mapping.
const MAX_LIST_LEN: usize = 64;

/// Longest name of an interface, in bytes.
const MAX_INTERFACE_LEN: usize = 64;

/// Fewest bytes of a key, the ASA's own lower limit (ticket.md 4), and fewest of a v2 key (ticket.md 10).
const MIN_KEY_LEN: usize = 10;
const MIN_V2_KEY_LEN: usize = 16;

/// Most bytes of a key (ticket.md 4).
const MAX_KEY_LEN: usize = 64;

impl FactFault {
    /// The word in the answer and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route(fault) | Self::Address(fault) => fault.name(),
            Self::Epoch => "epoch",
            Self::KeyLength => "key_length",
            Self::KeyTimes => "key_times",
            Self::Port => "port",
            Self::Interface => "interface",
            Self::TooMany => "too_many",
            Self::Expired => "expired",
        }
    }

    /// The code of the answer.
    #[must_use]
    pub const fn code(self) -> NackCode {
        match self {
            Self::Route(fault) | Self::Address(fault) if fault.is_policy() => NackCode::Policy,
            Self::Route(_)
            | Self::Address(_)
            | Self::Epoch
            | Self::KeyLength
            | Self::KeyTimes
            | Self::Port
            | Self::Interface
            | Self::TooMany
            | Self::Expired => NackCode::Verify,
        }
    }
}

impl Record {
    /// The record of a fact, to be sent.
    #[must_use]
    pub fn of(fact: &Fact) -> Self {
        match fact {
            Fact::RouteUpsert(route) => Self::Claim(Box::new(ClaimedRoute::from(route.as_ref()))),
            Fact::RouteWithdraw(_)
            | Fact::TicketKey(_)
            | Fact::TicketRevoke(_)
            | Fact::DomainPolicy(_)
            | Fact::LocalNumbers(_)
            | Fact::LocalService(_)
            | Fact::MappingUpsert(_)
            | Fact::MappingWithdraw(_) => Self::Fact(fact.clone()),
        }
    }

    /// The kind of the message that carries it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Claim(_) => Kind::RouteUpsert,
            Self::Fact(fact) => kind_of(fact),
        }
    }

    /// Judges the record at a time since 1970.
    ///
    /// # Errors
    /// The first [`FactFault`] found.
    pub fn check(self, rules: &RouteRules, unix: Duration) -> Result<Fact, FactFault> {
        let fact = match self {
            Self::Claim(claimed) => {
                let route = rules.check(&claimed, unix).map_err(FactFault::Route)?;
                return Ok(Fact::RouteUpsert(Box::new(route)));
            }
            Self::Fact(fact) => fact,
        };
        match &fact {
            Fact::TicketKey(key) => check_key(key)?,
            Fact::TicketRevoke(revoke) => check_revoke(revoke, unix)?,
            Fact::LocalService(service) => check_service(service)?,
            Fact::MappingUpsert(mapping) => check_mapping(mapping, rules, unix)?,
            Fact::RouteUpsert(_)
            | Fact::RouteWithdraw(_)
            | Fact::DomainPolicy(_)
            | Fact::LocalNumbers(_)
            | Fact::MappingWithdraw(_) => {}
        }
        Ok(fact)
    }

    /// The frame of the record at a revision.
    pub(super) fn encode(&self, revision: u64) -> Result<Frame, FrameTooLong> {
        let (kind, revision) = (self.kind(), Some(revision));
        match self {
            Self::Claim(route) => frame(kind, revision, route),
            Self::Fact(Fact::RouteUpsert(route)) => frame(kind, revision, &ClaimedRoute::from(route.as_ref())),
            Self::Fact(Fact::RouteWithdraw(body)) => frame(kind, revision, body),
            Self::Fact(Fact::TicketKey(body)) => frame(kind, revision, body),
            Self::Fact(Fact::TicketRevoke(body)) => frame(kind, revision, body),
            Self::Fact(Fact::DomainPolicy(body)) => frame(kind, revision, body),
            Self::Fact(Fact::LocalNumbers(body)) => frame(kind, revision, body),
            Self::Fact(Fact::LocalService(body)) => frame(kind, revision, body),
            Self::Fact(Fact::MappingUpsert(body)) => frame(kind, revision, body),
            Self::Fact(Fact::MappingWithdraw(body)) => frame(kind, revision, body),
        }
    }
}

const fn kind_of(fact: &Fact) -> Kind {
    match fact {
        Fact::RouteUpsert(_) => Kind::RouteUpsert,
        Fact::RouteWithdraw(_) => Kind::RouteWithdraw,
        Fact::TicketKey(_) => Kind::TicketKey,
        Fact::TicketRevoke(_) => Kind::TicketRevoke,
        Fact::DomainPolicy(_) => Kind::DomainPolicy,
        Fact::LocalNumbers(_) => Kind::LocalNumbers,
        Fact::LocalService(_) => Kind::LocalService,
        Fact::MappingUpsert(_) => Kind::MappingUpsert,
        Fact::MappingWithdraw(_) => Kind::MappingWithdraw,
    }
}

fn check_key(key: &LearnedKey) -> Result<(), FactFault> {
    if key.epoch == 0 {
        return Err(FactFault::Epoch);
    }
    let fewest = match key.alg {
        tollgate_contract::TicketAlg::ViprHmacSha1 => MIN_KEY_LEN,
        tollgate_contract::TicketAlg::V2HmacSha256 => MIN_V2_KEY_LEN,
    };
    if !(fewest..=MAX_KEY_LEN).contains(&key.secret.expose().len()) {
        return Err(FactFault::KeyLength);
    }
    if key.accept_until < key.issue_until || key.accept_until <= key.not_before {
        return Err(FactFault::KeyTimes);
    }
    Ok(())
}

fn check_revoke(revoke: &TicketRevoke, unix: Duration) -> Result<(), FactFault> {
    if revoke.until <= unix {
        return Err(FactFault::Expired);
    }
    Ok(())
}

fn check_service(service: &LocalService) -> Result<(), FactFault> {
    if service.addresses.len() > MAX_LIST_LEN {
        return Err(FactFault::TooMany);
    }
    if service.addresses.iter().any(|address| address.port() == 0) {
        return Err(FactFault::Port);
    }
    Ok(())
}

fn check_mapping(mapping: &Mapping, rules: &RouteRules, unix: Duration) -> Result<(), FactFault> {
    if mapping.global.port == 0 || mapping.inside.port == 0 {
        return Err(FactFault::Port);
    }
    rules.addresses.check(mapping.global.ip).map_err(FactFault::Address)?;
    let interface = &mapping.inside.interface;
    if interface.len() > MAX_INTERFACE_LEN || interface.chars().any(char::is_control) {
        return Err(FactFault::Interface);
    }
    if mapping.route_ids.len() > MAX_LIST_LEN {
        return Err(FactFault::TooMany);
    }
    if mapping.expires_at <= unix {
        return Err(FactFault::Expired);
    }
    Ok(())
}
