//! What every learned route must pass, whatever its source.
//!
//! It judges text and a time; it resolves no name, keeps no table, and does not open the ticket. Sources: vap.md 11
//! rules 1-2, validator.md 6 (draft-petithuguenin-vipr-pvp-02 §7.3), ticket.md 3.

mod address;
mod claim;
mod fault;
mod uri;

use std::time::Duration;

use tollgate_contract::E164;
use tollgate_ticket::MAX_TEXT_LEN;

use crate::Domain;
use crate::facts::{DomainPolicy, Evidence, LearnedRoute, RouteTarget, TargetHost};

pub use address::AddressRules;
pub use claim::{ClaimedPeer, ClaimedRoute, ClaimedTarget};
pub use fault::RouteFault;
pub use uri::{LearnedUri, MAX_URI_LEN};

/// Most targets of a route by default: an IME cluster has no more call agents that take calls.
pub const DEFAULT_MAX_TARGETS: usize = 8;

/// Most methods an evidence names, and the longest name of one.
const MAX_METHODS: usize = 8;
const MAX_METHOD_LEN: usize = 16;

/// What a route is judged by.
#[derive(Clone, Debug)]
pub struct RouteRules {
    /// Domains of ours; a route may lead to none of them. One below them may be a peer's.
    pub local_domains: Vec<Domain>,
    /// Which addresses a target may have.
    pub addresses: AddressRules,
    /// Whether `maddr` may be a name. Default no: what a name resolves to can change after the check.
    pub allow_host_names: bool,
    /// Most targets of a route, 1 or more. Default [`DEFAULT_MAX_TARGETS`].
    pub max_targets: usize,
    /// Which domains routes may lead to; `None` for all.
    pub domains: Option<DomainPolicy>,
}

impl Default for RouteRules {
    fn default() -> Self {
        Self {
            local_domains: Vec::new(),
            addresses: AddressRules::default(),
            allow_host_names: false,
            max_targets: DEFAULT_MAX_TARGETS,
            domains: None,
        }
    }
}

impl RouteRules {
    /// Judges a claimed route at a time since 1970.
    ///
    /// # Errors
    /// The first [`RouteFault`] found.
    pub fn check(&self, claimed: &ClaimedRoute, unix: Duration) -> Result<LearnedRoute, RouteFault> {
        let route_id = claimed.route_id.parse().map_err(|_| RouteFault::RouteId)?;
        let number = E164::parse(claimed.number.0.as_bytes()).map_err(|_| RouteFault::Number)?;
        let domain = self.domain(&claimed.domain)?;
        check_ticket(&claimed.ticket.0)?;
        let expires_at = claimed.expires_at;
        if expires_at <= claimed.learned_at {
            return Err(RouteFault::Lifetime);
        }
        if expires_at <= unix {
            return Err(RouteFault::Expired);
        }
        Ok(LearnedRoute {
            route_id,
            revision: claimed.revision,
            number,
            targets: self.targets(&domain, &claimed.targets)?,
            domain,
            ticket: claimed.ticket.clone(),
            learned_at: claimed.learned_at,
            expires_at,
            vservice_id: claimed.vservice_id,
            peer_node: claimed.peer.as_ref().map(|peer| peer.node_id),
            evidence: claimed.evidence.as_ref().map(checked_evidence).transpose()?,
        })
    }

    /// A domain that a route may lead to.
    fn domain(&self, text: &str) -> Result<Domain, RouteFault> {
        let domain: Domain = text.parse().map_err(|_| RouteFault::Domain)?;
        if self.local_domains.contains(&domain) {
            return Err(RouteFault::OwnDomain);
        }
        if self.domains.as_ref().is_some_and(|policy| !policy.permits(&domain)) {
            return Err(RouteFault::DomainDenied);
        }
        Ok(domain)
    }

    /// The targets in order of trial.
    fn targets(&self, domain: &Domain, claimed: &[ClaimedTarget]) -> Result<Vec<RouteTarget>, RouteFault> {
        if claimed.is_empty() {
            return Err(RouteFault::NoTargets);
        }
        if claimed.len() > self.max_targets {
            return Err(RouteFault::TooManyTargets);
        }
        let targets = claimed.iter().map(|target| self.target(domain, target));
        let mut targets: Vec<_> = targets.collect::<Result<_, _>>()?;
        targets.sort_by_key(|target| target.priority);
        Ok(targets)
    }

    fn target(&self, domain: &Domain, claimed: &ClaimedTarget) -> Result<RouteTarget, RouteFault> {
        let uri = LearnedUri::parse(&claimed.uri)?;
        let expected = claimed.expected_tls_domain.as_deref().map(str::parse::<Domain>);
        let expected = expected.transpose().map_err(|_| RouteFault::Domain)?;
        if uri.domain != *domain || expected.is_some_and(|expected| expected != *domain) {
            return Err(RouteFault::DomainMismatch);
        }
        match &uri.host {
            TargetHost::Ip(ip) => self.addresses.check(*ip)?,
            TargetHost::Name(_) if self.allow_host_names => {}
            TargetHost::Name(_) => return Err(RouteFault::HostName),
        }
        let told = claimed.host.as_deref().map(uri::host).transpose()?;
        if told.is_some_and(|told| told != uri.host) || claimed.port.is_some_and(|port| port != uri.port) {
            return Err(RouteFault::TargetMismatch);
        }
        Ok(RouteTarget {
            uri: claimed.uri.clone(),
            host: uri.host,
            port: uri.port,
            expected_tls_domain: uri.domain,
            priority: claimed.priority,
        })
    }
}

/// 1 to 1024 characters of the token alphabet (ticket.md 2, 3).
fn check_ticket(ticket: &str) -> Result<(), RouteFault> {
    if ticket.len() > MAX_TEXT_LEN {
        return Err(RouteFault::TicketTooLong);
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if ticket.is_empty() || !ticket.bytes().all(is_token) {
        return Err(RouteFault::TicketAlphabet);
    }
    Ok(())
}

fn checked_evidence(evidence: &Evidence) -> Result<Evidence, RouteFault> {
    let is_name =
        |name: &String| (1..=MAX_METHOD_LEN).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if evidence.methods.len() > MAX_METHODS || !evidence.methods.iter().all(is_name) {
        return Err(RouteFault::Evidence);
    }
    Ok(evidence.clone())
}

#[cfg(test)]
mod tests;
