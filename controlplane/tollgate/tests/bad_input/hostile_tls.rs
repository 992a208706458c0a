//! Callers at the TLS port who cannot or do not want to speak TLS, or not SIP in it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tollgate_peers::agent::SipTransport;
use tollgate_peers::certs::{Authority, Identity, Validity};
use tollgate_peers::raw::Reply;
use tollgate_runtime::HandshakeFailure;

use crate::company::{Pair, talking, whole_call};
use crate::hostile_bytes::noise;
use crate::metrics::Before;
use crate::raw_call::{NUMBER, good_ticket, invite, knock, outside};

/// How long a counter may take.
const SOON: Duration = Duration::from_secs(3);

/// A TLS 1.0 ClientHello with one suite and no extension (RFC 2246 §7.4.1.2).
const OLD_HELLO: [u8; 9] = [0x16, 3, 1, 0, 45, 1, 0, 0, 41];

fn handshakes(why: HandshakeFailure) -> String {
    format!("tollgate_tls_handshakes_total{{result=\"{}\"}}", why.name())
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_tls_are_counted_and_closed() {
    let mut pair = Pair::start(88, SipTransport::Tcp).await;
    let at = outside(pair.papers());
    let half_open: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(at).unwrap()).collect();
    let timeouts = Before::new(&pair, "alpha", &handshakes(HandshakeFailure::Timeout));
    let (call, far) = talking(&pair, Duration::from_secs(5)).await;
    let plain = invite("plain", at, &good_ticket(), "");
    let record = |kind: u8, len: u16, body: &[u8]| [&[kind, 3, 3], &len.to_be_bytes()[..], body].concat();
    let old = [&OLD_HELLO[..], &[3, 1], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    // Whole nonsense is broken protocol; what stops half way and then closes is lost.
    let cases: [(HandshakeFailure, Vec<Vec<u8>>); 5] = [
        (
            HandshakeFailure::Protocol,
            vec![plain.into_bytes(), b"GET / HTTP/1.1\r\n\r\n".to_vec()],
        ),
        (
            HandshakeFailure::Protocol,
            (1..=20).map(|seed| noise(seed, 64 * seed as usize)).collect(),
        ),
        (
            HandshakeFailure::Protocol,
            vec![
                record(0x16, 0xffff, &[0; 20_000]),
                record(0x17, 100, &[0; 100]),
                record(0x16, 4, &[1, 0, 0, 0]),
            ],
        ),
        (HandshakeFailure::Incompatible, vec![old.clone()]),
        (
            HandshakeFailure::Lost,
            (1..old.len()).step_by(7).map(|len| old[..len].to_vec()).collect(),
        ),
    ];
    for (why, callers) in cases {
        let before = Before::new(&pair, "alpha", &handshakes(why));
        for bytes in &callers {
            speak(at, bytes);
        }
        before.expect_rise(callers.len() as u64, SOON).await;
        assert_eq!(before.risen(), callers.len() as u64, "{}", why.name());
    }
    timeouts.expect_rise(20, Duration::from_secs(7)).await;
    for mut stream in half_open {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let said = stream.read_to_end(&mut Vec::new());
        assert!(said.is_ok(), "closed by the edge: {said:?}");
    }
    let (heard_here, heard_there) = tokio::join!(call.media_done(), far.media_done());
    assert_eq!(
        (heard_here.lost, heard_there.lost),
        (0, 0),
        "{heard_here:?} {heard_there:?}"
    );
    call.bye().await.expect("its BYE is answered");
    whole_call(&pair).await;
    assert!(pair.is_running("alpha") && pair.is_running("beta"));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_good_certificate_are_counted_by_what_is_wrong() {
    let mut pair = Pair::start(90, SipTransport::Tcp).await;
    let own = &pair.papers().authority;
    // Of the same name as ours, but with another key.
    let impostor = Authority::new("Loopback CA");
    let cases: [(HandshakeFailure, Option<Identity>); 7] = [
        (HandshakeFailure::NoCertificate, None),
        (
            HandshakeFailure::UnknownCa,
            Some(Authority::new("Nobody's CA").issue(&["beta.example"], &[])),
        ),
        (
            HandshakeFailure::BadCertificate,
            Some(impostor.issue(&["beta.example"], &[])),
        ),
        (
            HandshakeFailure::Validity,
            Some(own.issue_at("beta.example", Validity::Expired)),
        ),
        (
            HandshakeFailure::Validity,
            Some(own.issue_at("beta.example", Validity::NotYetValid)),
        ),
        (
            HandshakeFailure::NoIdentity,
            Some(own.issue_common_name_only("beta.example")),
        ),
        (HandshakeFailure::NoIdentity, Some(own.issue_wildcard("beta.example"))),
    ];
    for (why, identity) in cases {
        let before = Before::new(&pair, "alpha", &handshakes(why));
        if let Ok(mut client) = knock(&pair, identity.as_ref()).await {
            // TLS 1.3: the refusal comes after the client's last word.
            let _ = client
                .send(invite("untrusted", outside(pair.papers()), &good_ticket(), "").as_bytes())
                .await;
            assert_eq!(client.next_reply(SOON).await, Reply::Closed, "{}", why.name());
        }
        before.expect_rise(1, SOON).await;
        assert_eq!(before.risen(), 1, "{}", why.name());
    }
    assert!(pair.alpha.invites().is_empty(), "nothing of it reached the agent");
    whole_call(&pair).await;
    assert!(pair.is_running("alpha") && pair.is_running("beta"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_sip_end_their_connection_alone() {
    let mut pair = Pair::start(92, SipTransport::Tcp).await;
    let beta = pair.papers().authority.issue(&["beta.example"], &[]);
    let mut good = knock(&pair, Some(&beta)).await.unwrap();
    let message = invite("framed", outside(pair.papers()), &good_ticket(), "");
    let cases = [
        noise(1, 3_000),
        [b"X-Endless: ".as_slice(), &[b'a'; 40_000]].concat(),
        message.replace("Content-Length: 0", "Content-Length: many").into(),
        message.replace("Content-Length: 0\r\n", "").into(),
        message.replace("Content-Length: 0", "Content-Length: 70000").into(),
        message.replace("Content-Length: 0", "Content-Length: 0\r\nl: 5").into(),
    ];
    for bytes in &cases {
        let before = Before::new(&pair, "alpha", "tollgate_shield_drops_total{reason=\"framing\"}");
        let mut client = knock(&pair, Some(&beta)).await.unwrap();
        client.send(bytes).await.unwrap();
        assert_eq!(client.next_reply(SOON).await, Reply::Closed);
        speak(pair.papers().address("alpha", 1, 5060), bytes);
        before.expect_rise(2, SOON).await;
    }
    let options = message
        .replace("INVITE sip:", "OPTIONS sip:")
        .replace("1 INVITE", "1 OPTIONS");
    good.send(options.as_bytes()).await.unwrap();
    let answer = good
        .final_response(SOON)
        .await
        .expect("the connection beside them lives");
    assert_eq!(answer.status(), Some(200), "{NUMBER}: {answer:?}");
    whole_call(&pair).await;
    assert!(pair.is_running("alpha") && pair.is_running("beta"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_never_ends_costs_its_connection() {
    let pair = Pair::start(98, SipTransport::Tcp).await;
    let beta = pair.papers().authority.issue(&["beta.example"], &[]);
    let before = Before::new(&pair, "alpha", "tollgate_shield_drops_total{reason=\"slow_message\"}");
    let message = invite("slow", outside(pair.papers()), &good_ticket(), "");
    let (half, rest) = message.as_bytes().split_at(message.len() / 2);
    let mut client = knock(&pair, Some(&beta)).await.unwrap();
    let mut plain = TcpStream::connect(pair.papers().address("alpha", 1, 5060)).unwrap();
    client.send(half).await.unwrap();
    plain.write_all(half).unwrap();
    // A byte now and then does not win more time.
    for byte in rest.iter().take(7) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.send(&[*byte]).await.unwrap();
        plain.write_all(&[*byte]).unwrap();
    }
    assert_eq!(before.risen(), 0, "ten seconds are granted");
    assert_eq!(client.next_reply(2 * SOON).await, Reply::Closed);
    before.expect_rise(2, SOON).await;
    whole_call(&pair).await;
}

/// Says bytes over TCP, then no more, and waits until the edge has closed.
fn speak(at: std::net::SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // It may hang up before all is said.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}
