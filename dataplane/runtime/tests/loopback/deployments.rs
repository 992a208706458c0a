//! Mapped ports (off-path) and transparent listeners (inline): how they are bound, what they let in.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use tollgate_call::transport::{Listener, ListenerId, Role};
use tollgate_contract::{Mapping, MappingTable, Side, Transport, WireAddr};
use tollgate_runtime::config::{MAPPED_PORTS_MAX, SPARE_DESCRIPTORS};
use tollgate_runtime::{RuntimeConfig, StartError};

use super::kit::{Edge, PATIENCE, config, eventually};

const TCP: &[(Side, Transport)] = &[(Side::Inside, Transport::Tcp)];

/// The listener of the mapped ports stands behind the edge's own.
const MAPPED: ListenerId = ListenerId(1);

/// A listener for peers on an inside address.
fn for_peers(address: &str, role: Role) -> Listener {
    Listener {
        side: Side::Inside,
        transport: Transport::Tcp,
        address: WireAddr::plain(address.parse().unwrap()),
        role,
    }
}

fn with(listener: Listener) -> RuntimeConfig {
    let mut config = config(TCP, None);
    config.local.listeners.push(listener);
    config
}

/// Four ports from 20000, on a loopback address of the test's own.
fn edge_on(ip: &str) -> Edge {
    let listener = for_peers(&format!("{ip}:20000"), Role::Mapped { last_port: 20_003 });
    Edge::start(with(listener), None).unwrap()
}

fn port(ip: &str, number: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), number)
}

fn mappings(mapped: &[SocketAddr]) -> MappingTable {
    let mapping = Mapping {
        global: "203.0.113.7:5061".parse().unwrap(),
        global_host: "203.0.113.7".to_owned(),
        transport: Transport::Tls,
        domain: "b.example".to_owned(),
        expires: None,
    };
    mapped.iter().map(|at| (*at, mapping.clone())).collect()
}

fn connect(to: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn echo(stream: &mut BufReader<TcpStream>) -> String {
    stream.get_mut().write_all(b"echo mapped\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

fn is_closed(stream: &mut BufReader<TcpStream>) -> bool {
    !matches!(stream.read(&mut [0; 8]), Ok(1..))
}

#[test]
fn a_message_to_a_mapped_port_tells_which_it_came_to() {
    let mut edge = edge_on("127.0.66.1");
    let (second, last) = (port("127.0.66.1", 20_001), port("127.0.66.1", 20_003));
    edge.map(mappings(&[second, last]));
    for mapped in [second, last] {
        let mut stream = connect(mapped);
        assert_eq!(echo(&mut stream), "mapped\n");
        let (source, _) = edge.received();
        assert_eq!((source.listener, source.local), (MAPPED, mapped));
        assert_eq!(source.remote, stream.get_ref().local_addr().unwrap());
    }
    let mut own = connect(edge.address(0));
    assert_eq!(echo(&mut own), "mapped\n");
    let (source, _) = edge.received();
    assert_eq!((source.listener, source.local), (ListenerId(0), edge.address(0)));
}

#[test]
fn a_mapped_port_without_a_mapping_is_closed_at_once_and_counted() {
    let mut edge = edge_on("127.0.66.2");
    let (first, second) = (port("127.0.66.2", 20_000), port("127.0.66.2", 20_001));
    assert!(is_closed(&mut connect(first)), "before any mapping");
    edge.map(mappings(&[first]));
    let mut stream = connect(first);
    assert_eq!(echo(&mut stream), "mapped\n");
    assert!(is_closed(&mut connect(second)));
    assert_eq!(edge.handle.telemetry().sip.unmapped.get(), 2);
    assert_eq!(edge.handle.telemetry().sip.accepted.get(), 1);
    let beyond = TcpStream::connect(port("127.0.66.2", 20_004)).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_mapping_that_ends_spares_the_connections_that_stand() {
    let mut edge = edge_on("127.0.66.3");
    let mapped = port("127.0.66.3", 20_002);
    edge.map(mappings(&[mapped]));
    let mut stream = connect(mapped);
    assert_eq!(echo(&mut stream), "mapped\n");
    edge.map(MappingTable::default());
    assert!(is_closed(&mut connect(mapped)));
    assert_eq!(echo(&mut stream), "mapped\n");
}

#[test]
fn each_mapped_port_counts_its_connections() {
    let mut edge = edge_on("127.0.66.4");
    let mapped = port("127.0.66.4", 20_001);
    edge.map(mappings(&[mapped]));
    let mut streams: Vec<_> = (0..2).map(|_| connect(mapped)).collect();
    for stream in &mut streams {
        assert_eq!(echo(stream), "mapped\n");
    }
    let telemetry = edge.handle.telemetry();
    let counted = |at: usize| {
        let port = &telemetry.mapped[at];
        (port.address.port(), port.open.get(), port.accepted.get())
    };
    assert_eq!(
        [0, 1, 2, 3].map(counted),
        [(20_000, 0, 0), (20_001, 2, 2), (20_002, 0, 0), (20_003, 0, 0)]
    );
    streams.pop();
    eventually("its end is counted", || telemetry.mapped[1].open.get() == 1);
    assert_eq!(telemetry.mapped[1].accepted.get(), 2);
}

#[test]
fn the_largest_range_is_bound_and_its_last_port_serves() {
    let last_port = 20_000 + MAPPED_PORTS_MAX as u16 - 1;
    let listener = for_peers("127.0.66.5:20000", Role::Mapped { last_port });
    let mut edge = Edge::start(with(listener), None).unwrap();
    let last = port("127.0.66.5", last_port);
    edge.map(mappings(&[last]));
    assert_eq!(echo(&mut connect(last)), "mapped\n");
    assert_eq!(edge.handle.telemetry().mapped.len(), MAPPED_PORTS_MAX);
    assert_eq!(edge.handle.sip_addresses().len(), 2, "one address for each listener");
}

#[test]
fn a_mapped_port_in_use_is_named() {
    let _taken = TcpListener::bind("127.0.66.6:20002").unwrap();
    let listener = for_peers("127.0.66.6:20000", Role::Mapped { last_port: 20_003 });
    let why = Edge::start(with(listener), None).err().unwrap().to_string();
    assert!(why.contains("mapped SIP TCP 127.0.66.6:20002"), "{why}");
}

#[test]
fn mapped_ports_are_counted_as_descriptors() {
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    let mut config = config(TCP, None);
    config.limits.connections_max = usize::try_from(hard - SPARE_DESCRIPTORS - 1).unwrap();
    let mapped = for_peers("127.0.66.7:20000", Role::Mapped { last_port: 20_003 });
    config.local.listeners.push(mapped);
    let why = Edge::start(config, None).err().unwrap();
    assert!(matches!(why, StartError::Descriptors(short) if short.needed == hard + 4));
}

#[test]
fn listeners_for_peers_that_cannot_be_are_refused() {
    let outside = Listener {
        side: Side::Outside,
        transport: Transport::Tcp,
        ..for_peers("127.0.66.8:20000", Role::Transparent)
    };
    let datagrams = Listener {
        transport: Transport::Udp,
        ..for_peers("127.0.66.8:20000", Role::Mapped { last_port: 20_003 })
    };
    for listener in [outside, datagrams] {
        let why = Edge::start(with(listener), None).err().unwrap();
        assert!(matches!(why, StartError::NotInsideStream(_)), "{why}");
    }
    let too_many = 20_000 + MAPPED_PORTS_MAX as u16;
    for (address, last_port) in [
        ("127.0.66.8:20000", 19_999),
        ("127.0.66.8:0", 10),
        ("127.0.66.8:20000", too_many),
    ] {
        let why = Edge::start(with(for_peers(address, Role::Mapped { last_port })), None)
            .err()
            .unwrap();
        assert!(matches!(why, StartError::MappedPorts(_)), "{why}");
    }
    let mut alone = with(for_peers("127.0.66.8:20000", Role::Mapped { last_port: 20_003 }));
    alone.local.listeners.remove(0);
    let why = Edge::start(alone, None).err().unwrap();
    assert!(matches!(why, StartError::NoOwnInside), "{why}");
}

/// Starts with a transparent listener; `None`, with a word, where the system does not allow it.
fn transparent(address: &str) -> Option<Edge> {
    match Edge::start(with(for_peers(address, Role::Transparent)), None) {
        Ok(edge) => Some(edge),
        Err(why) => {
            let why = why.to_string();
            let is_unable = why.contains("CAP_NET_ADMIN") || why.contains("os error 97");
            assert!(
                is_unable && why.contains(&format!("transparent SIP TCP {address}")),
                "{why}"
            );
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[test]
fn a_transparent_listener_may_bear_an_address_that_is_not_ours() {
    for address in ["192.0.2.1:5060", "[2001:db8::1]:5060"] {
        if let Some(edge) = transparent(address) {
            assert_eq!(edge.address(1), address.parse().unwrap());
        }
    }
}

#[test]
fn a_transparent_listener_tells_the_address_that_was_dialled() {
    let Some(edge) = transparent("0.0.0.0:19660") else {
        return;
    };
    for dialled in ["127.0.66.10:19660", "127.0.66.11:19660"] {
        let mut stream = connect(dialled.parse().unwrap());
        assert_eq!(echo(&mut stream), "mapped\n");
        let (source, _) = edge.received();
        assert_eq!((source.listener, source.local), (MAPPED, dialled.parse().unwrap()));
    }
    assert_eq!(edge.handle.telemetry().sip.accepted_transparent.get(), 2);
    assert!(edge.handle.telemetry().mapped.is_empty());
}
