//! Policy to snapshot: a pure function, the plane's heart.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tollgate_contract::{
    Admission, AgentTarget, CallRules, DeniedTickets, E164, FallbackSettings, KeyState, Keyring, Limits, MacCoverage,
    MappingTable, MediaPolicy, NumberPattern, PeerPolicy, Pii, QualityThresholds, Route, RouteTable, RtcpPolicy,
    Snapshot, SrtpSuite, TicketAlg, TicketFailureAction, TicketHeader, TicketKey, TicketRules, Transport,
};
use tollgate_policy as policy;
use tollgate_ticket::{KeyForm, parse_secret};

use crate::names::Names;

/// A key without an end of its own is accepted until the year 9999.
const NO_END: Duration = Duration::from_secs(253_370_764_800);

/// What a policy says that cannot be put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A ticket key's text is not of its form. The text is never shown.
    #[error("tickets.keys, epoch {epoch}: {why}")]
    Key {
        /// Which key.
        epoch: u32,
        /// What is wrong.
        why: String,
    },
    /// More than 16 keys, or an epoch twice.
    #[error("tickets.keys, epoch {0}: more than 16 keys, or this epoch twice")]
    Keyring(u32),
    /// A number is not +E.164.
    #[error("{key}: {number} is not a +E.164 number")]
    Number {
        /// Where.
        key: &'static str,
        /// What was written.
        number: String,
    },
}

/// Compiles a policy whose names are resolved.
///
/// # Errors
/// Every [`CompileError`] at once.
pub fn compile(policy: &policy::Policy, names: &Names, admission: Admission) -> Result<Snapshot, Vec<CompileError>> {
    let mut errors = Vec::new();
    let snapshot = Snapshot {
        generation: 0,
        domain: policy.domain.clone(),
        local_domains: policy.local_domains.clone(),
        agent: agent(policy),
        routes: routes(policy, names, &mut errors),
        mappings: MappingTable::default(),
        tickets: TicketRules {
            on_failure: match policy.calls.on_ticket_failure {
                policy::OnTicketFailure::Reject => TicketFailureAction::Reject,
                policy::OnTicketFailure::Drop => TicketFailureAction::Drop,
            },
            ..tickets(&policy.tickets, &mut errors)
        },
        media: media(&policy.media),
        calls: calls(&policy.calls),
        fallback: fallback(&policy.fallback),
        peers: peers(&policy.peers),
        limits: Limits {
            max_calls: policy.media.max_calls,
            calls_per_second_per_peer: policy.calls.calls_per_second_per_peer,
        },
        admission,
    };
    if errors.is_empty() { Ok(snapshot) } else { Err(errors) }
}

/// The contract's word for a suite.
fn suite(suite: policy::Suite) -> SrtpSuite {
    match suite {
        policy::Suite::AeadAes256Gcm => SrtpSuite::AeadAes256Gcm,
        policy::Suite::AeadAes128Gcm => SrtpSuite::AeadAes128Gcm,
        policy::Suite::AesCm128HmacSha1_80 => SrtpSuite::AesCm128HmacSha1_80,
        policy::Suite::AesCm128HmacSha1_32 => SrtpSuite::AesCm128HmacSha1_32,
        policy::Suite::Aes256CmHmacSha1_80 => SrtpSuite::AesCm256HmacSha1_80,
        policy::Suite::Aes256CmHmacSha1_32 => SrtpSuite::AesCm256HmacSha1_32,
    }
}

fn agent(policy: &policy::Policy) -> AgentTarget {
    let agent = &policy.inside.agent;
    let mut allowed_sources = agent.allow_from.clone();
    if !allowed_sources.contains(&agent.address.ip()) {
        allowed_sources.push(agent.address.ip());
    }
    AgentTarget {
        address: agent.address,
        transport: transport(agent.transport),
        tls_name: policy.inside.tls.as_ref().and_then(|tls| tls.server_name.clone()),
        allowed_sources,
    }
}

/// The contract's word for a transport.
fn transport(transport: policy::Transport) -> Transport {
    match transport {
        policy::Transport::Udp => Transport::Udp,
        policy::Transport::Tcp => Transport::Tcp,
        policy::Transport::Tls => Transport::Tls,
    }
}

fn routes(policy: &policy::Policy, names: &Names, errors: &mut Vec<CompileError>) -> RouteTable {
    let mut compiled = Vec::new();
    for route in &policy.routes {
        let Some(pattern) = pattern(&route.pattern, errors) else {
            continue;
        };
        let targets: Vec<_> = route
            .peers
            .iter()
            .flat_map(|peer| match peer {
                policy::HostPort::Address(address) => vec![*address],
                policy::HostPort::Name { host, port } => names.get(&(host.clone(), *port)).cloned().unwrap_or_default(),
            })
            .collect();
        // A peer whose name has no address yet has no route: its calls go to the PSTN at once.
        if !targets.is_empty() {
            let ticket = route.ticket.as_ref().map(|ticket| Pii(ticket.expose().to_owned()));
            let route = Route {
                domain: route.domain.as_str().into(),
                targets: targets.into(),
                ticket,
                expires: None,
            };
            compiled.push((pattern, Arc::new(route)));
        }
    }
    // The standard library's hash keys are random: one of its hashes is a seed that no validator knows.
    RouteTable::from_routes(RandomState::new().hash_one(()), compiled)
}

fn pattern(pattern: &policy::NumberPattern, errors: &mut Vec<CompileError>) -> Option<NumberPattern> {
    match pattern {
        policy::NumberPattern::Number(text) => number("routes.number", text, errors).map(NumberPattern::Exact),
        policy::NumberPattern::Prefix(text) => number("routes.prefix", text, errors).map(NumberPattern::Prefix),
        policy::NumberPattern::Any => Some(NumberPattern::Any),
    }
}

fn number(key: &'static str, text: &str, errors: &mut Vec<CompileError>) -> Option<E164> {
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => {
            errors.push(CompileError::Number {
                key,
                number: text.to_owned(),
            });
            None
        }
    }
}

fn tickets(tickets: &policy::Tickets, errors: &mut Vec<CompileError>) -> TicketRules {
    let mut keyring = Keyring::default();
    for key in &tickets.keys {
        let Some(compiled) = ticket_key(key, tickets.allow_short_password, errors) else {
            continue;
        };
        if keyring.add(compiled).is_err() {
            errors.push(CompileError::Keyring(key.epoch));
        }
    }
    let numbers = |key, list: &[String], errors: &mut Vec<CompileError>| {
        list.iter().filter_map(|text| number(key, text, errors)).collect()
    };
    let denied = DeniedTickets {
        uuids: tickets.denied.uuids.iter().copied().collect(),
        numbers: numbers("tickets.denied.numbers", &tickets.denied.numbers, errors),
        domains: tickets.denied.domains.iter().cloned().collect(),
        epochs: tickets.denied.epochs.iter().copied().collect(),
    };
    TicketRules {
        keyring,
        clock_skew: tickets.clock_skew,
        salt_max: tickets.salt_max,
        mac_covers: match tickets.mac_covers {
            policy::MacCovers::BeforeIntegrity => MacCoverage::BeforeIntegrity,
            policy::MacCovers::WithIntegrityHeader => MacCoverage::WithIntegrityHeader,
        },
        denied,
        enrolled: tickets
            .enrolled
            .as_deref()
            .map(|list| numbers("tickets.enrolled", list, errors)),
        header: match tickets.header {
            policy::TicketHeader::CiscoUcIme => TicketHeader::CiscoUcIme,
            policy::TicketHeader::CiscoVipr => TicketHeader::CiscoVipr,
            policy::TicketHeader::Ticket => TicketHeader::Ticket,
            policy::TicketHeader::Vipr => TicketHeader::Vipr,
        },
        on_failure: TicketFailureAction::default(),
    }
}

fn ticket_key(key: &policy::TicketKey, allow_short: bool, errors: &mut Vec<CompileError>) -> Option<TicketKey> {
    let form = match key.form {
        policy::KeyForm::Hex16 => KeyForm::Hex16,
        policy::KeyForm::Hex32 => KeyForm::Hex32,
        policy::KeyForm::RawAscii => KeyForm::RawAscii,
    };
    match parse_secret(form, key.text.expose(), allow_short) {
        Ok(secret) => Some(TicketKey {
            epoch: key.epoch,
            alg: match key.alg {
                policy::KeyAlg::V2HmacSha256 => TicketAlg::V2HmacSha256,
                policy::KeyAlg::ViprHmacSha1 => TicketAlg::ViprHmacSha1,
            },
            secret,
            not_before: key.not_before.unwrap_or_default(),
            accept_until: key.accept_until.unwrap_or(NO_END),
            state: if key.revoked { KeyState::Revoked } else { KeyState::Live },
        }),
        Err(why) => {
            errors.push(CompileError::Key {
                epoch: key.epoch,
                why: why.to_string(),
            });
            None
        }
    }
}

fn media(media: &policy::Media) -> MediaPolicy {
    MediaPolicy {
        suites: media.suites.iter().copied().map(suite).collect(),
        rtcp: match media.rtcp {
            policy::Rtcp::Relay => RtcpPolicy::Relay,
            policy::Rtcp::Drop => RtcpPolicy::Drop,
        },
        port_quarantine: media.port_quarantine,
        media_timeout: media.media_timeout,
    }
}

fn calls(calls: &policy::Calls) -> CallRules {
    CallRules {
        fallback_code: calls.fallback_code,
        setup_timeout: calls.setup_timeout,
        invite_timeout: calls.invite_timeout,
        connect_timeout: calls.connect_timeout,
        drain_deadline: calls.drain_deadline,
    }
}

fn fallback(fallback: &policy::Fallback) -> FallbackSettings {
    let thresholds = &fallback.thresholds;
    FallbackSettings {
        enabled: fallback.enabled,
        monitoring_interval: fallback.monitoring_interval,
        hold_down: fallback.hold_down,
        dead_hold_down: fallback.dead_hold_down,
        refer_when_called: fallback.refer_when_called,
        thresholds: QualityThresholds {
            window: thresholds.window,
            loss_poor: thresholds.loss_poor_ratio as f32,
            loss_good: thresholds.loss_good_ratio as f32,
            jitter_poor: thresholds.jitter_poor,
            jitter_good: thresholds.jitter_good,
            dead_after: thresholds.dead_after,
        },
    }
}

fn peers(peers: &[policy::Peer]) -> PeerPolicy {
    PeerPolicy {
        denied: peers
            .iter()
            .filter(|peer| peer.deny)
            .map(|peer| peer.domain.clone())
            .collect(),
        labels: peers
            .iter()
            .filter_map(|peer| Some((peer.domain.clone(), peer.label.clone()?)))
            .collect(),
    }
}
