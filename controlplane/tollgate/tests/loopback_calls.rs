//! Two real edges, started as an operator starts them, with a call agent behind each: real sockets, TLS, SRTP.

#[allow(dead_code, reason = "each test program uses its part")]
mod company;

use std::time::Duration;

use tollgate_peers::MediaScript;
use tollgate_peers::agent::{AnswerBehaviour, Outcome, PlaceOptions, SipTransport};

use company::{Pair, TICKETLESS, WRONG_NUMBER};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_tcp_carries_every_packet_unchanged_and_ends_from_either_side() {
    let pair = Pair::start(30, SipTransport::Tcp).await;
    for far_hangs_up in [false, true] {
        let call = pair
            .alpha
            .place("+12125550123", two_seconds())
            .await
            .expect("the call is answered");
        let far = pair
            .beta
            .next_call(Duration::from_secs(2))
            .await
            .expect("it reached the far agent");
        let (heard_here, heard_there) = tokio::join!(call.media_done(), far.media_done());
        for heard in [&heard_here, &heard_there] {
            assert_eq!(
                (heard.lost, heard.mismatched, heard.foreign, heard.duplicates),
                (0, 0, 0, 0),
                "{heard:?}"
            );
            assert!(heard.received >= 100 && heard.rtcp_received > 0, "{heard:?}");
        }
        if far_hangs_up {
            far.bye().await.expect("its BYE is answered");
            assert!(call.wait_bye(Duration::from_secs(2)).await.is_some());
        } else {
            call.bye().await.expect("our BYE is answered");
            assert!(far.wait_bye(Duration::from_secs(2)).await.is_some());
        }
    }
    let metrics = pair.metrics("alpha").await;
    assert!(
        metrics.contains("tollgate_calls_total{direction=\"outbound\",result=\"completed\"} 2"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_resume_info_and_delayed_offer_work_over_udp() {
    let pair = Pair::start(32, SipTransport::Udp).await;
    let options = PlaceOptions {
        delayed_offer: true,
        ..PlaceOptions::default()
    };
    let call = pair
        .alpha
        .place("+12125550123", options)
        .await
        .expect("a delayed offer is answered");
    let far = pair
        .beta
        .next_call(Duration::from_secs(2))
        .await
        .expect("it reached the far agent");
    call.hold().await.expect("hold");
    call.resume().await.expect("resume");
    assert_eq!(call.info().await.expect("INFO is answered"), 200);
    assert_eq!(far.info().await.expect("INFO from the far side is answered"), 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = far.media().received;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(far.media().received > before + 15, "media flows after the resume");
    call.bye().await.expect("BYE");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_reach_the_agent_at_once_as_the_code_that_means_the_pstn() {
    let pair = Pair::start(34, SipTransport::Tcp).await;
    for (number, cause) in [("+19995550000", "404"), (TICKETLESS, "403"), (WRONG_NUMBER, "403")] {
        let refused = pair
            .alpha
            .place(number, PlaceOptions::default())
            .await
            .expect_err("no call comes up");
        assert_eq!(refused.status, 503, "{number}");
        let reason = refused.reason.unwrap_or_default();
        assert!(reason.contains(&format!("SIP;cause={cause}")), "{number}: {reason}");
        assert!(
            refused.elapsed < Duration::from_secs(2),
            "{number}: {:?}",
            refused.elapsed
        );
    }
    assert!(
        pair.beta.invites().is_empty(),
        "nothing without a valid ticket reached the far agent"
    );
    let drops = pair.metrics("beta").await;
    for cause in ["missing", "number"] {
        assert!(
            drops.contains(&format!("tollgate_ticket_verifications_total{{result=\"{cause}\"}} 1")),
            "{drops}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_busy_passes_and_a_cancelled_call_rings_no_more() {
    let pair = Pair::start(36, SipTransport::Udp).await;
    pair.beta.on_invite(AnswerBehaviour {
        outcome: Outcome::Reject(486),
        ..AnswerBehaviour::default()
    });
    let busy = pair
        .alpha
        .place("+12125550123", PlaceOptions::default())
        .await
        .expect_err("busy");
    assert_eq!(busy.status, 486);
    pair.beta.on_invite(AnswerBehaviour {
        outcome: Outcome::RingForever,
        ..AnswerBehaviour::default()
    });
    let options = PlaceOptions {
        timeout: Duration::from_secs(1),
        ..PlaceOptions::default()
    };
    let cancelled = pair.alpha.place("+12125550123", options).await.expect_err("cancelled");
    assert!(matches!(cancelled.status, 487 | 408), "{cancelled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_refuses_new_calls_spares_the_old_and_exits_zero() {
    let mut pair = Pair::start(38, SipTransport::Tcp).await;
    let call = pair
        .alpha
        .place("+12125550123", PlaceOptions::default())
        .await
        .expect("a call before the drain");
    let _far = pair
        .beta
        .next_call(Duration::from_secs(2))
        .await
        .expect("it reached the far agent");
    pair.terminate("alpha");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = pair
        .alpha
        .place("+12125550123", PlaceOptions::default())
        .await
        .expect_err("draining");
    assert_eq!(refused.status, 503);
    let before = call.media().received;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(call.media().received > before + 15, "the call in progress goes on");
    call.bye().await.expect("BYE");
    assert_eq!(pair.exit_code("alpha", Duration::from_secs(5)), Some(0));
}

fn two_seconds() -> PlaceOptions {
    let media = MediaScript {
        duration: Some(Duration::from_secs(2)),
        rtcp: true,
    };
    PlaceOptions {
        media,
        ..PlaceOptions::default()
    }
}
