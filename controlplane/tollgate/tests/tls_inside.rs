//! Two real edges whose call agents speak TLS and nothing else: whole calls, and agents that are not whom they should be.

#[allow(dead_code, reason = "each test program uses its part")]
mod company;

use std::time::Duration;

use serde_json::Value;
use tollgate_peers::agent::{AgentTls, AnswerBehaviour, Call, CallAgent, CallEnd, PlaceOptions, SipTransport};
use tollgate_peers::certs::Authority;
use tollgate_peers::{Codec, Direction, MediaReport, MediaScript};

use company::{GRANTED, Pair, Papers};

/// How long what is said to one side may take to show at the other.
const SOON: Duration = Duration::from_secs(2);

/// For both policies: where call records go.
const RECORDS: &str = "[logging]\ncall_records = \"records.jsonl\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn calls_from_either_side_carry_every_packet_unchanged_and_end_from_either_side() {
    let pair = Pair::start_with(Papers::write(100, SipTransport::Tls, RECORDS)).await;
    for (caller, called) in [(&pair.alpha, &pair.beta), (&pair.beta, &pair.alpha)] {
        called.on_invite(AnswerBehaviour {
            media: two_seconds(),
            ..AnswerBehaviour::default()
        });
        for far_hangs_up in [false, true] {
            let (call, far) = connect(caller, called, PlaceOptions::default()).await;
            let (heard_here, heard_there) = tokio::join!(call.media_done(), far.media_done());
            expect_unchanged(&heard_here, &heard_there);
            let (first, last) = if far_hangs_up { (far, call) } else { (call, far) };
            first.bye().await.expect("the BYE is answered");
            assert_eq!(last.wait_bye(SOON).await, Some(CallEnd::FarSide));
        }
        expect_tls_in(&called.invites()[0].message);
    }
    for name in ["alpha", "beta"] {
        let metrics = pair.metrics(name).await;
        expect_inside_tls_alone(&metrics);
        for direction in ["outbound", "inbound"] {
            let calls = format!("calls_total{{direction=\"{direction}\",result=\"completed\"}}");
            assert_eq!(value(&metrics, &calls), 2, "{metrics}");
        }
    }
    expect_records_of_whole_calls(pair.papers(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_resume_codec_change_and_requests_of_both_sides_pass_in_a_call_with_delayed_offer() {
    let pair = Pair::start(102, SipTransport::Tls).await;
    pair.beta.on_invite(AnswerBehaviour::default());
    let options = PlaceOptions {
        delayed_offer: true,
        ..PlaceOptions::default()
    };
    let (call, far) = connect(&pair.alpha, &pair.beta, options).await;
    for (one, other) in [(&call, &far), (&far, &call)] {
        one.hold().await.expect("hold");
        expect_silence_towards(one).await;
        one.resume().await.expect("resume");
        expect_media_towards(one).await;
        one.reinvite(Codec::Pcmu).await.expect("another codec");
        expect_media_towards(other).await;
        assert_eq!(one.info().await.expect("INFO is answered"), 200);
        assert_eq!(one.options().await.expect("OPTIONS is answered"), 200);
    }
    call.renegotiate(Direction::Inactive, None)
        .await
        .expect("silence both ways");
    expect_silence_towards(&far).await;
    far.bye().await.expect("its BYE is answered");
    assert_eq!(call.wait_bye(SOON).await, Some(CallEnd::FarSide));
    assert_eq!(call.media().mismatched + far.media().mismatched, 0);
    expect_inside_tls_alone(&pair.metrics("alpha").await);
    expect_inside_tls_alone(&pair.metrics("beta").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_certificate_does_not_bear_the_name_gets_no_call() {
    let mut papers = Papers::write(104, SipTransport::Tls, RECORDS);
    let of_another = papers.agents_tls["alpha"].identity.clone();
    beta_of(&mut papers).identity = of_another;
    let pair = Pair::start_with(papers).await;
    expect_no_call(&pair, "tls_name_mismatch", "name_mismatch").await;
    // It is not asked for a certificate when it connects, so its own calls are as good as ever.
    let (call, far) = connect(&pair.beta, &pair.alpha, PlaceOptions::default()).await;
    expect_media_towards(&call).await;
    far.bye().await.expect("the way back to it is the connection it made");
    assert_eq!(call.wait_bye(SOON).await, Some(CallEnd::FarSide));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_certificate_comes_from_an_unknown_authority_gets_no_call() {
    let mut papers = Papers::write(106, SipTransport::Tls, RECORDS);
    beta_of(&mut papers).identity = Authority::new("Stranger CA").issue(&["pbx.beta.example"], &[]);
    let pair = Pair::start_with(papers).await;
    expect_no_call(&pair, "tls", "unknown_ca").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_refuses_the_edges_certificate_sends_the_caller_to_the_pstn_at_once() {
    let mut papers = Papers::write(108, SipTransport::Tls, RECORDS);
    beta_of(&mut papers).ca_pem = Authority::new("Stranger CA").ca_pem().to_owned();
    let pair = Pair::start_with(papers).await;
    expect_no_call(&pair, "tls", "alert").await;
    let failure = pair.beta.place(GRANTED, PlaceOptions::default()).await;
    let failure = failure.expect_err("nor does it speak to that edge");
    assert!(failure.response.is_none(), "{failure:?}");
}

/// A call to beta fails there for `reason`, alpha's agent is told at once, and the handshake is counted as `result`.
async fn expect_no_call(pair: &Pair, reason: &str, result: &str) {
    for count in 1..=2 {
        let refused = pair.alpha.place(GRANTED, PlaceOptions::default()).await;
        let refused = refused.expect_err("no call comes up");
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.elapsed < SOON, "{refused:?}");
        let metrics = pair.metrics("beta").await;
        assert_eq!(
            value(&metrics, &format!("tls_handshakes_total{{result=\"{result}\"}}")),
            count,
            "{metrics}"
        );
        let refused = "calls_total{direction=\"inbound\",result=\"rejected\"}";
        assert_eq!(value(&metrics, refused), count, "{metrics}");
        let mut active = metrics.lines().filter(|line| line.starts_with("tollgate_calls_active"));
        assert!(active.all(|line| line.ends_with(" 0")), "{metrics}");
    }
    assert!(pair.beta.invites().is_empty(), "nothing of the call reached the agent");
    let (inbound, outbound): (Vec<_>, Vec<_>) = records(pair.papers())
        .into_iter()
        .partition(|record| record["direction"] == "inbound");
    assert_eq!((inbound.len(), outbound.len()), (2, 2), "{inbound:?} {outbound:?}");
    let told = |record: &Value| record["result"] == "rejected" && record["reason"] == reason;
    assert!(inbound.iter().all(told), "{inbound:?}");
    let back = |record: &Value| record["result"] == "fell_back_at_setup" && record["status"] == 503;
    assert!(outbound.iter().all(back), "{outbound:?}");
}

fn expect_unchanged(here: &MediaReport, there: &MediaReport) {
    for (heard, other) in [(here, there), (there, here)] {
        assert_eq!(
            (heard.lost, heard.mismatched, heard.foreign, heard.duplicates),
            (0, 0, 0, 0),
            "{heard:?}"
        );
        assert_eq!(heard.received, other.sent, "{heard:?}");
        assert_eq!(heard.received_stream, Some(other.sent_stream), "{heard:?}");
        assert!(heard.received >= 100 && heard.rtcp_received > 0, "{heard:?}");
    }
}

/// What the edge writes towards its agent tells of TLS.
fn expect_tls_in(invite: &tollgate_peers::SipText) {
    let via = invite.header("Via").expect("a request has a Via");
    assert!(via.starts_with("SIP/2.0/TLS "), "{via}");
    let contact = invite.header("Contact").expect("an INVITE has a Contact");
    assert!(contact.contains(":5061;transport=tls"), "{contact}");
}

fn expect_inside_tls_alone(metrics: &str) {
    for name in ["sip_messages_received_total", "sip_messages_sent_total"] {
        let by = |transport: &str| value(metrics, &format!("{name}{{leg=\"inside\",transport=\"{transport}\"}}"));
        assert!(by("tls") >= 6, "{name}: {metrics}");
        assert_eq!((by("udp"), by("tcp")), (0, 0), "{name}: {metrics}");
    }
    let open = value(metrics, "sip_connections{leg=\"inside\",transport=\"tls\"}");
    assert!(
        (1..=2).contains(&open),
        "one each way, used again for each call: {metrics}"
    );
    let handshakes = metrics
        .lines()
        .filter(|line| line.starts_with("tollgate_tls_handshakes_total{"));
    for line in handshakes {
        let succeeded = line.contains("result=\"ok\"");
        assert_eq!(line.ends_with(" 0"), !succeeded, "{line}");
    }
}

fn expect_records_of_whole_calls(papers: &Papers, calls: usize) {
    let records = records(papers);
    for direction in ["outbound", "inbound"] {
        let of_direction = records.iter().filter(|record| record["direction"] == direction);
        assert_eq!(of_direction.count(), calls, "{records:?}");
    }
    for record in &records {
        assert_eq!(record["result"], "completed", "{record}");
        assert!(record["talk_s"].as_f64().is_some_and(|talk| talk > 1.9), "{record}");
        for way in ["from_inside", "from_outside"] {
            let quality = &record["media"][0][way];
            assert!(
                quality["packets"].as_u64().is_some_and(|packets| packets >= 100),
                "{record}"
            );
            assert_eq!(quality["lost"], 0, "{record}");
        }
    }
}

async fn expect_media_towards(call: &Call) {
    let before = call.media().received;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(call.media().received > before + 15, "{:?}", call.media());
}

async fn expect_silence_towards(call: &Call) {
    // What was under way when the answer came may still arrive.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = call.media().received;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(call.media().received, before);
}

async fn connect(caller: &CallAgent, called: &CallAgent, options: PlaceOptions) -> (Call, Call) {
    let media = if options.delayed_offer {
        MediaScript::default()
    } else {
        two_seconds()
    };
    let call = caller.place(GRANTED, PlaceOptions { media, ..options }).await;
    let call = call.expect("the call is answered");
    let far = called.next_call(SOON).await.expect("it reached the far agent");
    (call, far)
}

fn two_seconds() -> MediaScript {
    MediaScript {
        duration: Some(Duration::from_secs(2)),
        rtcp: true,
    }
}

fn beta_of(papers: &mut Papers) -> &mut AgentTls {
    papers.agents_tls.get_mut("beta").expect("its agent speaks TLS")
}

fn records(papers: &Papers) -> Vec<Value> {
    let text = papers.text("records.jsonl");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("every line is JSON")
}

/// The value of a sample, named without the common prefix.
fn value(metrics: &str, sample: &str) -> u64 {
    let start = format!("tollgate_{sample} ");
    let found = metrics.lines().find_map(|line| line.strip_prefix(&start));
    let found = found.and_then(|value| value.parse().ok());
    found.unwrap_or_else(|| panic!("no {sample} in {metrics}"))
}
