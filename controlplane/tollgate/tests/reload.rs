//! A changed policy file is taken on while calls go on: whole, or not at all.

#[allow(dead_code, reason = "each test program uses its part")]
mod company;

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tollgate_peers::agent::SipTransport;

use company::{GRANTED, Pair, Papers, talking, whole_call};

const RELOADS: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_load_lose_no_call_and_no_packet() {
    let pair = Pair::start(50, SipTransport::Tcp).await;
    let original = pair.papers().text("alpha.toml");
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(talking(&pair, Duration::from_secs(6)).await);
    }
    for round in 0..RELOADS {
        let changed = format!("{original}[calls]\nsetup_timeout_ms = {}\n", 4_000 + round);
        fs::write(pair.papers().path("alpha.toml"), changed).unwrap();
        let answer = reload(pair.papers(), &["--json"]);
        let told: Value = serde_json::from_slice(&answer.stdout).unwrap();
        assert_eq!(told["applied"], true, "{told}");
        assert_eq!(told["changes"][0]["key"], "calls.setup_timeout_ms", "{told}");
        if round % 20 == 0 {
            // New calls come up in between.
            let (call, far) = talking(&pair, Duration::from_millis(200)).await;
            calls.push((call, far));
        }
    }
    for (call, far) in calls {
        let (heard_here, heard_there) = tokio::join!(call.media_done(), far.media_done());
        for heard in [&heard_here, &heard_there] {
            assert_eq!((heard.lost, heard.mismatched, heard.foreign), (0, 0, 0), "{heard:?}");
        }
        call.bye().await.expect("its BYE is answered");
        assert!(far.wait_bye(Duration::from_secs(2)).await.is_some());
    }
    assert_eq!(
        pair.papers().log("alpha").matches("event=\"reloaded\"").count() as u64,
        RELOADS
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_mistakes_or_of_other_sockets_is_refused_whole() {
    let pair = Pair::start(52, SipTransport::Tcp).await;
    let papers = pair.papers();
    let original = papers.text("alpha.toml");
    let without_its_route = original.replacen(GRANTED, "+19995550000", 1);
    for (policy, key) in [
        (without_its_route.replace("max_calls = 20", "max_calls = none"), ""),
        (
            without_its_route.clone() + "[calls]\nfallback_code = 200\n",
            "calls.fallback_code",
        ),
        (
            without_its_route.replace("20000-20079", "20100-20179"),
            "media.inside[0].ports",
        ),
        (without_its_route.replace("alpha.epoch", "beta.toml"), "tickets.keys"),
    ] {
        fs::write(papers.path("alpha.toml"), policy).unwrap();
        let answer = reload(papers, &[]);
        let told = String::from_utf8(answer.stdout).unwrap();
        assert_eq!(answer.status.code(), Some(78), "{told}");
        assert!(told.contains(key) && told.contains("mend: "), "{told}");
        assert!(told.ends_with("refused: the old policy stays in force\n"), "{told}");
        // The old policy has the route to this number.
        whole_call(&pair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_taken_on_and_bad_ones_leave_the_old() {
    let mut pair = Pair::start(54, SipTransport::Tcp).await;
    let other = pair.papers().authority.issue(&["alpha.example"], &[]);
    fs::write(pair.papers().path("alpha.pem"), &other.cert_pem).unwrap();
    let answer = reload(pair.papers(), &[]);
    let told = String::from_utf8(answer.stdout).unwrap();
    assert!(
        answer.status.code() == Some(78) && told.contains("outside.tls.private_key"),
        "{told}"
    );
    whole_call(&pair).await;
    fs::write(pair.papers().path("alpha.key"), &other.key_pem).unwrap();
    let answer = reload(pair.papers(), &[]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stdout));
    // A handshake of its own shows that the new certificate is good for calls.
    pair.kill_and_restart("beta");
    whole_call(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reloads_and_a_new_route_is_good_for_the_next_call() {
    let pair = Pair::start(56, SipTransport::Tcp).await;
    let papers = pair.papers();
    let original = papers.text("alpha.toml");
    fs::write(papers.path("alpha.toml"), original.replacen(GRANTED, "+19995550000", 1)).unwrap();
    assert!(reload(papers, &[]).status.success());
    let refused = pair.alpha.place(GRANTED, Default::default()).await;
    assert_eq!(refused.expect_err("there is no route").status, 503);
    fs::write(papers.path("alpha.toml"), original).unwrap();
    pair.signal("alpha", "-HUP");
    tokio::time::sleep(Duration::from_millis(500)).await;
    whole_call(&pair).await;
}

fn reload(papers: &Papers, more: &[&str]) -> Output {
    let admin = papers.address("alpha", 1, 9090).to_string();
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["reload", "--admin", &admin])
        .args(more)
        .output()
        .expect("the program runs")
}
