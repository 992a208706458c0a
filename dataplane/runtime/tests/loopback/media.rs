//! Packets through a worker's sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tollgate_contract::{Report, Side};
use tollgate_runtime::config::PACKET_MAX;
use tollgate_runtime::{Forward, MediaRange, StartError};

use super::kit::{Edge, PATIENCE, config, eventually};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An edge whose packets go from its second pair's RTP socket to the peer.
struct Relay {
    edge: Edge,
    first_port: u16,
    peer: UdpSocket,
}

impl Relay {
    fn new() -> Self {
        let peer = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let forward = Forward {
            socket: 2,
            to: peer.local_addr().unwrap(),
            len: 0,
        };
        // Another process may take a port between the look and the start.
        for _ in 0..50 {
            let Some(first_port) = free_even_port() else { continue };
            let mut config = config(&[], None);
            config.media = ranges(first_port);
            match Edge::start(config, Some(forward)) {
                Ok(edge) => return Self { edge, first_port, peer },
                Err(StartError::Bind(_)) => {}
                Err(why) => panic!("{why}"),
            }
        }
        panic!("no four free ports in a row");
    }

    fn send(&self, packet: &[u8]) {
        self.peer.send_to(packet, (LOCALHOST, self.first_port)).unwrap();
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut room = [0; 2_048];
        let (len, from) = self.peer.recv_from(&mut room).unwrap();
        (room[..len].to_vec(), from)
    }
}

fn ranges(first: u16) -> Vec<MediaRange> {
    let range = |side, ports| MediaRange {
        side,
        bound_ip: LOCALHOST,
        advertised_ip: LOCALHOST,
        ports,
    };
    vec![
        range(Side::Inside, first..=first + 1),
        range(Side::Outside, first + 2..=first + 3),
    ]
}

fn free_even_port() -> Option<u16> {
    let port = UdpSocket::bind((LOCALHOST, 0)).ok()?.local_addr().ok()?.port();
    (port % 2 == 0 && port < 65_500).then_some(port)
}

#[test]
fn packet_leaves_from_the_socket_the_core_names() {
    let relay = Relay::new();
    relay.send(b"packet");
    let (packet, from) = relay.receive();
    assert_eq!(
        (packet.as_slice(), from.port()),
        (&b"packet+tag"[..], relay.first_port + 2)
    );
    let worker = &relay.edge.handle.telemetry().workers[0];
    assert_eq!((worker.packets_in[0].get(), worker.packets_in[1].get()), (1, 0));
    assert_eq!(worker.bytes_in[0].get(), 6);
    eventually("the sent packet is counted", || worker.bytes_out[1].get() == 10);
}

#[test]
fn longest_packet_passes_and_a_longer_one_is_counted() {
    let relay = Relay::new();
    relay.send(&[b'x'; PACKET_MAX + 1]);
    relay.send(&[b'x'; PACKET_MAX]);
    assert_eq!(relay.receive().0.len(), PACKET_MAX + 4);
    assert_eq!(relay.edge.handle.telemetry().workers[0].packets_oversize.get(), 1);
}

#[test]
fn burst_longer_than_one_turn_passes_whole() {
    let relay = Relay::new();
    for number in 0..150_u8 {
        relay.send(&[b'#', number]);
    }
    for number in 0..150_u8 {
        assert_eq!(relay.receive().0, [b'#', number, b'+', b't', b'a', b'g']);
    }
}

#[test]
fn panic_over_a_packet_costs_that_packet_only() {
    let relay = Relay::new();
    relay.send(b"!");
    relay.send(b"next");
    assert_eq!(relay.receive().0, b"next+tag");
    let report = relay.edge.reports.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(
        report,
        Report::Contained {
            worker: 0,
            doing: "packet"
        }
    ));
}

#[test]
fn media_port_in_use_is_named() {
    let relay = Relay::new();
    let mut config = config(&[], None);
    config.media = ranges(relay.first_port);
    let why = Edge::start(config, None).err().unwrap().to_string();
    assert!(
        why.contains(&format!("media UDP 127.0.0.1:{}", relay.first_port)),
        "{why}"
    );
}

#[test]
fn quiet_worker_still_wakes_every_second() {
    let relay = Relay::new();
    let wakes = &relay.edge.handle.telemetry().sip.wakes;
    let before = wakes.get();
    eventually("the SIP thread looks at the snapshot without work", || {
        wakes.get() > before
    });
    assert!(
        relay
            .edge
            .handle
            .liveness()
            .iter()
            .all(|thread| thread.silent_for < Duration::from_secs(3))
    );
}
