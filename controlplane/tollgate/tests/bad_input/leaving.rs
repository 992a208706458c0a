//! Signals while a call is under way.

use std::time::{Duration, Instant};

use tollgate_peers::agent::{CallEnd, PlaceOptions, SipTransport};

use crate::company::{GRANTED, Pair, talking, whole_call};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sigterm_spares_the_call_and_the_edge_leaves_with_its_end() {
    let mut pair = Pair::start(78, SipTransport::Udp).await;
    let (call, far) = talking(&pair, Duration::from_secs(2)).await;
    pair.terminate("beta");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let asked = Instant::now();
    let refused = pair
        .beta
        .place(GRANTED, PlaceOptions::default())
        .await
        .expect_err("beta drains");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "at once: {refused:?}");
    let refused = pair
        .alpha
        .place(GRANTED, PlaceOptions::default())
        .await
        .expect_err("beta drains");
    assert_eq!(refused.status, 503, "{refused:?}");
    let (heard_here, heard_there) = tokio::join!(call.media_done(), far.media_done());
    for heard in [&heard_here, &heard_there] {
        assert_eq!((heard.lost, heard.mismatched), (0, 0), "{heard:?}");
        assert!(heard.received >= 100, "{heard:?}");
    }
    assert_eq!(
        pair.exit_code("beta", Duration::from_millis(300)),
        None,
        "the call is not over"
    );
    call.bye().await.expect("its BYE is answered");
    let ended = Instant::now();
    assert_eq!(pair.exit_code("beta", Duration::from_secs(5)), Some(0));
    assert!(ended.elapsed() < Duration::from_secs(2), "{:?}", ended.elapsed());
    assert!(pair.is_running("alpha"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_the_call_on_both_legs_at_once() {
    let mut pair = Pair::start(80, SipTransport::Tcp).await;
    let (call, far) = talking(&pair, Duration::from_secs(30)).await;
    pair.terminate("alpha");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(pair.exit_code("alpha", Duration::ZERO), None, "the call goes on");
    let forced = Instant::now();
    pair.terminate("alpha");
    let within = Duration::from_secs(2);
    let (here, there) = tokio::join!(call.wait_bye(within), far.wait_bye(within));
    assert_eq!((here, there), (Some(CallEnd::FarSide), Some(CallEnd::FarSide)));
    assert_eq!(pair.exit_code("alpha", Duration::from_secs(4)), Some(0));
    assert!(forced.elapsed() < Duration::from_secs(4), "{:?}", forced.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_the_ports_are_free_at_once_and_the_next_call_works() {
    let mut pair = Pair::start(82, SipTransport::Tcp).await;
    for victim in ["alpha", "beta"] {
        let (call, far) = talking(&pair, Duration::from_secs(30)).await;
        let killed = Instant::now();
        pair.kill_and_restart(victim);
        assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
        whole_call(&pair).await;
        assert!(killed.elapsed() < Duration::from_secs(6), "{:?}", killed.elapsed());
        // The killed edge knows the old call no more: a BYE is told so at once, and the other edge lets go of it too.
        let (here, there) = tokio::join!(call.bye(), far.bye());
        let told = if victim == "alpha" { here } else { there };
        assert_eq!(told.expect_err("its edge knows no such call").status, 481, "{victim}");
        assert!(killed.elapsed() < Duration::from_secs(8), "{:?}", killed.elapsed());
        for name in ["alpha", "beta"] {
            expect_no_live_call(&pair, name).await;
        }
    }
}

/// An edge's calls have ended, or are about to.
async fn expect_no_live_call(pair: &Pair, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        let page = pair.page(name, "/v1/calls");
        let states = page.matches("\"state\":").count();
        if states == page.matches("\"state\":\"ending\"").count() {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
