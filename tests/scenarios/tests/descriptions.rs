//! Where descriptions may stand, and what becomes of those that stand elsewhere (calls.md 5; RFC 3262, 3264, 3311).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::{Side, SrtpSuite, Way};
use tollgate_testkit::{Sdp, Setup, heard, key};

use Side::{Inside, Outside};

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

#[test]
fn a_description_in_a_request_that_offers_nothing_is_488() {
    for method in ["INFO", "MESSAGE", "NOTIFY", "STRANGE"] {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(Way::Outbound);
        let sdp = bed.agent_sdp().text();
        let request = bed.agent.request(method).with_sdp(Some(&sdp));
        bed.send(Inside, &request);
        bed.expect(Inside, "488");
        bed.expect_nothing(Outside);
        bed.both_speak(&mut talk, 1);
    }
}

#[test]
fn a_description_in_an_answer_to_what_offered_nothing_is_removed() {
    for method in ["INFO", "UPDATE", "BYE"] {
        let mut bed = Setup::default().build();
        bed.answered(Way::Outbound);
        bed.request(Outside, method);
        let request = bed.expect(Inside, method);
        let sdp = bed.agent_sdp().text();
        bed.respond(Inside, &request, 200, Some(&sdp));
        let ok = bed.expect(Outside, "200");
        assert_eq!((ok.body.as_str(), ok.field("Content-Type")), ("", None));
        if method != "BYE" {
            // No offer is left open: the next one is taken.
            let hold = bed.agent_sdp().directed("sendonly").text();
            bed.reinvite(Inside, Some(&hold));
            bed.expect(Inside, "100");
            bed.expect(Outside, "INVITE");
        }
    }
}

#[test]
fn an_answer_that_comes_after_the_call_has_ended_takes_no_ports() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    bed.reinvite(Outside, None);
    bed.expect(Outside, "100");
    let invite = bed.expect(Inside, "INVITE");
    bed.hang_up(Outside);
    let offer = bed.agent_sdp().text();
    bed.respond(Inside, &invite, 200, Some(&offer));
    assert_eq!(bed.leftovers()[2], 0);
    bed.expect_nothing_left();
}

#[test]
fn a_description_in_a_refusal_is_removed() {
    for way in [Way::Outbound, Way::Inbound] {
        let (caller, callee) = (way.caller_side(), way.caller_side().other());
        let mut bed = Setup::default().build();
        let offer = if caller == Inside {
            bed.agent_sdp()
        } else {
            bed.peer_sdp()
        };
        bed.invite(caller, Some(&offer.text()));
        bed.expect(caller, "100");
        let invite = bed.expect(callee, "INVITE");
        let sdp = Sdp::plain(bed.party(callee).media).text();
        bed.respond(callee, &invite, 486, Some(&sdp));
        assert_eq!(bed.expect(caller, "486").body, "");
    }
}

#[test]
fn an_offer_in_a_reliable_progress_is_answered_in_its_prack() {
    let mut bed = Setup::default().build();
    bed.invite(Inside, None);
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let offer = bed.peer_sdp().text();
    let progress = bed
        .peer
        .response(&invite, 183, Some(&offer))
        .with("Require", "100rel")
        .with("RSeq", "1");
    bed.send(Outside, &progress);
    let progress = bed.expect(Inside, "183");
    assert_eq!(heard(&progress.body, 0).profile, "RTP/AVP");
    let rack = format!("1 {} INVITE", bed.agent.cseq);
    let answer = bed.agent_sdp().text();
    let prack = bed.agent.request("PRACK").with("RAck", &rack).with_sdp(Some(&answer));
    bed.send(Inside, &prack);
    let prack = bed.expect(Outside, "PRACK");
    assert_eq!(prack.field("RAck"), Some(rack.as_str()));
    assert_eq!(heard(&prack.body, 0).profile, "RTP/SAVP");
    bed.respond(Outside, &prack, 200, None);
    bed.expect(Inside, "200");
    let told = tollgate_testkit::Message {
        body: prack.body,
        ..invite.clone()
    };
    let mut talk = bed.talk(Way::Outbound, SUITE, told, progress);
    bed.both_speak(&mut talk, 1);
    bed.respond(Outside, &invite, 200, None);
    bed.expect(Inside, "200");
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    bed.both_speak(&mut talk, 2);
    bed.hang_up(Outside);
    bed.expect_nothing_left();
}

#[test]
fn all_but_addresses_ports_profile_and_keys_is_kept_in_order() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().and(
        "a=x-unknown:kept as it is\r\na=candidate:1 1 UDP 1 10.0.0.50 20000 typ host\r\na=rtcp:20001\r\na=maxptime:40\r\n\
         m=application 0 UDP/BFCP *\r\n",
    );
    bed.invite(Inside, Some(&offer.text()));
    let invite = bed.expect(Outside, "INVITE");
    let lines: Vec<&str> = invite
        .body
        .lines()
        .filter(|line| !line.starts_with("a=crypto"))
        .collect();
    assert_eq!(lines[0], "v=0");
    assert!(
        lines[1].starts_with("o=- ") && lines[1].ends_with(" IN IP4 198.51.100.1"),
        "{}",
        lines[1]
    );
    assert_eq!(lines[2..5], ["s=-", "c=IN IP4 198.51.100.1", "t=0 0"]);
    assert!(
        lines[5].starts_with("m=audio 16") && lines[5].ends_with(" RTP/SAVP 0 8 101"),
        "{}",
        lines[5]
    );
    let rest = [
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=ptime:20",
        "a=sendrecv",
        "a=x-unknown:kept as it is",
        "a=maxptime:40",
        "m=application 0 UDP/BFCP *",
    ];
    assert_eq!(lines[6..], rest);
    assert_eq!(heard(&invite.body, 0).crypto.len(), bed.snapshot.media.suites.len());
}

#[test]
fn fax_is_refused_beside_audio_and_488_alone() {
    let mut bed = Setup::default().build();
    let beside = bed.peer_sdp().and("m=image 45000 udptl t38\r\n").text();
    bed.invite(Outside, Some(&beside));
    bed.expect(Outside, "100");
    assert!(bed.expect(Inside, "INVITE").body.contains("m=image 0 udptl t38"));

    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    let alone = bed
        .agent_sdp()
        .text()
        .replace("m=audio 20000 RTP/AVP 0 8 101", "m=image 45000 udptl t38");
    bed.reinvite(Inside, Some(&alone));
    let sent = bed.take(Inside);
    assert_eq!(sent.last().and_then(|sent| sent.message.status()), Some(488));
    bed.expect_nothing(Outside);
}

#[test]
fn an_agents_srtp_is_refused_where_the_inside_is_plain() {
    let mut bed = Setup::default().build();
    let secure = Sdp::secure(bed.agent.media, 1, SUITE, &key(SUITE, 3)).text();
    bed.invite(Inside, Some(&secure));
    bed.expect(Inside, "488");
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}

#[test]
fn an_offer_without_a_usable_crypto_line_is_488() {
    for line in [
        "crypto:1 F8_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA UNENCRYPTED_SRTP",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA UNAUTHENTICATED_SRTP",
        "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA KDR=1",
    ] {
        let mut bed = Setup::default().build();
        let mut offer = bed.peer_sdp();
        offer.crypto = vec![line.to_owned()];
        bed.invite(Outside, Some(&offer.text()));
        bed.expect(Outside, "488");
        assert_eq!(bed.leftovers(), [0, 0, 0], "{line}");
        offer
            .crypto
            .push(bed.peer_sdp().crypto[0].replace("crypto:1", "crypto:2"));
        bed.wait(Duration::from_secs(1));
        bed.invite(Outside, Some(&offer.text()));
        bed.expect(Outside, "100");
        let invite = bed.expect(Inside, "INVITE");
        let answer = bed.agent_sdp().text();
        bed.respond(Inside, &invite, 200, Some(&answer));
        let ok = bed.expect(Outside, "200");
        assert_eq!(heard(&ok.body, 0).crypto[0].tag, 2, "the unusable line is skipped");
    }
}

#[test]
fn media_is_of_the_family_that_its_party_names_and_not_of_the_signallings() {
    for way in [Way::Outbound, Way::Inbound] {
        let mut bed = Setup {
            has_both_families: true,
            ..Setup::default()
        }
        .build();
        // Whoever offers decides; to whoever is offered, the family of the signalling goes.
        match way {
            Way::Outbound => bed.agent.media = "[fd00::50]:20000".parse().unwrap(),
            Way::Inbound => bed.peer.media = "[2001:db8:b::77]:30000".parse().unwrap(),
        }
        let mut talk = bed.answered(way);
        let is_ipv6 = |sdp: &str| (heard(sdp, 0).at.is_ipv6(), sdp.contains("c=IN IP6 "));
        let (inside, outside) = (is_ipv6(&talk.told_inside), is_ipv6(&talk.told_outside));
        assert_eq!(inside, (way == Way::Outbound, way == Way::Outbound));
        assert_eq!(outside, (way == Way::Inbound, way == Way::Inbound));
        bed.both_speak(&mut talk, 1);
        bed.hang_up(Inside);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_later_offer_of_a_family_where_the_stream_has_no_ports_is_488() {
    let mut bed = Setup {
        has_both_families: true,
        ..Setup::default()
    }
    .build();
    let mut talk = bed.answered(Way::Outbound);
    bed.agent.media = "[fd00::50]:20000".parse().unwrap();
    let offer = bed.agent_sdp().text();
    bed.reinvite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let refusal = bed.expect(Inside, "488");
    bed.ack_refusal(Inside, &refusal);
    bed.expect_nothing(Outside);
    bed.agent.media = "10.0.0.50:20000".parse().unwrap();
    bed.both_speak(&mut talk, 1);
}

#[test]
fn of_a_body_in_parts_the_description_alone_is_rewritten() {
    let mut bed = Setup::default().build();
    let parts = |sdp: &str| {
        format!(
            "--b1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}\r\n--b1\r\n\
             Content-Type: application/x-odd\r\n\r\n\u{1}odd\n\r\n--b1--\r\n",
            sdp.len()
        )
    };
    let offer = bed.agent_sdp().text();
    let mut invite = bed
        .agent
        .invite(Some(&offer))
        .set("Content-Type", "multipart/mixed;boundary=b1");
    invite.body = parts(&offer);
    bed.agent.invite = Some(invite.clone());
    bed.send(Inside, &invite);
    bed.expect(Inside, "100");
    let mut passed = bed.expect(Outside, "INVITE");
    assert_eq!(passed.field("Content-Type"), Some("multipart/mixed;boundary=b1"));
    let told = passed.body.split("\r\n\r\n").nth(1).expect("a part").to_owned() + "\r\n";
    assert_eq!(
        passed.body,
        parts(&told),
        "both lengths and all that is not the description"
    );
    assert_eq!(
        (heard(&told, 0).profile.as_str(), heard(&told, 0).streams),
        ("RTP/SAVP", 1)
    );
    let answer = bed.peer_answer(&told, SUITE).text();
    passed.body.clone_from(&told);
    bed.respond(Outside, &passed, 200, Some(&answer));
    bed.expect(Inside, "200");
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    bed.hang_up(Inside);
    bed.expect_nothing_left();
}

#[test]
fn a_body_in_parts_is_refused_where_its_description_cannot_be_told_and_goes_alone_where_it_shows_the_inside() {
    let body = |bed: &tollgate_testkit::Trapezoid, other: &str| {
        let sdp = bed.agent_sdp().text();
        format!("--b1\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b1\r\n{other}\r\n--b1--\r\n")
    };
    for (other, status) in [
        ("Content-Type: application/sdp\r\n\r\nv=0\r\n", Some("488")),
        (
            "Content-Type: multipart/mixed;boundary=c\r\n\r\n--c\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--c--",
            Some("488"),
        ),
        ("Content-Type: text/plain\r\n\r\nI am at 10.0.0.5", None),
    ] {
        let mut bed = Setup::default().build();
        let mut invite = bed
            .agent
            .invite(Some(""))
            .set("Content-Type", "multipart/mixed;boundary=b1");
        invite.body = body(&bed, other);
        bed.send(Inside, &invite);
        match status {
            Some(status) => {
                bed.expect(Inside, status);
                bed.expect_nothing(Outside);
            }
            None => {
                let passed = bed.expect(Outside, "INVITE");
                assert_eq!(passed.field("Content-Type"), Some("application/sdp"));
                assert_eq!(heard(&passed.body, 0).profile, "RTP/SAVP");
            }
        }
    }
}

#[test]
fn a_description_under_another_name_is_refused() {
    for kind in ["text/plain", "application/sdp2"] {
        let mut bed = Setup::default().build();
        let sdp = bed.agent_sdp().text();
        let invite = bed.agent.invite(Some(&sdp)).set("Content-Type", kind);
        bed.send(Inside, &invite);
        bed.expect(Inside, "488");
        bed.expect_nothing(Outside);
    }
}
