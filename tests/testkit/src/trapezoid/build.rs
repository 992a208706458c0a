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

/// How a trapezoid differs from the usual one: IPv4 on both sides, UDP inside, 8 port pairs a side.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The agent's transport.
    pub inside: Transport,
    /// Whether the inside is IPv6.
    pub inside_is_ipv6: bool,
    /// Whether the outside is IPv6.
    pub outside_is_ipv6: bool,
    /// Port pairs of each side.
    pub pairs: u16,
    /// Most calls.
    pub max_calls: usize,
    /// Seed of the edge's randomness.
    pub seed: u8,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            inside: Transport::Udp,
            inside_is_ipv6: false,
            outside_is_ipv6: false,
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

    /// The test bed.
    #[must_use]
    pub fn build(self) -> Trapezoid {
        let (inside, outside) = (self.plan(Side::Inside), self.plan(Side::Outside));
        let listeners = listeners(&inside, &outside);
        let pairs = self.port_pairs(&inside, &outside);
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

    fn port_pairs(self, inside: &Plan, outside: &Plan) -> Vec<PortPair> {
        let sides = [(Side::Inside, inside.advertised), (Side::Outside, outside.advertised)];
        let numbered = sides
            .into_iter()
            .flat_map(|side| (0..self.pairs).map(move |at| (side, at)));
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

fn listeners(inside: &Plan, outside: &Plan) -> Vec<Listener> {
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
