//! Per-domain rules and the bounded names that metrics use for peers.

use std::collections::BTreeMap;

/// The name a peer has in metrics: a configured one or `other`, never a domain learned at run time.
pub type PeerLabel = String;

/// Rules for peer domains. Domains are ASCII lower case without trailing dot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    /// Domains whose calls are refused whatever their ticket says.
    pub denied: Vec<String>,
    /// Domain to metric label.
    pub labels: BTreeMap<String, PeerLabel>,
}

impl PeerPolicy {
    /// Whether any of the `domains` is denied.
    #[must_use]
    pub fn denies(&self, domains: &[String]) -> bool {
        domains.iter().any(|domain| self.denied.contains(domain))
    }

    /// The metric label of a domain: the configured name, else `other`.
    #[must_use]
    pub fn label(&self, domain: &str) -> &str {
        self.labels.get(domain).map_or("other", String::as_str)
    }
}
