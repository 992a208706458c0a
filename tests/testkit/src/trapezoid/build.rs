//! What a trapezoid is made of: addresses, a snapshot with a route, a ticket, small port pools.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tollgate_call::transport::{Listener, LocalAddresses, Role};
use tollgate_call::{CallIdCodec, CallTable, CallTableConfig, PortPair};
use tollgate_contract::counters::WorkerCounters;
use tollgate_contract::{
    Admission, AgentTarget, CallRules, DeniedTickets, FallbackSettings, KeyState, Keyring, Limits, MacCoverage,
    MappingTable, MediaPolicy, NumberPattern, PeerPolicy, Route, RouteTable, Secret, Side, Snapshot, TicketAlg,
    TicketFailureAction, TicketHeader, TicketKey, TicketRules, Transport, WireAddr,
};
use tollgate_media::SocketId;
use tollgate_ticket::{Grant, issue};

use super::Trapezoid;
use crate::clock::{START_UNIX, beginning, start};
use crate::party::Party;

/// How the agent's calls reach the edge (product.md 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// On an inside address of the edge; the peer is found by the number.
    Trunk,
    /// On a mapped address of the edge, the first of four; it stands for the peer, and the agent brings a ticket.
    OffPath,
    /// On the peer's own address, which the edge takes over; the agent brings a ticket.
    Inline,
}

/// The ticket that the agent brings off-path and inline.
pub const AGENT_TICKET: &str = "AgentsOwn_Ticket-1..";

/// The last port of the mapped range.
const LAST_MAPPED: u16 = 20_003;

/// How a trapezoid differs from the usual one: IPv4 on both sides, UDP inside, 8 port pairs a side.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How the agent's calls reach the edge.
    pub deployment: Deployment,
    /// The agent's transport.
    pub inside: Transport,
    /// Whether the inside is IPv6.
    pub inside_is_ipv6: bool,
    /// Whether the outside is IPv6.
    pub outside_is_ipv6: bool,
    /// Whether media has addresses of both families on both sides.
    pub has_both_families: bool,
    /// Port pairs of each side and family.
    pub pairs: u16,
    /// Most calls.
    pub max_calls: usize,
    /// Seed of the edge's randomness.
    pub seed: u8,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            deployment: Deployment::Trunk,
            inside: Transport::Udp,
            inside_is_ipv6: false,
            outside_is_ipv6: false,
            has_both_families: false,
            pairs: 8,
            max_calls: 8,
            seed: 1,
        }
    }
}

/// The addresses of one setup: bound, advertised, party's SIP, party's media.
struct Plan {
    bound: IpAddr,
    advertised: IpAddr,
    sip: IpAddr,
    media: IpAddr,
}

impl Setup {
    /// With the agent on another transport.
    #[must_use]
    pub fn over(inside: Transport) -> Self {
        Self {
            inside,
            ..Self::default()
        }
    }

    /// In another deployment, with the agent on TCP.
    #[must_use]
    pub fn deployed(deployment: Deployment) -> Self {
        Self {
            deployment,
            ..Self::over(Transport::Tcp)
        }
    }

    /// The test bed.
    #[must_use]
    pub fn build(self) -> Trapezoid {
        let mut bed = self.trunk();
        match self.deployment {
            Deployment::Trunk => return bed,
            Deployment::OffPath => {
                let mapping = bed.mapping("b.example");
                bed.snapshot.mappings = MappingTable::from_iter([(self.mapped(), mapping)]);
                bed.agent.calls = format!("sip:+14085555432@{}", self.mapped());
                bed.dials = Some(self.mapped());
                bed.secrets.push(self.mapped().ip().to_string());
            }
            Deployment::Inline => bed.dials = Some(bed.peer.address),
        }
        let ticket = ("X-Cisco-UC-IME-Ticket".to_owned(), AGENT_TICKET.to_owned());
        bed.agent.extra.push(ticket);
        bed
    }

    fn trunk(self) -> Trapezoid {
        let (inside, outside) = (self.plan(Side::Inside), self.plan(Side::Outside));
        // In front, so that whoever takes the first listener of a kind takes the wrong one.
        let mut listeners: Vec<Listener> = self.listener_for_peers().into_iter().collect();
        listeners.extend(own_listeners(&inside, &outside));
        let pairs = self.port_pairs();
        let agent = Party::new(
            Side::Inside,
            self.inside,
            SocketAddr::new(inside.sip, 5060),
            SocketAddr::new(inside.media, 20_000),
        );
        let mut peer = Party::new(
            Side::Outside,
            Transport::Tls,
            SocketAddr::new(outside.sip, 5061),
            SocketAddr::new(outside.media, 30_000),
        );
        let ticket = issue(
            &ticket_key(),
            MacCoverage::BeforeIntegrity,
            &grant(),
            [1, 2, 3, 4],
            [7; 16],
        );
        peer.extra.push(("X-Cisco-UC-IME-Ticket".to_owned(), ticket));
        let counters = Arc::new(WorkerCounters::default());
        let config = CallTableConfig {
            local: LocalAddresses {
                listeners: listeners.clone(),
            },
            ports: pairs.clone(),
            sockets: pairs.len() * 2,
            max_calls: self.max_calls,
            call_ids: CallIdCodec::default(),
            seed: [self.seed; 32],
        };
        let secrets = [inside.bound, inside.advertised, inside.sip, inside.media];
        Trapezoid {
            table: CallTable::new(config, counters.clone()),
            snapshot: snapshot(agent.address, self.inside, peer.address),
            counters,
            agent,
            peer,
            peer_domains: vec!["b.example".to_owned(), "sip.b.example".to_owned()],
            log: Vec::new(),
            reports: Vec::new(),
            dials: None,
            inside_conns: 0,
            is_ticking: false,
            seeks_faults: true,
            seeks_leaks: true,
            now: beginning(),
            next_tick: start(),
            inbox: Default::default(),
            listeners,
            pairs,
            secrets: secrets.map(|ip| ip.to_string()).to_vec(),
        }
    }

    /// The first mapped address.
    fn mapped(self) -> SocketAddr {
        let ip = if self.inside_is_ipv6 { "fd00::2" } else { "10.0.0.2" };
        SocketAddr::new(ip.parse().expect("an address"), LAST_MAPPED - 3)
    }

    /// The listener that stands for peers, where the deployment has one.
    fn listener_for_peers(self) -> Option<Listener> {
        let (address, role) = match self.deployment {
            Deployment::Trunk => return None,
            Deployment::OffPath => (self.mapped(), Role::Mapped { last_port: LAST_MAPPED }),
            Deployment::Inline if self.inside_is_ipv6 => ("[::]:5062".parse().expect("an address"), Role::Transparent),
            Deployment::Inline => ("0.0.0.0:5062".parse().expect("an address"), Role::Transparent),
        };
        Some(Listener {
            side: Side::Inside,
            transport: Transport::Tcp,
            address: WireAddr::plain(address),
            role,
        })
    }

    fn plan(self, side: Side) -> Plan {
        let texts = match (side, self.inside_is_ipv6, self.outside_is_ipv6) {
            (Side::Inside, false, _) => ["10.9.0.1", "10.0.0.1", "10.0.0.5", "10.0.0.50"],
            (Side::Inside, true, _) => ["fd00::9:1", "fd00::1", "fd00::5", "fd00::50"],
            (Side::Outside, _, false) => ["172.16.0.1", "198.51.100.1", "203.0.113.7", "203.0.113.77"],
            (Side::Outside, _, true) => ["2001:db8:a::9", "2001:db8:a::1", "2001:db8:b::7", "2001:db8:b::77"],
        };
        let [bound, advertised, sip, media] = texts.map(|text| text.parse().expect("an address"));
        Plan {
            bound,
            advertised,
            sip,
            media,
        }
    }

    fn port_pairs(self) -> Vec<PortPair> {
        let other = Self {
            inside_is_ipv6: !self.inside_is_ipv6,
            outside_is_ipv6: !self.outside_is_ipv6,
            ..self
        };
        let families = if self.has_both_families {
            vec![self, other]
        } else {
            vec![self]
        };
        let sides = families
            .into_iter()
            .flat_map(|family| [Side::Inside, Side::Outside].map(|side| (side, family.plan(side).advertised)));
        let numbered = sides.flat_map(|side| (0..self.pairs).map(move |at| (side, at)));
        let pair = |(at, ((side, advertised), number)): (usize, ((Side, IpAddr), u16))| PortPair {
            side,
            advertised,
            port: 16_384 + number * 2,
            rtp: SocketId(at as u32 * 2),
            rtcp: SocketId(at as u32 * 2 + 1),
        };
        numbered.enumerate().map(pair).collect()
    }
}

fn own_listeners(inside: &Plan, outside: &Plan) -> Vec<Listener> {
    let kinds = [
        (Side::Inside, Transport::Udp, inside, 5060),
        (Side::Inside, Transport::Tcp, inside, 5060),
        (Side::Inside, Transport::Tls, inside, 5061),
        (Side::Outside, Transport::Tls, outside, 5061),
    ];
    let listener = |(side, transport, plan, port): (Side, Transport, &Plan, u16)| Listener {
        side,
        transport,
        address: WireAddr {
            bound: SocketAddr::new(plan.bound, port + 10_000),
            advertised: SocketAddr::new(plan.advertised, port),
        },
        role: Role::Trunk,
    };
    kinds.into_iter().map(listener).collect()
}

fn snapshot(agent: SocketAddr, transport: Transport, peer: SocketAddr) -> Snapshot {
    let route = Route {
        domain: "b.example".into(),
        targets: Arc::from([peer]),
        ticket: None,
        expires: None,
    };
    let pattern = "+1408*".parse::<NumberPattern>().expect("a pattern");
    let routes = RouteTable::from_routes(0, [(pattern, Arc::new(route))]);
    let mut keyring = Keyring::default();
    keyring.add(ticket_key()).expect("room for a key");
    Snapshot {
        generation: 1,
        domain: "a.example".to_owned(),
        local_domains: vec!["a.example".to_owned()],
        agent: AgentTarget {
            address: agent,
            transport,
            tls_name: None,
            allowed_sources: vec![agent.ip()],
        },
        routes,
        mappings: MappingTable::default(),
        tickets: TicketRules {
            keyring,
            clock_skew: Duration::ZERO,
            salt_max: 4,
            mac_covers: MacCoverage::BeforeIntegrity,
            denied: DeniedTickets::default(),
            enrolled: Some(BTreeSet::from(["+12125550100".parse().expect("a number")])),
            header: TicketHeader::CiscoUcIme,
            on_failure: TicketFailureAction::Reject,
        },
        media: MediaPolicy::default(),
        calls: CallRules::default(),
        fallback: FallbackSettings::default(),
        peers: PeerPolicy::default(),
        limits: Limits::default(),
        admission: Admission::Open,
    }
}

/// The key tickets are granted with: epoch 1.
#[must_use]
pub fn ticket_key() -> TicketKey {
    TicketKey {
        epoch: 1,
        alg: TicketAlg::ViprHmacSha1,
        secret: Secret::new((0..16).collect()),
        not_before: Duration::ZERO,
        accept_until: START_UNIX * 2,
        state: KeyState::Live,
    }
}

/// What `a.example` granted `b.example`: to call +12125550100, from a day before the scenario for 30 days.
///
/// # Panics
/// Never.
#[must_use]
pub fn grant() -> Grant {
    let day = Duration::from_secs(86_400);
    let validity = (START_UNIX - day, START_UNIX + day * 30);
    let number = "+12125550100".parse().expect("a number");
    Grant::new(number, validity, [9; 16], "a.example", "b.example").expect("a valid grant")
}
