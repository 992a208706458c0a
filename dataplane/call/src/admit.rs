//! Admission of a first INVITE, before there is any state (product.md 6.2-6.4, ticket.md 6).

use std::net::IpAddr;

use tollgate_contract::counters::{AdmissionResult, Violation, WorkerCounters};
use tollgate_contract::{E164, Now, Snapshot, TicketFailureAction, Way};
use tollgate_sip::{Header, SipMessage, SipUri};
use tollgate_ticket::{Request, number_of_request_uri, verify};

use crate::call::{Invitation, Refusal};
use crate::peer::{self, NoPeer, Peer};
use crate::transport::{Listener, LocalAddresses, Role, Source};

/// A refusal and how it is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// With a status and perhaps a Reason.
    Refuse { refusal: Refusal, reason: Option<String> },
    /// With silence, where policy says so.
    Silence,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse { refusal, reason: None }
    }
}

/// Judges an INVITE of our call agent.
pub(crate) fn outbound(
    now: Now,
    snapshot: &Snapshot,
    local: &LocalAddresses,
    counters: &WorkerCounters,
    source: &Source,
    invite: &SipMessage,
) -> Result<Invitation, Answer> {
    check_source(snapshot, counters, source)?;
    check_common(snapshot, counters, invite)?;
    // calls.md 4: what cannot go over the Internet gets the code that makes the agent use the PSTN.
    let use_pstn = |counted, cause: u16, text: &str| Answer::Refuse {
        refusal: Refusal::new(snapshot.calls.fallback_code, counted),
        reason: Some(format!("SIP;cause={cause};text=\"{text}\"")),
    };
    let number = number_called(invite.request_uri());
    let peer = peer::find(now, snapshot, local, source, number, invite).map_err(|why| match why {
        NoPeer::Number => use_pstn(AdmissionResult::NotE164, 484, "not a +E.164 number"),
        NoPeer::Route => use_pstn(AdmissionResult::NoRoute, 404, "no route to the number"),
        NoPeer::Mapping => use_pstn(AdmissionResult::NoMapping, 404, "no_mapping"),
        NoPeer::Name => use_pstn(AdmissionResult::NoPeerName, 404, "no_peer_name"),
        NoPeer::Ticket => use_pstn(AdmissionResult::NoTicket, 403, "no_ticket"),
    })?;
    Ok(Invitation::Outbound { number, peer })
}

/// Judges a request of our call agent that stands outside any dialog: the peer it goes to by the catch-all route, or
/// `None` where policy has none.
pub(crate) fn alone(
    now: Now,
    snapshot: &Snapshot,
    counters: &WorkerCounters,
    source: &Source,
    request: &SipMessage,
) -> Result<Option<(Option<E164>, Peer)>, Answer> {
    let Some(catch_all) = snapshot.routes.catch_all(now.unix) else {
        return Ok(None);
    };
    check_source(snapshot, counters, source)?;
    check_common(snapshot, counters, request)?;
    let number = number_called(request.request_uri());
    if number.is_none() && SipUri::parse(request.request_uri()).is_none() {
        // RFC 3261 §8.2.2.1 and §16.3: a scheme that cannot be routed by.
        return Err(Refusal::new(416, AdmissionResult::NoRoute).into());
    }
    let route = number.and_then(|number| snapshot.routes.lookup(number, now.unix));
    Ok(Some((number, Peer::of_route(route.unwrap_or(catch_all)))))
}

/// Whether an OPTIONS asks the edge itself (RFC 3261 §11.2, §16.3): by an address of ours, or by a domain of ours and
/// nobody in it.
pub(crate) fn asks_us(snapshot: &Snapshot, local: &LocalAddresses, request: &SipMessage) -> bool {
    let Some(uri) = SipUri::parse(request.request_uri()) else {
        return false;
    };
    let is_own =
        |ip: IpAddr, listener: &Listener| listener.address.bound.ip() == ip || listener.address.advertised.ip() == ip;
    match uri.ip() {
        Some(ip) => local.listeners.iter().any(|listener| is_own(ip, listener)),
        None => uri.user.is_none() && is_ours(snapshot, local, &uri),
    }
}

/// The number of a Request-URI: of a SIP URI's user part, or of a global `tel:` URI without its visual separators and
/// parameters (RFC 3966 §3, §5.1.1).
fn number_called(uri: &[u8]) -> Option<E164> {
    let (scheme, rest) = uri.split_at_checked(4)?;
    if !scheme.eq_ignore_ascii_case(b"tel:") {
        return number_of_request_uri(uri);
    }
    let number = rest.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits: Vec<u8> = number.iter().copied().filter(|byte| !b"-.()".contains(byte)).collect();
    E164::parse(&digits).ok()
}

/// Judges an INVITE from the Internet: the ticket first, cheap checks before the MAC, one answer for every cause.
pub(crate) fn inbound(
    now: Now,
    snapshot: &Snapshot,
    local: &LocalAddresses,
    counters: &WorkerCounters,
    source: &Source,
    invite: &SipMessage,
) -> Result<Invitation, Answer> {
    let verified = check_ticket(now, snapshot, counters, source, invite)?;
    check_common(snapshot, counters, invite)?;
    let host_is_ours = SipUri::parse(invite.request_uri()).is_some_and(|uri| is_ours(snapshot, local, &uri));
    if !host_is_ours || !routes_to_us(snapshot, local, invite) {
        return Err(Refusal::new(403, AdmissionResult::Denied).into());
    }
    // A dialog named by Replaces, Join or Target-Dialog may live on another worker; it is not looked for (DEVIATIONS).
    if [Header::Replaces, Header::Join, Header::TargetDialog]
        .iter()
        .any(|header| invite.first(*header).is_some())
    {
        return Err(Refusal::new(481, AdmissionResult::Denied).into());
    }
    Ok(Invitation::Inbound {
        number: verified.number,
        peer_domain: verified.granted_to.to_ascii_lowercase(),
        ticket: verified.uuid,
    })
}

/// Verifies the ticket of a request from outside.
pub(crate) fn check_ticket(
    now: Now,
    snapshot: &Snapshot,
    counters: &WorkerCounters,
    source: &Source,
    request: &SipMessage,
) -> Result<tollgate_ticket::Verified, Answer> {
    let domains = source
        .peer
        .as_ref()
        .map(|peer| peer.domains.as_slice())
        .unwrap_or_default();
    let values: Vec<&[u8]> = request
        .fields()
        .filter(|field| field.header.is_ticket())
        .map(|field| field.value)
        .collect();
    let asked = Request {
        ticket_values: &values,
        peer_domains: domains,
        request_uri: request.request_uri(),
    };
    match verify(
        &snapshot.tickets,
        &snapshot.peers,
        &snapshot.local_domains,
        now.unix,
        &asked,
    ) {
        Ok(verified) => {
            counters.tickets_ok.inc();
            Ok(verified)
        }
        Err(cause) => {
            counters.ticket_failed(cause);
            match snapshot.tickets.on_failure {
                TicketFailureAction::Reject => Err(Refusal::new(403, AdmissionResult::Ticket).into()),
                TicketFailureAction::Drop => {
                    counters.admission(Way::Inbound, AdmissionResult::Ticket);
                    Err(Answer::Silence)
                }
            }
        }
    }
}

/// Only the call agent's addresses may ask for calls inside.
pub(crate) fn check_source(snapshot: &Snapshot, counters: &WorkerCounters, source: &Source) -> Result<(), Answer> {
    if snapshot.agent.allowed_sources.contains(&source.remote.ip()) {
        return Ok(());
    }
    counters.violation(Violation::SourceNotAllowed);
    Err(Refusal::new(403, AdmissionResult::Denied).into())
}

fn check_common(snapshot: &Snapshot, counters: &WorkerCounters, invite: &SipMessage) -> Result<(), Answer> {
    if !snapshot.admission.is_open() {
        return Err(Refusal::new(503, AdmissionResult::Draining).into());
    }
    if invite.max_forwards() == 0 {
        counters.violation(Violation::MaxForwards);
        return Err(Refusal::new(483, AdmissionResult::Denied).into());
    }
    if invite.first(Header::ProxyRequire).is_some() {
        return Err(Refusal::new(420, AdmissionResult::Denied).into());
    }
    Ok(())
}

/// calls.md 2: a local domain, or an outside address of ours.
fn is_ours(snapshot: &Snapshot, local: &LocalAddresses, uri: &SipUri<'_>) -> bool {
    let is_own = |ip: IpAddr, listener: &Listener| {
        listener.role == Role::Trunk && (listener.address.bound.ip() == ip || listener.address.advertised.ip() == ip)
    };
    match uri.ip() {
        Some(ip) => local.listeners.iter().any(|listener| is_own(ip, listener)),
        None => {
            let host = String::from_utf8_lossy(uri.host).to_ascii_lowercase();
            let host = host.strip_suffix('.').unwrap_or(&host);
            snapshot.local_domains.iter().any(|domain| domain == host)
        }
    }
}

/// A topmost Route, if there is one, must be ours.
fn routes_to_us(snapshot: &Snapshot, local: &LocalAddresses, invite: &SipMessage) -> bool {
    let Some(top) = invite.values(Header::Route).next() else {
        return true;
    };
    let uri = tollgate_sip::NameAddr::parse(top).and_then(|route| route.sip_uri());
    uri.is_some_and(|uri| is_ours(snapshot, local, &uri))
}
