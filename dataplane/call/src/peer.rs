//! Which peer an outbound call goes to: by its number on a trunk, else by the address that the call agent connected to
//! (product.md 3, edge.md 1 and 4).
//!
//! It opens no connection and resolves no name; whether the peer is who it is taken for, its certificate tells.

use std::net::SocketAddr;

use tollgate_contract::{E164, Mapping, Now, Route, Snapshot};
use tollgate_sip::{Header, NameAddr, SipMessage, SipUri};
use tollgate_ticket::MAX_TEXT_LEN;

use crate::alg::bracketed;
use crate::transport::{Listener, LocalAddresses, Role, Source};

/// The far end of a call's outside leg.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What its certificate must name. Lower case.
    pub(crate) domain: String,
    /// Where it is reached, in order; empty where only its own connection leads to it.
    pub(crate) targets: Vec<SocketAddr>,
    /// The host of the Request-URI of a call to it.
    pub(crate) uri_host: String,
    /// The host of To of a call to it.
    pub(crate) to_host: String,
    /// What the call agent calls it, where that is an address of ours.
    pub(crate) alias: Option<Alias>,
}

impl Peer {
    /// A peer that is called by its domain alone.
    pub(crate) fn of_domain(domain: String, targets: Vec<SocketAddr>) -> Self {
        Self {
            uri_host: domain.clone(),
            to_host: domain.clone(),
            domain,
            targets,
            alias: None,
        }
    }

    /// The peer that a route leads to.
    pub(crate) fn of_route(route: &Route) -> Self {
        Self::of_domain(route.domain.to_string(), route.targets.to_vec())
    }

    /// A peer at an address the call agent chose; Request-URI and To keep the names it wrote.
    fn at(address: SocketAddr, domain: String, alias: Option<Alias>, invite: &SipMessage) -> Self {
        let shown = |uri: Option<SipUri<'_>>| {
            let restored = uri.filter(|uri| alias.as_ref().is_some_and(|alias| alias.is_inside(uri)));
            match (restored, &alias) {
                (Some(_), Some(alias)) => alias.host.clone(),
                (Some(_) | None, _) => uri.as_ref().and_then(domain_of).unwrap_or_else(|| domain.clone()),
            }
        };
        Self {
            uri_host: shown(SipUri::parse(invite.request_uri())),
            to_host: shown(invite.to().and_then(|to| to.sip_uri())),
            domain,
            targets: vec![address],
            alias,
        }
    }
}

/// A peer's address under two names: the mapped address inside, the global one outside (edge.md 1, off-path step 6).
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    inside: SocketAddr,
    global: SocketAddr,
    host: String,
    /// Whether the host is a name for the address alone; the domain itself names the peer's users on either side.
    host_is_of_address: bool,
}

impl Alias {
    pub(crate) fn new(inside: SocketAddr, mapping: &Mapping) -> Self {
        Self {
            inside,
            global: mapping.global,
            host: mapping.global_host.clone(),
            host_is_of_address: !mapping.global_host.eq_ignore_ascii_case(&mapping.domain),
        }
    }

    /// The host to be shown outside.
    pub(crate) fn outside_host(&self) -> &str {
        &self.host
    }

    /// The host and port to be shown inside.
    pub(crate) fn inside_host(&self) -> String {
        format!("{}:{}", bracketed(self.inside.ip()), self.inside.port())
    }

    /// Whether a URI of the call agent is at the mapped address.
    pub(crate) fn is_inside(&self, uri: &SipUri<'_>) -> bool {
        uri.ip() == Some(self.inside.ip()) && uri.port == Some(self.inside.port())
    }

    /// Whether a URI of the peer is at the global address: an address that the call agent cannot reach.
    pub(crate) fn is_outside(&self, uri: &SipUri<'_>) -> bool {
        let is_named = self.host_is_of_address && uri.host.eq_ignore_ascii_case(self.host.as_bytes());
        let is_host = is_named || uri.ip() == Some(self.global.ip());
        is_host && uri.port.is_none_or(|port| port == self.global.port())
    }
}

/// Why there is no peer to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPeer {
    /// The Request-URI has no number, and there is no catch-all route or the agent has chosen a peer itself.
    Number,
    /// No route to the number, or the address connected to is ours.
    Route,
    /// The mapped address stands for nobody any more.
    Mapping,
    /// No domain to look for in the peer's certificate.
    Name,
    /// No ticket to send.
    Ticket,
}

/// Finds the peer of an INVITE of our call agent.
///
/// # Errors
/// [`NoPeer`]: the call cannot go over the Internet.
pub(crate) fn find(
    now: Now,
    snapshot: &Snapshot,
    local: &LocalAddresses,
    source: &Source,
    number: Option<E164>,
    invite: &SipMessage,
) -> Result<Peer, NoPeer> {
    let listener = local
        .get(source.listener)
        .filter(|listener| listener.role != Role::Trunk);
    let Some(number) = number else {
        // A `*` route takes everything that a SIP URI can say, where the peer is found by routes at all.
        let is_routed = listener.is_none() && SipUri::parse(invite.request_uri()).is_some();
        let catch_all = snapshot.routes.catch_all(now.unix).filter(|_| is_routed);
        return catch_all.map(|route| Peer::of_route(route)).ok_or(NoPeer::Number);
    };
    let route = snapshot.routes.lookup(number, now.unix).map(AsRef::as_ref);
    let peer = match listener {
        None => return of_route(route),
        Some(listener) => match listener.role {
            Role::Trunk => return of_route(route),
            Role::Mapped { .. } => of_mapping(now, snapshot, listener, source, invite)?,
            Role::Transparent => of_destination(local, source, invite)?,
        },
    };
    if has_ticket(route, &peer, invite) {
        Ok(peer)
    } else {
        Err(NoPeer::Ticket)
    }
}

fn of_route(route: Option<&Route>) -> Result<Peer, NoPeer> {
    route.map(Peer::of_route).ok_or(NoPeer::Route)
}

/// Off-path: the mapping of the address that the agent connected to says whom it means.
fn of_mapping(
    now: Now,
    snapshot: &Snapshot,
    listener: &Listener,
    source: &Source,
    invite: &SipMessage,
) -> Result<Peer, NoPeer> {
    let mapping = snapshot.mappings.at(source.local, now.unix).ok_or(NoPeer::Mapping)?;
    let alias = Alias::new(listener.told(source.local), mapping);
    Ok(Peer::at(mapping.global, mapping.domain.clone(), Some(alias), invite))
}

/// Inline: the agent connected to the peer itself, so the learned URI's `maddr` and port are where it already went; only
/// the name is left to be read from it, whatever transport it asks for (edge.md 4).
fn of_destination(local: &LocalAddresses, source: &Source, invite: &SipMessage) -> Result<Peer, NoPeer> {
    let ip = source.local.ip();
    let is_ours = |own: &Listener| own.address.bound.ip() == ip || own.address.advertised.ip() == ip;
    if local.listeners.iter().any(is_ours) {
        return Err(NoPeer::Route);
    }
    let top = invite.values(Header::Route).next().and_then(NameAddr::parse);
    let learned = top.and_then(|route| domain_of(&route.sip_uri()?));
    let domain = learned
        .or_else(|| domain_of(&SipUri::parse(invite.request_uri())?))
        .ok_or(NoPeer::Name)?;
    Ok(Peer::at(source.local, domain, None, invite))
}

/// Whether the call will bear a ticket: the agent's own, or that of the number's route if it leads to the same domain.
fn has_ticket(route: Option<&Route>, peer: &Peer, invite: &SipMessage) -> bool {
    match invite.fields().find(|field| field.header.is_ticket()) {
        Some(field) => is_token(field.value),
        None => route.is_some_and(|route| *route.domain == *peer.domain && route.ticket.is_some()),
    }
}

/// Alphabet and length of a ticket, all that the calling side looks at (ticket.md 2).
fn is_token(value: &[u8]) -> bool {
    (1..=MAX_TEXT_LEN).contains(&value.len())
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// The host of a URI as a domain that a certificate may name: LDH labels (RFC 5890 §2.3.1), the last not all digits, in
/// lower case and without a trailing dot. `None` for an address or anything else.
fn domain_of(uri: &SipUri<'_>) -> Option<String> {
    let host = uri.host.strip_suffix(b".").unwrap_or(uri.host);
    let is_label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && !label.starts_with(b"-")
            && !label.ends_with(b"-")
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    let mut labels = host.split(|byte| *byte == b'.');
    let is_domain = host.len() <= 253 && labels.clone().all(is_label);
    let is_numeric = labels.next_back()?.iter().all(u8::is_ascii_digit);
    let domain = String::from_utf8(host.to_ascii_lowercase()).ok()?;
    (is_domain && !is_numeric).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_contract::Transport;

    fn uri(text: &str) -> SipUri<'_> {
        SipUri::parse(text.as_bytes()).unwrap()
    }

    fn alias(host: &str) -> Alias {
        let mapping = Mapping {
            global: "203.0.113.7:5061".parse().unwrap(),
            global_host: host.to_owned(),
            transport: Transport::Tls,
            domain: "b.example".to_owned(),
            expires: None,
        };
        Alias::new("10.0.0.2:20000".parse().unwrap(), &mapping)
    }

    #[test]
    fn only_domain_names_are_looked_for_in_certificates() {
        assert_eq!(domain_of(&uri("sip:+1@B.Example.")).as_deref(), Some("b.example"));
        for host in [
            "203.0.113.7",
            "[2001:db8::7]",
            "a..b",
            "-a.example",
            "a_b.example",
            "5",
            "1.2",
        ] {
            assert_eq!(domain_of(&uri(&format!("sip:+1@{host}"))), None, "{host}");
        }
    }

    #[test]
    fn a_mapped_address_is_one_with_its_port() {
        let alias = alias("203.0.113.7");
        assert!(alias.is_inside(&uri("sip:+1@10.0.0.2:20000;transport=tcp")));
        for other in ["sip:+1@10.0.0.2:20001", "sip:+1@10.0.0.2", "sip:+1@10.0.0.3:20000"] {
            assert!(!alias.is_inside(&uri(other)), "{other}");
        }
    }

    #[test]
    fn the_domain_itself_is_no_address_to_be_mapped() {
        for (host, shown, is_outside) in [
            ("b.example", "sip:+1@b.example", false),
            ("b.example", "sip:+1@203.0.113.7", true),
            ("edge.b.example", "sip:+1@edge.b.example", true),
            ("edge.b.example", "sip:+1@edge.b.example:5061", true),
            ("edge.b.example", "sip:+1@edge.b.example:5060", false),
            ("edge.b.example", "sip:+1@b.example", false),
        ] {
            assert_eq!(alias(host).is_outside(&uri(shown)), is_outside, "{shown} at {host}");
        }
    }

    #[test]
    fn a_ticket_is_a_token_of_bounded_length() {
        assert!(is_token(b"aZ09-_.."));
        assert!(is_token(&[b'a'; MAX_TEXT_LEN]));
        for bad in [
            &b""[..],
            b"a b",
            b"a;b",
            b"a,b",
            "ä".as_bytes(),
            &[b'a'; MAX_TEXT_LEN + 1],
        ] {
            assert!(!is_token(bad));
        }
    }
}
