//! What the stand-in publishes, and how one document follows another.
//!
//! Revocations and domain policies are told and never taken back: the feed has no word for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_control::learned::{FactsDocument, Scope};
use tollgate_validator::checks::{AddressRules, RouteRules};
use tollgate_validator::facts::{Fact, LearnedRoute, MappingWithdraw, RouteRef, RouteWithdraw, WithdrawReason};
use tollgate_validator::feed::session::{Bounds, Source};
use tollgate_validator::{InstanceId, MappingId, RouteId};

/// The facts that stand, and the source that tells them.
pub(super) struct Published {
    pub(super) source: Source,
    /// When routes without a time of their own count as learned, so that a document read again is no change.
    learned_at: Duration,
    routes: BTreeMap<RouteId, Fact>,
    mappings: BTreeMap<MappingId, Fact>,
    others: Vec<Fact>,
}

impl Published {
    pub(super) fn new(instance: InstanceId, generation: u64, unix: Duration) -> Self {
        Self {
            source: Source::new(instance, generation, Bounds::default()),
            learned_at: unix,
            routes: BTreeMap::new(),
            mappings: BTreeMap::new(),
            others: Vec::new(),
        }
    }

    /// The routes that stand.
    pub(super) fn routes(&self) -> impl Iterator<Item = &LearnedRoute> {
        self.routes.values().filter_map(|fact| {
            let Fact::RouteUpsert(route) = fact else {
                return None;
            };
            Some(&**route)
        })
    }

    /// Puts a document in place of the one before.
    pub(super) fn replace(&mut self, mut document: FactsDocument, unix: Duration) -> Result<(), String> {
        let learned_at_ms = u64::try_from(self.learned_at.as_millis()).unwrap_or(u64::MAX);
        for route in &mut document.routes {
            route.learned_at_ms.get_or_insert(learned_at_ms);
        }
        // The control plane is the judge; the stand-in has to be able to tell what is to be refused.
        let rules = RouteRules {
            addresses: AddressRules {
                allow_private: true,
                allow_own: true,
                ..AddressRules::default()
            },
            ..RouteRules::default()
        };
        let batch = document.batch(Scope::All, &rules, unix).map_err(|refused| {
            let words: Vec<String> = refused
                .iter()
                .map(|entry| format!("entry {}: {}", entry.index, entry.text))
                .collect();
            words.join("; ")
        })?;
        let (mut routes, mut mappings) = (BTreeMap::new(), BTreeMap::new());
        for fact in batch.facts {
            if let Fact::RouteUpsert(route) = &fact {
                routes.insert(route.route_id.clone(), fact);
            } else if let Fact::MappingUpsert(mapping) = &fact {
                mappings.insert(mapping.mapping_id.clone(), fact);
            } else if !self.others.contains(&fact) {
                self.publish(&fact, unix)?;
                self.others.push(fact);
            }
        }
        self.follow_routes(routes, unix)?;
        self.follow_mappings(mappings, unix)
    }

    fn follow_routes(&mut self, routes: BTreeMap<RouteId, Fact>, unix: Duration) -> Result<(), String> {
        let before = std::mem::take(&mut self.routes);
        for id in before.keys().filter(|id| !routes.contains_key(*id)) {
            let withdraw = RouteWithdraw {
                which: RouteRef::Id(id.clone()),
                reason: WithdrawReason::Revoked,
            };
            self.publish(&Fact::RouteWithdraw(withdraw), unix)?;
        }
        for fact in routes.iter().filter(|(id, fact)| before.get(*id) != Some(*fact)) {
            self.publish(fact.1, unix)?;
        }
        self.routes = routes;
        Ok(())
    }

    fn follow_mappings(&mut self, mappings: BTreeMap<MappingId, Fact>, unix: Duration) -> Result<(), String> {
        let before = std::mem::take(&mut self.mappings);
        for id in before.keys().filter(|id| !mappings.contains_key(*id)) {
            let withdraw = MappingWithdraw {
                mapping_id: id.clone(),
                reason: WithdrawReason::Revoked,
                drain: Duration::ZERO,
            };
            self.publish(&Fact::MappingWithdraw(withdraw), unix)?;
        }
        for fact in mappings.iter().filter(|(id, fact)| before.get(*id) != Some(*fact)) {
            self.publish(fact.1, unix)?;
        }
        self.mappings = mappings;
        Ok(())
    }

    fn publish(&mut self, fact: &Fact, unix: Duration) -> Result<(), String> {
        let told = self.source.publish(fact, unix);
        told.map(drop).map_err(|why| why.to_string())
    }
}
