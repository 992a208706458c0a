//! An address that is taken, or not of this host.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use tollgate_peers::agent::SipTransport;

use crate::command::{expect_told, line_below, with_policy};
use crate::company::Papers;

/// Something that holds an address.
#[allow(dead_code, reason = "held, not read")]
enum Held {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

type Case = (&'static str, &'static str, usize, (u8, u16), fn(SocketAddr) -> Held);

fn udp(address: SocketAddr) -> Held {
    patiently(|| UdpSocket::bind(address).map(Held::Udp))
}

fn tcp(address: SocketAddr) -> Held {
    patiently(|| TcpListener::bind(address).map(Held::Tcp))
}

/// A sibling test that forks holds our sockets too, until its child runs another program.
fn patiently(bind: impl Fn() -> io::Result<Held>) -> Held {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match bind() {
            Ok(held) => return held,
            Err(why) => assert!(Instant::now() < deadline, "{why}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_taken_address_is_told_by_its_key_and_nothing_stays_bound() {
    let papers = Papers::write(60, SipTransport::Tcp, "");
    // Key, heading, which of them, host and port, how it is held.
    let cases: [Case; 8] = [
        ("inside.listeners[0].bind", "[[inside.listeners]]", 0, (1, 5060), udp),
        ("inside.listeners[1].bind", "[[inside.listeners]]", 1, (1, 5060), tcp),
        ("outside.listeners[0].bind", "[[outside.listeners]]", 0, (3, 5061), tcp),
        ("media.inside[0].ports", "[[media.inside]]", 0, (1, 20_000), udp),
        ("media.inside[0].ports", "[[media.inside]]", 0, (1, 20_079), udp),
        ("media.outside[0].ports", "[[media.outside]]", 0, (3, 20_011), udp),
        ("media.outside[0].ports", "[[media.outside]]", 0, (3, 20_040), udp),
        ("admin.listen", "[admin]", 0, (1, 9_090), tcp),
    ];
    let policy = papers.path("alpha.toml");
    let text = papers.text("alpha.toml");
    for (key, heading, nth, (host, port), hold) in cases {
        let address = papers.address("alpha", host, port);
        let held = hold(address);
        let ended = with_policy(&papers, &["run"]);
        assert_eq!(ended.code, Some(69), "{key}: {ended:?}");
        let name = key.rsplit('.').next().unwrap();
        let line = line_below(&text, heading, nth, name);
        expect_told(&ended, &policy, key, line, &address.to_string());
        assert!(ended.stderr.contains("Address already in use"), "{}", ended.stderr);
        assert!(!ended.words().contains("event=\"started\""), "{}", ended.words());
        drop(held);
        expect_all_free(&papers);
    }
}

#[test]
fn an_address_of_another_host_is_told_as_such() {
    let papers = Papers::write(62, SipTransport::Tcp, "");
    let text = papers.text("alpha.toml");
    let outside = papers.address("alpha", 3, 0).ip();
    let elsewhere = text.replace(&format!("bind = \"{outside}\""), "bind = \"192.0.2.77\"");
    fs::write(papers.path("alpha.toml"), &elsewhere).unwrap();
    let ended = with_policy(&papers, &["run"]);
    assert_eq!(ended.code, Some(69), "{ended:?}");
    let line = line_below(&elsewhere, "[[media.outside]]", 0, "ports");
    expect_told(
        &ended,
        &papers.path("alpha.toml"),
        "media.outside[0].ports",
        line,
        "192.0.2.77:20000",
    );
    assert!(
        ended.stderr.contains("mend: write an address of this host"),
        "{}",
        ended.stderr
    );
    expect_all_free(&papers);
}

/// Every address of the edge can be bound by whoever wants it.
fn expect_all_free(papers: &Papers) {
    for (host, port) in [(1, 5_060), (3, 5_061), (1, 9_090)] {
        tcp(papers.address("alpha", host, port));
    }
    udp(papers.address("alpha", 1, 5_060));
    for port in 20_000..=20_079 {
        udp(papers.address("alpha", 1, port));
        udp(papers.address("alpha", 3, port));
    }
}
