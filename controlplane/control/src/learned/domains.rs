//! Which domains the sources allow and deny, joined.
//!
//! A domain must please every source: denied by one is denied, and where several sources allow lists it must be on each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tollgate_validator::facts::{DomainMode, DomainPolicy};

use super::Source;

/// The joined rules. Domains are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainRules {
    /// Denied by any source.
    pub denied: BTreeSet<String>,
    /// Allowed by every source that allows a list; `None` if no source does, and then all others are.
    pub allowed: Option<BTreeSet<String>>,
}

impl DomainRules {
    pub(super) fn of(policies: &BTreeMap<Source, Arc<DomainPolicy>>) -> Self {
        let mut rules = Self::default();
        for policy in policies.values() {
            let listed = policy.domains.iter().map(ToString::to_string);
            match policy.mode {
                DomainMode::Deny => rules.denied.extend(listed),
                DomainMode::Allow => {
                    let mut listed: BTreeSet<String> = listed.collect();
                    if let Some(others) = &rules.allowed {
                        listed.retain(|domain| others.contains(domain));
                    }
                    rules.allowed = Some(listed);
                }
            }
        }
        rules
    }

    /// Whether a call to or from the domain is permitted.
    #[must_use]
    pub fn permits(&self, domain: &str) -> bool {
        !self.denied.contains(domain) && self.allowed.as_ref().is_none_or(|allowed| allowed.contains(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_must_please_every_source() {
        let policy = |mode, domains: &[&str]| {
            let domains = domains.iter().map(|domain| domain.parse().unwrap()).collect();
            Arc::new(DomainPolicy { mode, domains })
        };
        let rules = DomainRules::of(&BTreeMap::from([
            (Source::Api, policy(DomainMode::Allow, &["a.example", "b.example"])),
            (Source::Feed, policy(DomainMode::Allow, &["b.example", "c.example"])),
            (Source::File, policy(DomainMode::Deny, &["d.example"])),
        ]));
        let permitted = |domain: &&str| rules.permits(domain);
        let all = ["a.example", "b.example", "c.example", "d.example", "e.example"];
        assert_eq!(
            all.iter().filter(|domain| permitted(domain)).collect::<Vec<_>>(),
            [&"b.example"]
        );
        assert!(DomainRules::default().permits("a.example"));
    }
}
