//! A running edge on loopback with one catch-all route: the data plane as the product starts it, without its files.
//!
//! Every address is 127.x.y.z with x and y drawn anew, so that runs beside each other do not meet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use rand::Rng;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tollgate_call::transport::{Listener, LocalAddresses, Role};
use tollgate_call::{CallIdCodec, CallTable, CallTableConfig, PortPair};
use tollgate_contract::counters::WorkerCounters;
use tollgate_contract::publish::Publisher;
use tollgate_contract::{
    Admission, AgentTarget, NumberPattern, Report, Route, RouteTable, Side, Snapshot, Transport, WireAddr,
};
use tollgate_media::SocketId;
use tollgate_peers::certs::{Authority, Identity};
use tollgate_runtime::tls::{ClientAuth, TlsPem, TlsSide};
use tollgate_runtime::{Dataplane, Handle, MediaRange, RuntimeConfig, RuntimeLimits, media_layout};

use self::steering::EdgeSteering;
use self::worker::EdgeCore;
use super::recorder::Recorder;
use super::wire::Wire;
use crate::vectors::fields::{Checked, same};

// The product's own adapters between call table, framing and sockets: what is tested is what is run.
#[path = "../../../../../controlplane/tollgate/src/steering.rs"]
mod steering;
#[path = "../../../../../controlplane/tollgate/src/core.rs"]
mod worker;

/// The domain of the edge.
const DOMAIN: &str = "edge.example.net";

/// The domain of the recording peer, which the catch-all route leads to.
const PEER: &str = "recorder.example.org";

/// Media ports of each side: a call of two streams holds four, and those given back rest a while.
const MEDIA_PORTS: std::ops::RangeInclusive<u16> = 20_000..=20_255;

/// Media ports of each side for IPv6, of which few examples speak.
const IPV6_PORTS: u16 = 32;

/// The last byte of the edge's inside address; those of the senders are below it.
const EDGE_INSIDE: u8 = 251;

/// The last byte of the edge's outside address.
const EDGE_OUTSIDE: u8 = 252;

/// The last byte of the recording peer's address.
const RECORDER: u8 = 253;

/// The running edge and the peer behind it.
pub(super) struct Edge {
    pub(super) recorder: Recorder,
    running: Running,
    client_tls: ClientConfig,
    network: [u8; 2],
    senders: u8,
    markers: u32,
}

/// The threads of the edge, and what must live as long as they do.
struct Running {
    handle: Handle,
    counters: Arc<WorkerCounters>,
    _snapshots: Publisher,
    _reports: Receiver<Report>,
}

impl Running {
    fn start(config: RuntimeConfig, snapshot: Snapshot) -> Result<Self, String> {
        let (counters, call_ids) = (Arc::new(WorkerCounters::default()), CallIdCodec::default());
        let table = table(&config, &call_ids, &counters)?;
        let mut publisher = Publisher::new(snapshot);
        let readers = vec![publisher.reader(), publisher.reader()];
        let (sender, reports) = sync_channel(1_024);
        let steering = EdgeSteering { call_ids };
        let handle = Dataplane::start(config, vec![EdgeCore(table)], steering, readers, sender).map_err(said)?;
        Ok(Self {
            handle,
            counters,
            _snapshots: publisher,
            _reports: reports,
        })
    }
}

impl Edge {
    /// Starts both, the edge with a catch-all route.
    pub(super) fn start() -> Result<Self, String> {
        Self::routing(|recorder| {
            let route = Route {
                domain: PEER.into(),
                targets: Arc::from([recorder]),
                ticket: None,
                expires: None,
            };
            RouteTable::from_routes(0, [(NumberPattern::Any, Arc::new(route))])
        })
    }

    /// Starts both, the edge with the routes made for the recorder's address.
    pub(super) fn routing(routes: impl FnOnce(SocketAddr) -> RouteTable) -> Result<Self, String> {
        let network = [rand::rng().random_range(1..=250), rand::rng().random_range(1..=250)];
        let authority = Authority::new("torture");
        let server_tls = server_config(&authority).map_err(said)?;
        let recorder = Recorder::start(at(network, RECORDER, 5061), server_tls).map_err(said)?;
        let config = config(network, &authority)?;
        let snapshot = snapshot(network, routes(recorder.address()));
        // Media of both families where the host has them, for the examples have either.
        let mut both = config.clone();
        both.media
            .extend(ipv6_media(rand::rng().random_range(5_000..30_000) * 2));
        let running = Running::start(both, snapshot.clone()).or_else(|_| Running::start(config, snapshot))?;
        Ok(Self {
            recorder,
            running,
            client_tls: client_config(&authority).map_err(said)?,
            network,
            senders: 0,
            markers: 0,
        })
    }

    /// A new sender to the inside listener of a transport.
    pub(super) fn wire(&mut self, transport: &str) -> io::Result<Wire> {
        self.senders = self.senders % (EDGE_INSIDE - 1) + 1;
        let from = at(self.network, self.senders, 5060);
        match transport {
            "TCP" => Wire::tcp(from, at(self.network, EDGE_INSIDE, 5060)),
            "TLS" => Wire::tls(
                from,
                at(self.network, EDGE_INSIDE, 5061),
                self.client_tls.clone(),
                DOMAIN,
            ),
            _ => Wire::udp(from, at(self.network, EDGE_INSIDE, 5060)),
        }
    }

    /// The inside address that a sender's messages go to.
    pub(super) fn inside(&self, wire: &Wire) -> SocketAddr {
        let port = if wire.transport() == "TLS" { 5061 } else { 5060 };
        at(self.network, EDGE_INSIDE, port)
    }

    /// The Call-ID of the next marker.
    pub(super) fn marker(&mut self) -> String {
        self.markers += 1;
        format!("marker-{}", self.markers)
    }

    /// What must not be in anything the recorder gets.
    pub(super) fn hidden(&self) -> Vec<String> {
        vec![ip(self.network, EDGE_INSIDE).to_string()]
    }

    /// No panic was caught, no thread has ended, and no call is up.
    pub(super) fn is_well(&self) -> Checked {
        let (handle, counters) = (&self.running.handle, &self.running.counters);
        let telemetry = handle.telemetry();
        let caught = telemetry.workers.iter().map(|worker| worker.panics.get()).sum::<u64>();
        same(
            "panics",
            0,
            caught + telemetry.sip.panics.get() + counters.contained.get(),
        )?;
        let ended = handle.liveness().iter().filter(|thread| thread.is_finished).count();
        same("threads that ended", 0, ended)?;
        let is_up = |call: &tollgate_contract::CallView| call.phase != tollgate_contract::CallPhase::Ending;
        same("calls up", 0, handle.views().iter().filter(|call| is_up(call)).count())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.running.handle.stop();
    }
}

fn said(why: impl std::fmt::Display) -> String {
    why.to_string()
}

fn ip(network: [u8; 2], host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, network[0], network[1], host))
}

fn at(network: [u8; 2], host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(ip(network, host), port)
}

fn config(network: [u8; 2], authority: &Authority) -> Result<RuntimeConfig, String> {
    let listener = |(side, transport, host, port): (Side, Transport, u8, u16)| Listener {
        side,
        transport,
        address: WireAddr::plain(at(network, host, port)),
        role: Role::Trunk,
    };
    let listeners = [
        (Side::Inside, Transport::Udp, EDGE_INSIDE, 5060),
        (Side::Inside, Transport::Tcp, EDGE_INSIDE, 5060),
        (Side::Inside, Transport::Tls, EDGE_INSIDE, 5061),
        (Side::Outside, Transport::Tls, EDGE_OUTSIDE, 5061),
    ];
    let media = |(side, host): (Side, u8)| MediaRange {
        side,
        bound_ip: ip(network, host),
        advertised_ip: ip(network, host),
        ports: MEDIA_PORTS,
    };
    let identity = authority.issue(&[DOMAIN], &[]);
    let pem = TlsPem {
        certificates: identity.cert_pem.as_bytes(),
        key: identity.key_pem.as_bytes(),
        roots: authority.ca_pem().as_bytes(),
    };
    let tls = |auth| TlsSide::from_pem(&pem, auth).map(Some).map_err(said);
    Ok(RuntimeConfig {
        local: LocalAddresses {
            listeners: listeners.map(listener).to_vec(),
        },
        tls_outside: tls(ClientAuth::Required)?,
        tls_inside: tls(ClientAuth::NotAsked)?,
        media: [(Side::Inside, EDGE_INSIDE), (Side::Outside, EDGE_OUTSIDE)]
            .map(media)
            .to_vec(),
        workers: 1,
        limits: RuntimeLimits {
            connections_max: 1_000,
            ..RuntimeLimits::default()
        },
    })
}

/// A range for each side, one behind the other.
fn ipv6_media(first: u16) -> [MediaRange; 2] {
    [(Side::Inside, first), (Side::Outside, first + IPV6_PORTS)].map(|(side, first)| MediaRange {
        side,
        bound_ip: Ipv6Addr::LOCALHOST.into(),
        advertised_ip: Ipv6Addr::LOCALHOST.into(),
        ports: first..=first + IPV6_PORTS - 1,
    })
}

fn table(config: &RuntimeConfig, call_ids: &CallIdCodec, counters: &Arc<WorkerCounters>) -> Result<CallTable, String> {
    let layout = media_layout(&config.media, config.workers).map_err(said)?;
    let pairs: Vec<PortPair> = layout
        .concat()
        .iter()
        .map(|pair| PortPair {
            side: pair.side,
            advertised: pair.advertised_ip,
            port: pair.rtp_port,
            rtp: SocketId(pair.rtp_socket),
            rtcp: SocketId(pair.rtcp_socket),
        })
        .collect();
    let config = CallTableConfig {
        local: config.local.clone(),
        sockets: pairs.len() * 2,
        ports: pairs,
        max_calls: 1_000,
        call_ids: call_ids.clone(),
        seed: [7; 32],
    };
    Ok(CallTable::new(config, Arc::clone(counters)))
}

/// These routes, and leave for every sender.
fn snapshot(network: [u8; 2], routes: RouteTable) -> Snapshot {
    Snapshot {
        domain: DOMAIN.to_owned(),
        local_domains: vec![DOMAIN.to_owned()],
        agent: AgentTarget {
            address: at(network, 1, 5060),
            transport: Transport::Udp,
            tls_name: None,
            allowed_sources: (1..EDGE_INSIDE).map(|host| ip(network, host)).collect(),
        },
        routes,
        admission: Admission::Open,
        ..Snapshot::without_policy()
    }
}

fn roots(authority: &Authority) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.ca_pem().as_bytes()) {
        let certificate = certificate.map_err(io::Error::other)?;
        roots.add(certificate).map_err(io::Error::other)?;
    }
    Ok(roots)
}

fn client_config(authority: &Authority) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots(authority)?).with_no_client_auth())
}

/// The recorder's: it asks for the edge's certificate, as every peer does.
fn server_config(authority: &Authority) -> io::Result<ServerConfig> {
    let Identity { cert_pem, key_pem } = authority.issue(&[PEER], &[]);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)?), Arc::clone(&provider))
        .build()
        .map_err(io::Error::other)?;
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.map_err(io::Error::other)?, key)
        .map_err(io::Error::other)
}
