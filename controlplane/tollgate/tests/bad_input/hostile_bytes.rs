//! Datagrams nobody should send, to the SIP and media ports of an edge in use.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use tollgate_peers::agent::SipTransport;

use crate::command::{run, tollgate};
use crate::company::{Pair, talking, whole_call};
use crate::metrics::Before;

/// How long a counter may take.
const SOON: Duration = Duration::from_secs(3);

/// The longest datagram IPv4 can carry.
const LARGEST: usize = 65_507;

#[tokio::test(flavor = "multi_thread")]
async fn bad_sip_datagrams_are_counted_by_reason_and_the_edge_goes_on() {
    let mut pair = Pair::start(84, SipTransport::Udp).await;
    let at = pair.papers().address("alpha", 1, 5060);
    let [stranger, agent] = [4, 2].map(|host| UdpSocket::bind(pair.papers().address("alpha", host, 0)).unwrap());
    let good = options(agent.local_addr().unwrap(), at);
    for (series, datagrams) in bad_datagrams(&good) {
        let before = Before::new(&pair, "alpha", &series);
        for socket in [&stranger, &agent] {
            for datagram in &datagrams {
                socket.send_to(datagram, at).unwrap();
            }
        }
        before.expect_rise(2 * datagrams.len() as u64, SOON).await;
    }
    let drops = shown_drops(&pair);
    assert!(drops["messages"]["not_sip"].as_u64() >= Some(204), "{drops}");
    let refused = Before::new(
        &pair,
        "alpha",
        "tollgate_sip_state_violations_total{reason=\"source_not_allowed\"}",
    );
    stranger
        .send_to(good.replace("OPTIONS", "INVITE").as_bytes(), at)
        .unwrap();
    refused.expect_rise(1, SOON).await;
    whole_call(&pair).await;
    assert!(pair.is_running("alpha") && pair.is_running("beta"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_media_datagrams_are_counted_by_reason_and_no_packet_of_the_call_is_lost() {
    let mut pair = Pair::start(86, SipTransport::Tcp).await;
    let (call, far) = talking(&pair, Duration::from_secs(2)).await;
    // Until the peer's first packet its address is not known, and a stranger's packets fail otherwise.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (inside, outside) = media_ports(&pair);
    let idle = pair.papers().address("alpha", 3, 20_060);
    let stranger = UdpSocket::bind(pair.papers().address("alpha", 4, 0)).unwrap();
    for (series, at, datagrams) in bad_media(inside, outside, idle) {
        let before = Before::new(&pair, "alpha", &series);
        for datagram in &datagrams {
            stranger.send_to(datagram, at).unwrap();
        }
        before.expect_rise(datagrams.len() as u64, SOON).await;
    }
    assert!(shown_drops(&pair)["packets"]["no_flow"].as_u64() >= Some(50));
    let (heard_here, heard_there) = tokio::join!(call.media_done(), far.media_done());
    for heard in [&heard_here, &heard_there] {
        assert_eq!((heard.lost, heard.mismatched, heard.foreign), (0, 0, 0), "{heard:?}");
        assert!(heard.received >= 100, "{heard:?}");
    }
    call.bye().await.expect("its BYE is answered");
    whole_call(&pair).await;
    assert!(pair.is_running("alpha") && pair.is_running("beta"));
}

/// The counter of each kind of bad media datagram, where it is sent to, and some of that kind.
fn bad_media(inside: SocketAddr, outside: SocketAddr, idle: SocketAddr) -> [(String, SocketAddr, Vec<Vec<u8>>); 9] {
    let dropped = |reason: &str| format!("tollgate_rtp_dropped_total{{reason=\"{reason}\"}}");
    let rtp = |len: usize| [&[0x80, 0, 0, 1][..], &noise(9, len)].concat();
    let oversize = "tollgate_media_socket_errors_total{reason=\"oversize\"}".to_owned();
    [
        (
            dropped("not_media"),
            outside,
            vec![vec![0x16; 50], vec![0xff; 900], vec![1], Vec::new()],
        ),
        (
            dropped("not_media"),
            inside,
            vec![vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], vec![0x45; 100]],
        ),
        (dropped("source_not_latched"), outside, (12..60).map(rtp).collect()),
        (dropped("source_not_signalled"), inside, (20..60).map(rtp).collect()),
        (dropped("malformed_rtp"), outside, (0..6).map(rtp).collect()),
        (
            dropped("no_flow"),
            idle,
            (0..50).map(|at| noise(at, 3 * at as usize)).collect(),
        ),
        (oversize.clone(), outside, vec![noise(3, LARGEST), rtp(1_700)]),
        (oversize.clone(), inside, vec![rtp(LARGEST - 4)]),
        (oversize, idle, vec![noise(4, 2_000)]),
    ]
}

/// The counter of each kind of bad datagram, and some of that kind, made of a good request.
fn bad_datagrams(good: &str) -> Vec<(String, Vec<Vec<u8>>)> {
    let head = good.len() - 4;
    let many = |count: usize, line: &str| good.replace("\r\n\r\n", &format!("\r\n{}\r\n", line.repeat(count)));
    let parse = |reason: &str| format!("tollgate_sip_parse_errors_total{{reason=\"{reason}\"}}");
    vec![
        (
            parse("not_sip"),
            (0..100).map(|at| noise(at, 40 + at as usize * 7)).collect(),
        ),
        (parse("not_sip"), vec![noise(1, LARGEST), vec![0; LARGEST]]),
        (
            parse("truncated"),
            (60..head)
                .step_by(11)
                .map(|len| good.as_bytes()[..len].to_vec())
                .collect(),
        ),
        (
            parse("truncated"),
            vec![[&good.as_bytes()[..head], b"\r\nX-Endless: ", &vec![b'a'; 64_000]].concat()],
        ),
        (
            parse("too_large"),
            vec![many(300, "X-Many: a\r\n").into(), many(6_000, "X: a\r\n").into()],
        ),
        (
            parse("too_large"),
            vec![many(1, &format!("X-Long: {}\r\n", "a".repeat(8_200))).into()],
        ),
        (
            parse("uri_too_long"),
            vec![good.replacen("sip:", &format!("sip:{}@", "a".repeat(4_100)), 1).into()],
        ),
        (
            parse("header_line"),
            vec![many(1, "X-Long\r\n").into(), many(1, "X-Nul: a\0b\r\n").into()],
        ),
        (
            parse("version"),
            vec![good.replace(" SIP/2.0\r\n", " SIP/9.9\r\n").into()],
        ),
        (
            parse("content_length"),
            vec![good.replace("Content-Length: 0", "Content-Length: 9999").into()],
        ),
        (
            "tollgate_shield_drops_total{reason=\"framing\"}".to_owned(),
            vec![b"\r\n\r\n\r\n".to_vec()],
        ),
    ]
}

/// The media addresses of alpha's edge for its one call: inside and outside.
fn media_ports(pair: &Pair) -> (SocketAddr, SocketAddr) {
    let page = pair.page("alpha", "/v1/media");
    let body: Value = serde_json::from_str(page.split_once("\r\n\r\n").unwrap().1).unwrap();
    let port = |side: &str| body["calls"][0]["media"][0]["local_ports"][side].as_u64().unwrap() as u16;
    let papers = pair.papers();
    (
        papers.address("alpha", 1, port("inside")),
        papers.address("alpha", 3, port("outside")),
    )
}

/// What `tollgate show drops --json` says of alpha's edge.
fn shown_drops(pair: &Pair) -> Value {
    let admin = pair.papers().address("alpha", 1, 9090).to_string();
    let ended = run(&mut tollgate(&["show", "drops", "--json", "--admin", &admin]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

fn options(from: SocketAddr, to: SocketAddr) -> String {
    format!(
        "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKhostile\r\nMax-Forwards: 70\r\n\
         From: <sip:x@{from}>;tag=1\r\nTo: <sip:{to}>\r\nCall-ID: hostile\r\nCSeq: 1 OPTIONS\r\n\
         Contact: <sip:x@{from}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Bytes without any sense, the same for one seed, and none of them a letter's start of SIP.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len)
        .map(|at| if at == 0 { next() | 0x80 } else { next() })
        .collect()
}
