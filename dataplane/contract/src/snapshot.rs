//! The one immutable value that tells the data plane everything it decides by.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{
    Admission, DeniedTickets, E164, FallbackSettings, Keyring, Limits, MacCoverage, MappingTable, MediaPolicy,
    PeerPolicy, RouteTable, TicketHeader, Transport,
};

/// Everything new transactions are judged by. A call in progress keeps what it copied.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Rises by one with each publication.
    pub generation: u64,
    /// The domain of our certificate and of our identities outside. Lower case.
    pub domain: String,
    /// Domains that Request-URIs and granting domains may name as ours. Lower case; holds `domain`.
    pub local_domains: Vec<String>,
    /// Where inbound calls go, and who may place outbound ones.
    pub agent: AgentTarget,
    /// Called number to peer.
    pub routes: RouteTable,
    /// Mapped inside address to peer, for the off-path deployment.
    pub mappings: MappingTable,
    /// Ticket verification.
    pub tickets: TicketRules,
    /// Media rules.
    pub media: MediaPolicy,
    /// Call rules.
    pub calls: CallRules,
    /// Quality and fallback.
    pub fallback: FallbackSettings,
    /// Per-domain rules.
    pub peers: PeerPolicy,
    /// Bounds.
    pub limits: Limits,
    /// Open or draining.
    pub admission: Admission,
}

/// The call agent of the inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTarget {
    /// Where its SIP listens.
    pub address: SocketAddr,
    /// By which transport we reach it.
    pub transport: Transport,
    /// The name its certificate must bear when the transport is TLS.
    pub tls_name: Option<String>,
    /// Addresses that may send requests to the inside listeners; holds the agent's own.
    pub allowed_sources: Vec<IpAddr>,
}

/// How tickets are verified (ticket.md 6).
#[derive(Clone, Debug)]
pub struct TicketRules {
    /// The keys.
    pub keyring: Keyring,
    /// Tolerance between two hosts' clocks: 0, 0 to 300 s.
    pub clock_skew: Duration,
    /// Longest salt accepted: 4, up to 32 bytes.
    pub salt_max: usize,
    /// What the MAC covers.
    pub mac_covers: MacCoverage,
    /// Taken back.
    pub denied: DeniedTickets,
    /// Numbers enrolled here; `None` when not known.
    pub enrolled: Option<BTreeSet<E164>>,
    /// The header name sent with outbound calls.
    pub header: TicketHeader,
    /// Answer or silence.
    pub on_failure: TicketFailureAction,
}

/// What the peer sees when its ticket fails (ticket.md 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TicketFailureAction {
    /// 403 Forbidden, the same for every cause.
    #[default]
    Reject,
    /// Nothing at all; the connection stays.
    Drop,
}

/// Rules of set-up (calls.md 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRules {
    /// Status that makes the call agent use the PSTN: 503.
    pub fallback_code: u16,
    /// From INVITE to the first 18x or final answer: 4 s.
    pub setup_timeout: Duration,
    /// From INVITE to the final answer: 3 min.
    pub invite_timeout: Duration,
    /// To make a connection to a peer: 2 s, 100 ms to 10 s.
    pub connect_timeout: Duration,
    /// How long a drain waits for calls to end.
    pub drain_deadline: Duration,
}

impl Default for CallRules {
    fn default() -> Self {
        Self {
            fallback_code: 503,
            setup_timeout: Duration::from_secs(4),
            invite_timeout: Duration::from_secs(180),
            connect_timeout: Duration::from_millis(2_000),
            drain_deadline: Duration::from_secs(300),
        }
    }
}

impl Snapshot {
    /// A snapshot that admits nothing and knows no key, route or domain: what is true before any policy.
    #[must_use]
    pub fn without_policy() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 5060));
        Self {
            generation: 0,
            domain: String::new(),
            local_domains: Vec::new(),
            agent: AgentTarget {
                address: nowhere,
                transport: Transport::Tcp,
                tls_name: None,
                allowed_sources: Vec::new(),
            },
            routes: RouteTable::default(),
            mappings: MappingTable::default(),
            tickets: TicketRules {
                keyring: Keyring::default(),
                clock_skew: Duration::ZERO,
                salt_max: 4,
                mac_covers: MacCoverage::default(),
                denied: DeniedTickets::default(),
                enrolled: None,
                header: TicketHeader::default(),
                on_failure: TicketFailureAction::default(),
            },
            media: MediaPolicy::default(),
            calls: CallRules::default(),
            fallback: FallbackSettings::default(),
            peers: PeerPolicy::default(),
            limits: Limits::default(),
            admission: Admission::Draining,
        }
    }
}
