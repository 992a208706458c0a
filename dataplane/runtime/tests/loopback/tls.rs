//! Mutual TLS between two edges, and what goes wrong with it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::SanType;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tollgate_call::transport::{Dial, SendFailure, Target};
use tollgate_contract::{Side, Transport};
use tollgate_runtime::tls::ClientAuth;
use tollgate_runtime::{HandshakeFailure, RuntimeLimits, StartError};

use super::kit::{Ca, Edge, PATIENCE, config, dial, eventually};

const OUTSIDE: &[(Side, Transport)] = &[(Side::Outside, Transport::Tls)];

fn pair(server_name: &str) -> (Edge, Edge) {
    let ca = Ca::new();
    let server = Edge::with(OUTSIDE, Some(ca.edge(server_name, &ca)));
    (Edge::with(OUTSIDE, Some(ca.edge("a.example", &ca))), server)
}

#[test]
fn both_ends_know_each_other_and_the_connection_is_reused() {
    let (mut client, server) = pair("B.example");
    let target = Target::Dial(dial(server.address(0), "b.example."));
    for round in 0..3 {
        client.send(target.clone(), &format!("echo {round}\n"));
        let (source, line) = server.received();
        assert_eq!(line, format!("echo {round}\n"));
        assert_eq!(source.peer.unwrap().domains, ["a.example"]);
        let (source, line) = client.received();
        assert_eq!((line, source.side), (format!("{round}\n"), Side::Outside));
        assert_eq!(source.peer.unwrap().domains, ["b.example"]);
    }
    assert_eq!(server.handle.telemetry().sip.accepted.get(), 1);
    assert_eq!(client.handle.telemetry().sip.dialled.get(), 1);
    assert_eq!(client.handle.telemetry().sip.handshakes.get(), 1);
}

#[test]
fn name_in_a_sip_uri_is_enough() {
    let ca = Ca::new();
    let name = SanType::URI("sip:b.example".try_into().unwrap());
    let server = Edge::with(OUTSIDE, Some(ca.edge_named(name, &ca)));
    let mut client = Edge::with(OUTSIDE, Some(ca.edge("a.example", &ca)));
    client.send(Target::Dial(dial(server.address(0), "b.example")), "hello\n");
    assert_eq!(server.received().1, "hello\n");
}

#[test]
fn wrong_name_is_told_as_such_and_nothing_is_sent() {
    let (mut client, server) = pair("c.example");
    let token = client.send(Target::Dial(dial(server.address(0), "b.example")), "secret\n");
    assert_eq!(client.failed(), (token, SendFailure::TlsName));
    let failed = &client.handle.telemetry().sip.handshakes_failed;
    assert_eq!(failed[HandshakeFailure::NameMismatch.index()].get(), 1);
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn wildcard_certificate_does_not_bear_the_name() {
    let (mut client, server) = pair("*.example");
    let token = client.send(Target::Dial(dial(server.address(0), "b.example")), "secret\n");
    assert_eq!(client.failed(), (token, SendFailure::TlsName));
}

#[test]
fn server_of_an_unknown_ca_is_refused() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let server = Edge::with(OUTSIDE, Some(theirs.edge("b.example", &theirs)));
    let mut client = Edge::with(OUTSIDE, Some(ours.edge("a.example", &ours)));
    let token = client.send(Target::Dial(dial(server.address(0), "b.example")), "secret\n");
    assert_eq!(client.failed(), (token, SendFailure::Tls));
    let failed = |edge: &Edge, why: HandshakeFailure| edge.handle.telemetry().sip.handshakes_failed[why.index()].get();
    assert_eq!(failed(&client, HandshakeFailure::UnknownCa), 1);
    eventually("the server counts the alert", || {
        failed(&server, HandshakeFailure::Alert) == 1
    });
}

#[test]
fn client_of_an_unknown_ca_hears_that_its_message_is_lost() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let server = Edge::with(OUTSIDE, Some(theirs.edge("b.example", &theirs)));
    let mut client = Edge::with(OUTSIDE, Some(ours.edge("a.example", &theirs)));
    let token = client.send(Target::Dial(dial(server.address(0), "b.example")), "hello\n");
    // In TLS 1.3 the client is done before the server has judged its certificate.
    assert_eq!(client.failed(), (token, SendFailure::Tls));
    let failed = &server.handle.telemetry().sip.handshakes_failed;
    assert_eq!(failed[HandshakeFailure::UnknownCa.index()].get(), 1);
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn client_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let server = Edge::with(OUTSIDE, Some(ca.edge("b.example", &ca)));
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.root_pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let client = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("b.example").unwrap();
    let session = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(server.address(0)).unwrap());
    let _ = stream.write_all(b"hello\n");
    assert!(!matches!(stream.read(&mut [0; 8]), Ok(1..)));
    let failed = &server.handle.telemetry().sip.handshakes_failed[HandshakeFailure::NoCertificate.index()];
    eventually("counted", || failed.get() == 1);
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn peer_without_a_sip_identity_is_closed() {
    let ca = Ca::new();
    let server = Edge::with(OUTSIDE, Some(ca.edge("b.example", &ca)));
    let nameless = ca.edge_named(SanType::URI("sip:alice@a.example".try_into().unwrap()), &ca);
    let mut client = Edge::with(OUTSIDE, Some(nameless));
    client.send(Target::Dial(dial(server.address(0), "b.example")), "hello\n");
    let failed = &server.handle.telemetry().sip.handshakes_failed[HandshakeFailure::NoIdentity.index()];
    eventually("counted", || failed.get() == 1);
    assert!(server.seen.try_recv().is_err());
}

#[test]
fn server_that_never_speaks_tls_is_a_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ca = Ca::new();
    let mut client = Edge::with(OUTSIDE, Some(ca.edge("a.example", &ca)));
    let quick = Dial {
        timeout: Duration::from_millis(150),
        ..dial(silent.local_addr().unwrap(), "b.example")
    };
    let token = client.send(Target::Dial(quick), "hello\n");
    assert_eq!(client.failed(), (token, SendFailure::ConnectTimeout));
}

#[test]
fn second_address_is_tried_when_the_first_is_dead() {
    let (mut client, server) = pair("b.example");
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = Dial {
        addresses: vec![dead, server.address(0)],
        ..dial(dead, "b.example")
    };
    client.send(Target::Dial(both), "hello\n");
    assert_eq!(server.received().1, "hello\n");
    let token = client.send(Target::Dial(dial(dead, "b.example")), "hello\n");
    assert_eq!(client.failed(), (token, SendFailure::Unreachable));
}

#[test]
fn caller_that_never_speaks_tls_is_closed() {
    let ca = Ca::new();
    let mut config = config(OUTSIDE, Some(ca.edge("b.example", &ca)));
    config.limits = RuntimeLimits {
        handshake_timeout: Duration::from_millis(100),
        ..config.limits
    };
    let server = Edge::start(config, None).unwrap();
    let mut silent = TcpStream::connect(server.address(0)).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    silent.read_to_end(&mut Vec::new()).unwrap();
    let failed = &server.handle.telemetry().sip.handshakes_failed[HandshakeFailure::Timeout.index()];
    assert_eq!(failed.get(), 1);
}

#[test]
fn plain_text_never_leaves_outside() {
    let (mut client, server) = pair("b.example");
    let plain = Dial {
        transport: Transport::Tcp,
        server_name: None,
        ..dial(server.address(0), "")
    };
    let nameless = Dial {
        server_name: None,
        ..dial(server.address(0), "")
    };
    let token = client.send(Target::Dial(plain), "secret\n");
    assert_eq!(client.failed(), (token, SendFailure::Tls));
    let token = client.send(Target::Dial(nameless), "secret\n");
    assert_eq!(client.failed(), (token, SendFailure::TlsName));
    assert_eq!(server.handle.telemetry().sip.accepted.get(), 0);
}

#[test]
fn outside_listener_without_tls_does_not_start() {
    let refused = Edge::start(config(&[(Side::Outside, Transport::Udp)], None), None).err();
    assert!(matches!(refused, Some(StartError::OutsideNotTls(_))));
    let refused = Edge::start(config(OUTSIDE, None), None).err();
    assert!(matches!(refused, Some(StartError::NoTlsSettings(_))));
}

#[test]
fn inside_may_do_without_client_certificates_and_names() {
    let ca = Ca::new();
    let name = || SanType::DnsName("agent.example".try_into().unwrap());
    let inside = |listeners: &[(Side, Transport)]| {
        let mut config = config(listeners, None);
        config.tls_inside = Some(ca.side(name(), &ca, ClientAuth::NotAsked));
        Edge::start(config, None).unwrap()
    };
    let agent = inside(&[(Side::Inside, Transport::Tls)]);
    let mut edge = inside(&[(Side::Inside, Transport::Udp), (Side::Inside, Transport::Tls)]);
    let by_address = Dial {
        side: Side::Inside,
        server_name: None,
        ..dial(agent.address(0), "")
    };
    edge.send(Target::Dial(by_address), "echo x\n");
    assert!(agent.received().0.peer.is_none());
    let (source, answer) = edge.received();
    assert_eq!((answer.as_str(), source.listener.0), ("x\n", 1));
}

#[test]
fn outside_must_ask_for_client_certificates() {
    let ca = Ca::new();
    let lax = ca.side(
        SanType::DnsName("b.example".try_into().unwrap()),
        &ca,
        ClientAuth::NotAsked,
    );
    let refused = Edge::start(config(OUTSIDE, Some(lax)), None).err();
    assert!(matches!(refused, Some(StartError::OutsideWithoutClientAuth)));
}

#[test]
fn lost_connection_is_dialled_again() {
    let (mut client, server) = pair("b.example");
    let again = dial(server.address(0), "b.example");
    client.send(Target::Dial(again.clone()), "echo 1\n");
    let conn = client.received().0.conn.unwrap();
    let _ = server.received();
    let address = server.address(0);
    drop(server);
    eventually("the client sees the end", || {
        client.handle.telemetry().sip.open[Side::Outside.index()][2].get() == 0
    });
    let token = client.send(Target::Connection { conn, otherwise: None }, "2\n");
    assert_eq!(client.failed(), (token, SendFailure::ConnectionLost));
    let token = client.send(
        Target::Connection {
            conn,
            otherwise: Some(again),
        },
        "3\n",
    );
    assert_eq!(
        client.failed(),
        (token, SendFailure::Unreachable),
        "dialled {address} again"
    );
}

#[test]
fn replaced_settings_hold_for_the_next_handshake_and_bad_ones_for_none() {
    let ca = Ca::new();
    let server = Edge::with(OUTSIDE, Some(ca.edge("b.example", &ca)));
    let mut client = Edge::with(OUTSIDE, Some(ca.edge("a.example", &ca)));
    client.send(Target::Dial(dial(server.address(0), "b.example")), "first\n");
    assert_eq!(server.received().0.peer.unwrap().domains, ["a.example"]);
    let name = SanType::DnsName("x.example".try_into().unwrap());
    let wants_none = ca.side(name, &ca, ClientAuth::NotAsked);
    let refused = server.handle.set_tls(None, Some(wants_none));
    assert!(matches!(refused, Err(StartError::OutsideWithoutClientAuth)));
    assert!(matches!(
        server.handle.set_tls(None, None),
        Err(StartError::NoTlsSettings(_))
    ));
    server.handle.set_tls(None, Some(ca.edge("c.example", &ca))).unwrap();
    // The connection that stands keeps its settings; a new one has the new name.
    client.send(Target::Dial(dial(server.address(0), "b.example")), "second\n");
    assert_eq!(server.received().1, "second\n");
    client.send(Target::Dial(dial(server.address(0), "c.example")), "third\n");
    assert_eq!(server.received().1, "third\n");
}
