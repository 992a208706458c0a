//! The raw client against the recording server.

use super::*;
use crate::certs::Authority;
use crate::rtp::{RtpView, rtp_packet};
use crate::sdp::Codec;

#[tokio::test]
async fn raw_client_calls_the_recording_peer_with_srtp() {
    let authority = Authority::new("ca");
    let server = start(&authority, PeerAnswer::Echo(vec!["AEAD_AES_128_GCM".to_owned()])).await;
    let identity = authority.issue(&["a.example"], &[]);
    let mut client = RawClient::connect(target(&server, &authority), Some(&identity))
        .await
        .unwrap();
    let key = SdesKey::generate(4, "AEAD_AES_128_GCM").unwrap();
    let end = SrtpEnd::bind([127, 0, 0, 1].into(), key).await.unwrap();
    let invite = invite(&end.sdp(Codec::Pcma));
    client.send(invite.as_bytes()).await.unwrap();
    let answer = client.final_response(WAIT).await.unwrap();
    assert_eq!(answer.status(), Some(200));
    end.accept(answer.body()).unwrap();
    end.send_rtp(&rtp_packet(8, 1, 160, 5, &[9; 160])).await.unwrap();
    let back = end.recv_rtp(WAIT).await.unwrap();
    assert_eq!(RtpView::parse(&back).unwrap().payload, [9; 160]);
    assert_eq!(server.wait_message("INVITE", 0, WAIT).await.unwrap(), invite.as_bytes());
    assert_eq!(server.srtp_reports()[0].received, 1);
}

#[tokio::test]
async fn offer_without_a_usable_suite_is_488_and_a_script_may_refuse() {
    let authority = Authority::new("ca");
    let server = start(&authority, PeerAnswer::Echo(vec!["AEAD_AES_128_GCM".to_owned()])).await;
    let identity = authority.issue(&["a.example"], &[]);
    let mut client = RawClient::connect(target(&server, &authority), Some(&identity))
        .await
        .unwrap();
    let plain = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n";
    client.send(invite(plain).as_bytes()).await.unwrap();
    assert_eq!(client.final_response(WAIT).await.unwrap().status(), Some(488));
    server.on_invite(PeerAnswer::Reject(486));
    client.send(invite(plain).as_bytes()).await.unwrap();
    assert_eq!(client.final_response(WAIT).await.unwrap().status(), Some(486));
    server.on_invite(PeerAnswer::Silence);
    client.send(invite(plain).as_bytes()).await.unwrap();
    assert_eq!(client.next_reply(Duration::from_millis(200)).await, Reply::Silence);
}

#[tokio::test]
async fn client_without_a_certificate_is_turned_away() {
    let authority = Authority::new("ca");
    let server = start(&authority, PeerAnswer::Silence).await;
    if let Ok(mut client) = RawClient::connect(target(&server, &authority), None).await {
        assert_eq!(client.next_reply(WAIT).await, Reply::Closed);
    }
    let wrong_name = RawTarget {
        server_name: "c.example",
        ..target(&server, &authority)
    };
    assert!(RawClient::connect(wrong_name, None).await.is_err());
}

async fn start(authority: &Authority, answer: PeerAnswer) -> PeerServer {
    PeerServer::bind(PeerServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        identity: authority.issue(&["b.example"], &[]),
        ca_pem: authority.ca_pem().to_owned(),
        media_ip: [127, 0, 0, 1].into(),
        answer,
    })
    .await
    .unwrap()
}

fn target<'a>(server: &PeerServer, authority: &'a Authority) -> RawTarget<'a> {
    RawTarget {
        address: server.local_addr(),
        server_name: "b.example",
        ca_pem: authority.ca_pem(),
        source: None,
    }
}

fn invite(sdp: &str) -> String {
    format!(
        "INVITE sip:+14085550100@b.example SIP/2.0\r\nVia: SIP/2.0/TLS a.example;branch=z9hG4bK1\r\n\
         From: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@a.example>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

const WAIT: Duration = Duration::from_secs(3);
