//! Two agents face to face, no edge between.

use super::*;
use crate::certs::Authority;
use crate::sdp::Direction;

#[tokio::test(flavor = "multi_thread")]
async fn call_over_udp_carries_every_packet_bit_for_bit() {
    call_with_media(SipTransport::Udp, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_tcp_with_delayed_offer_carries_every_packet_bit_for_bit() {
    call_with_media(SipTransport::Tcp, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn call_over_tls_carries_every_packet_bit_for_bit() {
    call_with_media(SipTransport::Tls, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_different_authorities_do_not_talk() {
    let book = PayloadBook::new();
    let [one, other] = ["one", "other"].map(|name| papers(&Authority::new(name)));
    let nobody = "127.0.0.1:9".parse().unwrap();
    let called = CallAgent::bind_with_tls(config(nobody, SipTransport::Tls, &book), &one)
        .await
        .unwrap();
    let caller = config(called.local_addr(), SipTransport::Tls, &book);
    let caller = CallAgent::bind_with_tls(caller, &other).await.unwrap();
    let failure = caller.place(NUMBER, PlaceOptions::default()).await.unwrap_err();
    assert_eq!(failure.status, 503);
    assert!(failure.reason.unwrap().contains("UnknownIssuer"));
    assert!(called.invites().is_empty());
}

async fn call_with_media(transport: SipTransport, delayed_offer: bool) {
    let (caller, called) = pair(transport).await;
    called.on_invite(AnswerBehaviour {
        media: one_second(),
        ..AnswerBehaviour::default()
    });
    let options = PlaceOptions {
        media: one_second(),
        delayed_offer,
        ..PlaceOptions::default()
    };
    let call = caller.place(NUMBER, options).await.unwrap();
    let far = called.next_call(WAIT).await.unwrap();
    assert!(call.provisionals.iter().any(|provisional| provisional.status == 180));
    assert_eq!((call.number.as_str(), far.number.as_str()), (NUMBER, NUMBER));
    let (near, far_report) = tokio::join!(call.media_done(), far.media_done());
    for (report, other) in [(&near, &far_report), (&far_report, &near)] {
        assert_eq!((report.sent, report.received, report.lost), (50, 50, 0));
        assert_eq!((report.mismatched, report.foreign, report.duplicates), (0, 0, 0));
        assert_eq!(report.received_stream, Some(other.sent_stream));
        assert!(report.rtcp_received > 0);
        assert_eq!(report.latency_us.len(), 50);
    }
    call.bye().await.unwrap();
    assert_eq!(far.wait_bye(WAIT).await, Some(CallEnd::FarSide));
    assert_eq!((caller.call_count(), called.call_count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_stops_the_far_side_and_resume_starts_it_again() {
    let (_caller, _called, call, far) = connected(SipTransport::Udp).await;
    call.hold().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (held, held_far) = (call.media().received, far.media().received);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(call.media().received, held);
    assert!(far.media().received > held_far);
    call.resume().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(call.media().received > held);
    far.renegotiate(Direction::Inactive, None).await.unwrap();
    far.bye().await.unwrap();
    assert_eq!(call.wait_bye(WAIT).await, Some(CallEnd::FarSide));
    assert_eq!(call.media().mismatched + far.media().mismatched, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_inside_the_dialog_are_answered_and_recorded() {
    let (caller, _called, call, far) = connected(SipTransport::Tcp).await;
    assert_eq!(call.info().await.unwrap(), 200);
    assert_eq!(far.options().await.unwrap(), 200);
    call.reinvite(Codec::Pcmu).await.unwrap();
    assert_eq!(caller.ping(WAIT).await.unwrap(), 200);
    let methods: Vec<_> = far.log().requests.into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["INFO", "INVITE"]);
    call.bye().await.unwrap();
    let failure = call.info().await.unwrap_err();
    assert_eq!(failure.status, 481);
}

#[tokio::test(flavor = "multi_thread")]
async fn refer_without_subscription_gets_no_notify_and_one_with_it_does() {
    let (caller, _called, call, far) = connected(SipTransport::Udp).await;
    let target = "sip:+14085550199@pstn.example";
    assert_eq!(far.refer(target, false).await.unwrap(), 202);
    let refer = call.wait_refer(WAIT).await.unwrap();
    assert_eq!((refer.refer_to.as_str(), refer.cseq), (target, 1));
    caller.on_refer(ReferBehaviour {
        bye_after: Some(Duration::from_millis(50)),
        ..ReferBehaviour::default()
    });
    assert!(far.log().requests.is_empty());
    assert_eq!(far.refer(target, true).await.unwrap(), 202);
    assert_eq!(far.wait_bye(WAIT).await, Some(CallEnd::FarSide));
    let requests = far.log().requests;
    let notify = &requests
        .iter()
        .find(|request| request.method == "NOTIFY")
        .unwrap()
        .message;
    assert_eq!(notify.header("Event").as_deref(), Some("refer;id=2"));
    assert!(notify.body().starts_with(b"SIP/2.0 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_reported_and_acknowledged() {
    let (caller, called) = pair(SipTransport::Udp).await;
    called.on_invite(AnswerBehaviour {
        outcome: Outcome::Reject(486),
        ..AnswerBehaviour::default()
    });
    let ticket = ("X-Cisco-UC-IME-Ticket".to_owned(), "abc".to_owned());
    let options = PlaceOptions {
        extra_headers: vec![ticket],
        ..PlaceOptions::default()
    };
    let failure = caller.place(NUMBER, options).await.unwrap_err();
    assert_eq!(failure.status, 486);
    let seen = called.invites();
    assert_eq!(
        (seen.len(), seen[0].has_ticket, seen[0].number.as_str()),
        (1, true, NUMBER)
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(lock(&called.shared.awaiting_ack).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_that_waits_in_vain_cancels() {
    let (caller, called) = pair(SipTransport::Udp).await;
    called.on_invite(AnswerBehaviour {
        outcome: Outcome::RingForever,
        ..AnswerBehaviour::default()
    });
    let options = PlaceOptions {
        timeout: Duration::from_millis(300),
        ..PlaceOptions::default()
    };
    let failure = caller.place(NUMBER, options).await.unwrap_err();
    assert_eq!((failure.status, failure.response.unwrap().status()), (408, Some(487)));
    assert!(lock(&called.shared.cancellable).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn early_media_is_heard_before_the_answer() {
    let (caller, called) = pair(SipTransport::Tcp).await;
    let ring_for = Duration::from_millis(400);
    called.on_invite(AnswerBehaviour {
        ring_for,
        early_media: true,
        ..AnswerBehaviour::default()
    });
    let call = caller.place(NUMBER, PlaceOptions::default()).await.unwrap();
    assert!(
        call.provisionals
            .iter()
            .any(|provisional| provisional.status == 183 && provisional.has_sdp)
    );
    assert!(call.media().received >= 10, "{:?}", call.media().received);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_request_is_sent_again_over_udp() {
    let deaf = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let caller = CallAgent::bind(config(
        deaf.local_addr().unwrap(),
        SipTransport::Udp,
        &PayloadBook::new(),
    ));
    let caller = caller.await.unwrap();
    let options = PlaceOptions {
        timeout: Duration::from_millis(1_700),
        ..PlaceOptions::default()
    };
    let failure = caller.place(NUMBER, options).await.unwrap_err();
    assert_eq!(failure.status, 408);
    let mut buffer = [0; 2048];
    let mut copies = Vec::new();
    while let Ok(len) = deaf.try_recv(&mut buffer) {
        copies.push(buffer[..len].to_vec());
    }
    // At 0, 500 and 1,500 ms.
    assert_eq!(copies.len(), 3);
    assert!(copies.iter().all(|copy| *copy == copies[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_closed_by_the_far_side_is_opened_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = listener.local_addr().unwrap();
    let caller = CallAgent::bind(config(edge, SipTransport::Tcp, &PayloadBook::new()))
        .await
        .unwrap();
    let pinging = caller.ping(Duration::from_millis(200));
    let (refused, accepted) = tokio::join!(pinging, listener.accept());
    assert_eq!(refused.unwrap_err().status, 408);
    drop(accepted);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_, second) = tokio::join!(
        caller.ping(Duration::from_millis(200)),
        timeout(Duration::from_millis(200), listener.accept())
    );
    assert!(second.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_calls_at_once_lose_nothing_and_mix_nothing() {
    let (caller, called) = pair(SipTransport::Udp).await;
    called.on_invite(AnswerBehaviour {
        media: one_second(),
        ..AnswerBehaviour::default()
    });
    let numbers: Vec<String> = (0..20).map(|n| format!("+140855501{n:02}")).collect();
    let caller = Arc::new(caller);
    let placing: Vec<_> = numbers
        .iter()
        .map(|number| {
            let (caller, number) = (Arc::clone(&caller), number.clone());
            let options = PlaceOptions {
                media: one_second(),
                ..PlaceOptions::default()
            };
            tokio::spawn(async move { caller.place(&number, options).await.unwrap() })
        })
        .collect();
    for placed in placing {
        let report = placed.await.unwrap().media_done().await;
        assert_eq!(
            (report.sent, report.received, report.lost, report.foreign),
            (50, 50, 0, 0)
        );
    }
    assert_eq!(called.invites().len(), 20);
}

async fn connected(transport: SipTransport) -> (CallAgent, CallAgent, Call, Call) {
    let (caller, called) = pair(transport).await;
    let call = caller.place(NUMBER, PlaceOptions::default()).await.unwrap();
    let far = called.next_call(WAIT).await.unwrap();
    (caller, called, call, far)
}

async fn pair(transport: SipTransport) -> (CallAgent, CallAgent) {
    let book = PayloadBook::new();
    let tls = (transport == SipTransport::Tls).then(|| papers(&Authority::new("both trust")));
    let called = CallAgent::serve(config("127.0.0.1:9".parse().unwrap(), transport, &book), tls.as_ref())
        .await
        .unwrap();
    let caller = CallAgent::serve(config(called.local_addr(), transport, &book), tls.as_ref())
        .await
        .unwrap();
    (caller, called)
}

fn papers(authority: &Authority) -> AgentTls {
    AgentTls {
        identity: authority.issue(&["pbx.a.example"], &[]),
        ca_pem: authority.ca_pem().to_owned(),
        edge_name: "pbx.a.example".to_owned(),
    }
}

fn config(edge: SocketAddr, edge_transport: SipTransport, book: &PayloadBook) -> AgentConfig {
    AgentConfig {
        name: "+14085550001".to_owned(),
        domain: "a.example".to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        edge,
        edge_transport,
        media_ip: "127.0.0.1".parse().unwrap(),
        book: book.clone(),
    }
}

fn one_second() -> MediaScript {
    MediaScript {
        duration: Some(Duration::from_secs(1)),
        rtcp: true,
    }
}

const NUMBER: &str = "+14085550100";
const WAIT: Duration = Duration::from_secs(5);
