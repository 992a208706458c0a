//! Datagrams and plain streams on the inside: framing, bounds, overload, contained bugs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use tollgate_call::transport::{Dial, SendFailure, Target};
use tollgate_contract::{Report, Side, Transport};
use tollgate_runtime::RuntimeLimits;

use super::kit::{Edge, LATER, PATIENCE, config, dial, eventually};

const TCP: &[(Side, Transport)] = &[(Side::Inside, Transport::Tcp)];
const UDP: &[(Side, Transport)] = &[(Side::Inside, Transport::Udp)];

fn with_limits(listeners: &[(Side, Transport)], change: impl FnOnce(&mut RuntimeLimits)) -> Edge {
    let mut config = config(listeners, None);
    change(&mut config.limits);
    Edge::start(config, None).unwrap()
}

fn connect(edge: &Edge) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(edge.address(0)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[test]
fn message_that_comes_one_byte_at_a_time_is_one_message() {
    let edge = Edge::with(TCP, None);
    let mut stream = connect(&edge);
    stream.get_ref().set_nodelay(true).unwrap();
    for byte in b"echo slowly\nrest" {
        stream.get_mut().write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(line(&mut stream), "slowly\n");
    assert_eq!(edge.received().1, "echo slowly\n");
}

#[test]
fn message_that_never_ends_closes_its_connection() {
    let edge = with_limits(TCP, |limits| limits.message_timeout = Duration::from_millis(150));
    let mut stream = connect(&edge);
    stream.get_mut().write_all(b"echo whole\nhalf").unwrap();
    assert_eq!(line(&mut stream), "whole\n");
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(edge.handle.telemetry().sip.slow_messages.get(), 1);
}

#[test]
fn idle_connection_is_closed() {
    let edge = with_limits(TCP, |limits| limits.idle_timeout = Duration::from_millis(100));
    let mut stream = connect(&edge);
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(edge.handle.telemetry().sip.idle_closed.get(), 1);
    assert_eq!(edge.handle.telemetry().sip.open[0][1].get(), 0);
}

#[test]
fn stream_that_is_not_sip_is_closed() {
    let edge = Edge::with(TCP, None);
    let mut stream = connect(&edge);
    stream.get_mut().write_all(&[b'x'; 1_500]).unwrap();
    assert!(!matches!(stream.read(&mut [0; 8]), Ok(1..)));
    assert_eq!(edge.handle.telemetry().sip.framing_errors.get(), 1);
}

#[test]
fn ping_is_answered() {
    let edge = Edge::with(TCP, None);
    let mut stream = connect(&edge);
    stream.get_mut().write_all(b"\r\n\r\n").unwrap();
    assert_eq!(line(&mut stream), "\r\n");
}

#[test]
fn steering_answers_and_drops_without_a_worker() {
    let edge = Edge::with(TCP, None);
    let mut stream = connect(&edge);
    stream.get_mut().write_all(b"drop\nrefuse\n").unwrap();
    assert_eq!(line(&mut stream), "refused\n");
    assert_eq!(edge.handle.telemetry().workers[0].messages.get(), 0);
}

#[test]
fn connections_of_one_address_are_bounded() {
    let edge = with_limits(TCP, |limits| limits.connections_per_remote_max = 2);
    let mut held: Vec<_> = (0..2).map(|_| connect(&edge)).collect();
    for stream in &mut held {
        stream.get_mut().write_all(b"echo x\n").unwrap();
        assert_eq!(line(stream), "x\n");
    }
    assert!(!matches!(connect(&edge).read(&mut [0; 8]), Ok(1..)));
    assert_eq!(edge.handle.telemetry().sip.over_limit_per_remote.get(), 1);
    held.pop();
    eventually("the place is given back", || {
        edge.handle.telemetry().sip.open[0][1].get() == 1
    });
    let mut next = connect(&edge);
    next.get_mut().write_all(b"echo y\n").unwrap();
    assert_eq!(line(&mut next), "y\n");
}

#[test]
fn connections_altogether_are_bounded() {
    let edge = with_limits(TCP, |limits| limits.connections_max = 1);
    let mut held = connect(&edge);
    held.get_mut().write_all(b"echo x\n").unwrap();
    assert_eq!(line(&mut held), "x\n");
    assert!(!matches!(connect(&edge).read(&mut [0; 8]), Ok(1..)));
    assert_eq!(edge.handle.telemetry().sip.over_limit.get(), 1);
}

#[test]
fn timer_of_the_core_fires_when_it_is_due() {
    let edge = Edge::with(TCP, None);
    let mut stream = connect(&edge);
    let sent = Instant::now();
    stream.get_mut().write_all(b"later x\n").unwrap();
    assert_eq!(line(&mut stream), "x\n");
    assert!(sent.elapsed() >= LATER);
}

#[test]
fn full_mailbox_answers_new_calls_and_drops_the_rest() {
    let edge = with_limits(TCP, |limits| limits.mailbox_messages = 1);
    let mut stream = connect(&edge);
    stream.get_mut().write_all(b"block worker\n").unwrap();
    eventually("the worker is busy", || {
        edge.handle.telemetry().workers[0].messages.get() == 1
    });
    stream.get_mut().write_all(b"ack 1\nack 2\ninvite 3\n").unwrap();
    assert_eq!(line(&mut stream), "503\n");
    assert_eq!(edge.handle.telemetry().sip.mailbox_full.get(), 2);
    assert_eq!(edge.received().1, "block worker\n");
    assert_eq!(edge.received().1, "ack 1\n");
}

#[test]
fn datagram_is_answered_from_where_it_came() {
    let edge = Edge::with(UDP, None);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.send_to(b"echo datagram\n", edge.address(0)).unwrap();
    let mut room = [0; 64];
    let (len, from) = peer.recv_from(&mut room).unwrap();
    assert_eq!((&room[..len], from), (&b"datagram\n"[..], edge.address(0)));
}

#[test]
fn oversize_and_empty_datagrams_are_counted_and_dropped() {
    let edge = with_limits(UDP, |limits| limits.datagram_max = 2_000);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut longest = vec![b'x'; 1_999];
    longest.push(b'\n');
    peer.send_to(&[&longest[..], b"\n"].concat(), edge.address(0)).unwrap();
    peer.send_to(b"no end", edge.address(0)).unwrap();
    peer.send_to(&longest, edge.address(0)).unwrap();
    assert_eq!(edge.received().1.len(), 2_000);
    let sip = &edge.handle.telemetry().sip;
    assert_eq!((sip.datagrams_oversize.get(), sip.framing_errors.get()), (1, 1));
}

#[test]
fn datagram_that_cannot_be_sent_is_told() {
    let mut edge = Edge::with(UDP, None);
    let (from, to) = (tollgate_call::transport::ListenerId(0), "127.0.0.1:9".parse().unwrap());
    let token = edge.send(Target::Datagram { from, to }, &"x".repeat(70_000));
    assert_eq!(edge.failed(), (token, SendFailure::Unreachable));
}

#[test]
fn peer_that_does_not_read_fills_a_bounded_queue() {
    let mut edge = with_limits(TCP, |limits| limits.outbound_queue_bytes = 100_000);
    let mut stream = connect(&edge);
    stream.get_mut().write_all(b"hello\n").unwrap();
    let conn = edge.received().0.conn.unwrap();
    // More than the system's own buffers hold.
    for _ in 0..200 {
        edge.send(Target::Connection { conn, otherwise: None }, &"x".repeat(90_000));
    }
    assert_eq!(edge.failed().1, SendFailure::Overload);
    assert!(edge.handle.telemetry().sip.outbound_full.get() > 0);
}

#[test]
fn inside_stream_is_dialled_and_reused() {
    let mut edge = Edge::with(TCP, None);
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = agent.local_addr().unwrap();
    let plain = Dial {
        side: Side::Inside,
        transport: Transport::Tcp,
        server_name: None,
        ..dial(to, "")
    };
    edge.send(Target::Dial(plain.clone()), "one\n");
    edge.send(Target::Dial(plain), "two\n");
    let stream = agent.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = BufReader::new(stream);
    assert_eq!(
        (line(&mut stream), line(&mut stream)),
        ("one\n".to_owned(), "two\n".to_owned())
    );
    stream.get_mut().write_all(b"answer\n").unwrap();
    let (source, answer) = edge.received();
    assert_eq!((answer.as_str(), source.listener.0, source.remote), ("answer\n", 0, to));
}

#[test]
fn panicking_core_is_contained_and_reported() {
    let edge = Edge::with(TCP, None);
    let mut stream = connect(&edge);
    stream
        .get_mut()
        .write_all(b"panic now\nsteer-panic\necho alive\n")
        .unwrap();
    assert_eq!(line(&mut stream), "alive\n");
    let report = edge.reports.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(
        report,
        Report::Contained {
            worker: 0,
            doing: "message"
        }
    ));
    assert_eq!(edge.handle.telemetry().workers[0].panics.get(), 1);
    assert_eq!(edge.handle.telemetry().sip.panics.get(), 1);
}

#[test]
fn listener_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = config(TCP, None);
    config.local.listeners[0].address.bound = address;
    let why = Edge::start(config, None).err().unwrap().to_string();
    assert!(why.contains(&format!("SIP TCP {address}")), "{why}");
}

#[test]
fn handle_sees_live_threads_and_stops_them() {
    let edge = Edge::with(UDP, None);
    assert!(edge.handle.views().is_empty());
    let threads = edge.handle.liveness();
    assert_eq!(threads.len(), 2);
    assert!(
        threads
            .iter()
            .all(|thread| !thread.is_finished && thread.silent_for < Duration::from_secs(5))
    );
    edge.handle.stop();
    eventually("both end", || {
        edge.handle.liveness().iter().all(|thread| thread.is_finished)
    });
}
