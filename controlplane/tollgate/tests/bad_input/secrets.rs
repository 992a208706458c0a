//! Nothing an edge or a command writes gives a secret away: keys of tickets, media and certificates, and tickets.

use std::fs;
use std::time::Duration;

use tollgate_peers::Codec;
use tollgate_peers::agent::{PlaceOptions, SipTransport};
use tollgate_peers::raw::{PeerAnswer, PeerServer, PeerServerConfig, RawClient, SdesKey, SrtpEnd};

use crate::command::{run, tollgate, with_policy};
use crate::company::{Pair, Papers, TICKETLESS, WRONG_NUMBER, ticket, ticket_key, whole_call};
use crate::leaks::{Secrets, ticket_bytes};
use crate::raw_call::{NUMBER, good_ticket, invite, knock, outside};

/// A number whose peer is not an edge but a server of the test, which sees what the edge writes.
const SEEN: &str = "+12125550177";

/// The suite of the hand-made ends.
const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn the_most_verbose_log_and_the_records_hold_no_secret_of_any_call() {
    let papers = written_with_a_seen_peer(94);
    let peer = seen_peer(&papers).await;
    let pair = Pair::start_with(papers).await;
    let mut secrets = secrets_of(pair.papers());
    whole_call(&pair).await;
    call_the_seen_peer(&pair, &peer, &mut secrets).await;
    for number in [TICKETLESS, WRONG_NUMBER, "+19995550000"] {
        let refused = pair.alpha.place(number, PlaceOptions::default()).await;
        assert_eq!(refused.expect_err("it is refused").status, 503);
    }
    call_by_hand(&pair, &mut secrets).await;
    fail_by_hand(&pair, &mut secrets).await;
    for page in ["/metrics", "/v1/calls", "/v1/media", "/v1/peers", "/v1/drops"] {
        secrets.expect_absent(page, &pair.page("alpha", page));
    }
    pair.metrics("alpha").await;
    for name in ["alpha", "beta"] {
        let log = pair.papers().log(name);
        let records = pair.papers().text("records.jsonl");
        assert!(log.contains("event=\"started\""), "{log}");
        assert!(records.matches("\"call_end\"").count() >= 4, "{records}");
        secrets.expect_absent(&format!("the log of {name}"), &log);
        secrets.expect_absent("the records", &records);
        for number in [NUMBER, SEEN, TICKETLESS, WRONG_NUMBER] {
            assert!(
                !log.contains(number) && !records.contains(number),
                "{name} shows {number}"
            );
        }
    }
    let log = pair.papers().log("alpha");
    let told = log.matches("event=\"setup_failed\"").count();
    assert_eq!(told, 2, "what was refused is told: {log}");
    assert!(secrets.count() > 60, "only {} texts were looked for", secrets.count());
}

#[test]
fn commands_on_tickets_and_keys_show_neither_keys_nor_right_macs() {
    let papers = Papers::write(96, SipTransport::Tcp, "");
    let good = good_ticket();
    let mut secrets = Secrets::default();
    ["alpha", "beta"]
        .into_iter()
        .for_each(|name| secrets.add_bytes(&ticket_key(name)));
    // The MAC ends the ticket.
    let bytes = ticket_bytes(&good);
    secrets.add_bytes(&bytes[bytes.len() - 32..]);
    let at = good.len() - 12;
    let broken = format!(
        "{}{}{}",
        &good[..at],
        if &good[at..=at] == "A" { "B" } else { "A" },
        &good[at + 1..]
    );
    let policy = papers.path("alpha.toml").display().to_string();
    for shown in [&good, &broken, &good[..good.len() - 8], "garbage"] {
        let inspected = run(&mut tollgate(&["ticket", "inspect", "--policy", &policy, shown]));
        let alone = run(&mut tollgate(&["ticket", "inspect", shown]));
        let mut verify = tollgate(&["ticket", "verify", "--policy", &policy, "--number", NUMBER]);
        let verified = run(verify.args(["--peer", "beta.example", shown]));
        assert_eq!(verified.code, Some(if *shown == good { 0 } else { 65 }), "{verified:?}");
        for ended in [inspected, alone, verified] {
            assert!(!ended.words().is_empty());
            secrets.expect_absent(shown, &ended.words());
        }
    }
    // A key in the wrong place is not repeated either.
    let text = papers.text("alpha.toml").replace("\"alpha.epoch\"", "\"no-such-file\"");
    let misplaced = text.replace(
        "key_file = \"no-such-file\"",
        &format!("key_env = \"{}\"", papers.text("alpha.epoch")),
    );
    fs::write(papers.path("alpha.toml"), misplaced).unwrap();
    for verb in ["run", "check"] {
        let ended = with_policy(&papers, &[verb]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(ended.stderr.contains("tickets.keys[0].key_env"), "{ended:?}");
        secrets.expect_absent(verb, &ended.words());
    }
}

/// Policies with the most verbose log, records in a file, and a further route.
fn written_with_a_seen_peer(base: u8) -> Papers {
    let papers = Papers::write(base, SipTransport::Tcp, "");
    let peer = papers.address("alpha", 6, 5061);
    let ticket = ticket(SEEN, "gamma", "alpha");
    let more = format!(
        "[[routes]]\nnumber = \"{SEEN}\"\ndomain = \"gamma.example\"\npeer = \"{peer}\"\nticket = \"{ticket}\"\n\
         [logging]\nlevel = \"trace\"\ncall_records = \"records.jsonl\"\n"
    );
    for name in ["alpha.toml", "beta.toml"] {
        let text = papers.text(name) + &more;
        fs::write(papers.path(name), text).unwrap();
    }
    papers
}

async fn seen_peer(papers: &Papers) -> PeerServer {
    let config = PeerServerConfig {
        listen: papers.address("alpha", 6, 5061),
        identity: papers.authority.issue(&["gamma.example"], &[]),
        ca_pem: papers.authority.ca_pem().to_owned(),
        media_ip: papers.address("alpha", 6, 0).ip(),
        answer: PeerAnswer::Echo(vec![SUITE.to_owned()]),
    };
    PeerServer::bind(config).await.unwrap()
}

/// What both companies keep to themselves.
fn secrets_of(papers: &Papers) -> Secrets {
    let mut secrets = Secrets::default();
    for name in ["alpha", "beta"] {
        secrets.add_bytes(&ticket_key(name));
        secrets.add_pem(&papers.text(&format!("{name}.key")));
        let policy = papers.text(&format!("{name}.toml"));
        for ticket in policy.lines().filter_map(|line| line.strip_prefix("ticket = \"")) {
            add_ticket(&mut secrets, ticket.trim_end_matches('"'));
        }
    }
    add_ticket(&mut secrets, &good_ticket());
    secrets
}

/// A ticket's text, and its MAC in every form.
fn add_ticket(secrets: &mut Secrets, text: &str) {
    secrets.add_text(text);
    let bytes = ticket_bytes(text);
    secrets.add_bytes(&bytes[bytes.len() - 32..]);
}

/// The keys of every crypto line in a message or description.
fn add_media_keys(secrets: &mut Secrets, text: &str) -> usize {
    let keys: Vec<&str> = text.split("inline:").skip(1).collect();
    for key in &keys {
        let key = key.split(|after: char| "|\r\n ".contains(after)).next().unwrap();
        secrets.add_text(key);
        let url_safe = key.trim_end_matches('=').replace('+', "-").replace('/', "_");
        secrets.add_bytes(&ticket_bytes(&url_safe));
    }
    keys.len()
}

/// A call from alpha's agent to a peer that lets its keys be seen.
async fn call_the_seen_peer(pair: &Pair, peer: &PeerServer, secrets: &mut Secrets) {
    let call = pair
        .alpha
        .place(SEEN, PlaceOptions::default())
        .await
        .expect("the peer answers");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        call.media().received > 0 || peer.srtp_reports()[0].received > 0,
        "SRTP flows"
    );
    call.bye().await.expect("its BYE is answered");
    let seen = peer.wait_message("INVITE", 0, SOON).await.unwrap();
    assert!(add_media_keys(secrets, &String::from_utf8(seen).unwrap()) > 0);
}

/// A call by hand into alpha, answered, with both keys known, and ended by closing the connection's dialog.
async fn call_by_hand(pair: &Pair, secrets: &mut Secrets) {
    let mut client = knock_as_beta(pair).await;
    let media_ip = pair.papers().address("beta", 7, 0).ip();
    let end = SrtpEnd::bind(media_ip, SdesKey::generate(1, SUITE).unwrap())
        .await
        .unwrap();
    let offer = end.sdp(Codec::Pcma);
    assert_eq!(add_media_keys(secrets, &offer), 1);
    let from = outside(pair.papers());
    client
        .send(invite("by-hand", from, &good_ticket(), &offer).as_bytes())
        .await
        .unwrap();
    let answer = client.final_response(SOON).await.expect("an answer");
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    assert_eq!(add_media_keys(secrets, &String::from_utf8_lossy(answer.body())), 1);
    end.accept(answer.body()).unwrap();
    let to = answer.header("To").unwrap();
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let request = invite(&format!("by-hand;{method}"), from, &good_ticket(), "");
        let request = request.replace("1 INVITE", &format!("{cseq} {method}"));
        let request = request
            .replacen("INVITE", method, 1)
            .replace(&format!("To: <sip:{NUMBER}@alpha.example>"), &format!("To: {to}"));
        let request = request.replace(&format!("Call-ID: by-hand;{method}"), "Call-ID: by-hand");
        let request = request.replace(&format!("tag=fby-hand;{method}"), "tag=fby-hand");
        let request = request.replace(&format!("z9hG4bKby-hand;{method}"), &format!("z9hG4bK{method}"));
        client.send(request.as_bytes()).await.unwrap();
    }
    assert_eq!(
        client.final_response(SOON).await.and_then(|answer| answer.status()),
        Some(200)
    );
}

/// Calls by hand that fail for every part of theirs that holds a secret.
async fn fail_by_hand(pair: &Pair, secrets: &mut Secrets) {
    let mut client = knock_as_beta(pair).await;
    let from = outside(pair.papers());
    let key = SdesKey::generate(1, SUITE).unwrap();
    let end = SrtpEnd::bind(pair.papers().address("beta", 7, 0).ip(), key.clone())
        .await
        .unwrap();
    let offer = end.sdp(Codec::Pcma);
    add_media_keys(secrets, &offer);
    let good = good_ticket();
    let stranger = ticket("+12125550999", "alpha", "beta");
    let forged = ticket(NUMBER, "beta", "beta");
    [&stranger, &forged]
        .into_iter()
        .for_each(|text| add_ticket(secrets, text));
    let inline = key.crypto_line().split("inline:").nth(1).unwrap().to_owned();
    let cases = [
        (stranger, offer.clone(), 403),
        (forged, offer.clone(), 403),
        (good[..good.len() - 4].to_owned(), offer.clone(), 403),
        (format!("{good}\r\nTicket: {good}"), offer.clone(), 403),
        (good.clone(), offer.replace(&inline, &inline[..inline.len() - 4]), 488),
        (good.clone(), offer.replace("RTP/SAVP", "RTP/AVP"), 488),
        (good.clone(), offer.replace("crypto:1 AES", "crypto:1 XES"), 488),
        (good.clone(), offer.replace("crypto:1 ", "crypto:one "), 488),
        (good.clone(), offer.replace("v=0", "v=9"), 488),
    ];
    for (at, (ticket, sdp, status)) in cases.into_iter().enumerate() {
        client
            .send(invite(&format!("bad{at}"), from, &ticket, &sdp).as_bytes())
            .await
            .unwrap();
        let answer = client.final_response(SOON).await.expect("an answer");
        let told = answer.status();
        assert!(told == Some(status) || told == Some(400), "{at}: {answer:?}");
    }
}

async fn knock_as_beta(pair: &Pair) -> RawClient {
    let beta = pair.papers().authority.issue(&["beta.example"], &[]);
    knock(pair, Some(&beta)).await.unwrap()
}
