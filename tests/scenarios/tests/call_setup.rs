//! A call is set up, speaks and ends; afterwards nothing of it is left (calls.md 1, edge.md 3).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::{CallOutcome, Side, SrtpSuite, Transport, Way};
use tollgate_media::DropReason;
use tollgate_testkit::{Setup, heard};

use Side::{Inside, Outside};

#[test]
fn a_call_out_speaks_both_ways_and_leaves_nothing() {
    for transport in [Transport::Udp, Transport::Tcp] {
        for hangs_up in [Inside, Outside] {
            speaks_and_leaves_nothing(transport, Way::Outbound, hangs_up);
        }
    }
}

#[test]
fn a_call_in_speaks_both_ways_and_leaves_nothing() {
    for transport in [Transport::Udp, Transport::Tcp] {
        for hangs_up in [Inside, Outside] {
            speaks_and_leaves_nothing(transport, Way::Inbound, hangs_up);
        }
    }
}

fn speaks_and_leaves_nothing(transport: Transport, way: Way, hangs_up: Side) {
    let mut bed = Setup::over(transport).build();
    let mut talk = bed.answered(way);
    (1..50).for_each(|sequence| bed.both_speak(&mut talk, sequence));
    bed.both_report(&mut talk);
    bed.wait(Duration::from_secs(60));
    bed.both_speak(&mut talk, 50);
    bed.hang_up(hangs_up);
    assert!(!bed.inside_speaks(&mut talk, 51), "media after the end");
    assert_eq!(bed.drops(DropReason::NoFlow), 1);
    bed.expect_nothing_left();
    let records = bed.records();
    assert_eq!(records.len(), 1, "one record a call");
    assert_eq!((records[0].outcome, records[0].way), (CallOutcome::Completed, way));
    assert_eq!(records[0].talk, Some(Duration::from_secs(60)));
    assert_eq!(
        records[0].media[0].quality.each_ref().map(|side| side.packets),
        [50, 50]
    );
}

#[test]
fn every_suite_carries_a_call() {
    for way in [Way::Outbound, Way::Inbound] {
        for suite in SrtpSuite::ALL {
            let mut bed = Setup::default().build();
            bed.snapshot.media.suites = SrtpSuite::ALL.to_vec();
            let mut talk = bed.answered_with(way, suite);
            bed.both_speak(&mut talk, 1);
            bed.both_report(&mut talk);
            assert_eq!(bed.counters.protected.at(suite as usize).get(), 2, "{suite}");
            assert_eq!(bed.counters.unprotected.at(suite as usize).get(), 2, "{suite}");
        }
    }
}

#[test]
fn the_families_of_the_two_sides_need_not_agree() {
    for (inside_is_ipv6, outside_is_ipv6) in [(true, false), (false, true), (true, true)] {
        for way in [Way::Outbound, Way::Inbound] {
            let mut bed = Setup {
                inside_is_ipv6,
                outside_is_ipv6,
                ..Setup::default()
            }
            .build();
            let mut talk = bed.answered(way);
            assert_eq!(heard(&talk.told_outside, 0).at.is_ipv6(), outside_is_ipv6);
            assert_eq!(heard(&talk.told_inside, 0).at.is_ipv6(), inside_is_ipv6);
            bed.both_speak(&mut talk, 1);
            bed.both_report(&mut talk);
            bed.hang_up(Inside);
            bed.expect_nothing_left();
        }
    }
}

#[test]
fn early_media_flows_before_the_answer_and_goes_on_after_it() {
    for way in [Way::Outbound, Way::Inbound] {
        let (caller, callee) = (way.caller_side(), way.caller_side().other());
        let mut bed = Setup::default().build();
        let suite = SrtpSuite::AesCm128HmacSha1_80;
        let offer = if caller == Inside {
            bed.agent_sdp()
        } else {
            bed.peer_sdp()
        };
        bed.invite(caller, Some(&offer.text()));
        let invite = bed.expect(callee, "INVITE");
        bed.expect(caller, "100");
        let answer = if callee == Inside {
            bed.agent_sdp()
        } else {
            bed.peer_answer(&invite.body, suite)
        };
        bed.respond(callee, &invite, 183, Some(&answer.text()));
        let progress = bed.expect(caller, "183");
        let mut talk = bed.talk(way, suite, invite.clone(), progress.clone());
        bed.both_speak(&mut talk, 1);
        bed.respond(callee, &invite, 200, Some(&answer.text()));
        let ok = bed.expect(caller, "200");
        assert_eq!(ok.body, progress.body, "our own earlier answer again, byte for byte");
        bed.ack(caller, None);
        bed.expect(callee, "ACK");
        bed.both_speak(&mut talk, 2);
        bed.hang_up(caller);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_delayed_offer_comes_in_the_200_and_its_answer_in_the_ack() {
    let mut bed = Setup::default().build();
    bed.invite(Inside, None);
    let invite = bed.expect(Outside, "INVITE");
    assert_eq!((invite.body.as_str(), invite.field("Content-Type")), ("", None));
    bed.expect(Inside, "100");
    let offer = bed.peer_sdp().text();
    bed.respond(Outside, &invite, 200, Some(&offer));
    let ok = bed.expect(Inside, "200");
    assert_eq!(heard(&ok.body, 0).profile, "RTP/AVP");
    let answer = bed.agent_sdp().text();
    bed.ack(Inside, Some(&answer));
    let ack = bed.expect(Outside, "ACK");
    let secure = heard(&ack.body, 0);
    assert_eq!((secure.profile.as_str(), secure.crypto.len()), ("RTP/SAVP", 1));
    assert_eq!(secure.crypto[0].tag, 1, "the tag of the offer");
    let mut talk = bed.talk(
        Way::Outbound,
        SrtpSuite::AesCm128HmacSha1_80,
        tollgate_testkit::Message {
            body: ack.body,
            ..invite
        },
        ok,
    );
    bed.both_speak(&mut talk, 1);
    bed.hang_up(Outside);
    bed.expect_nothing_left();
}

#[test]
fn a_delayed_offer_works_inward_too() {
    let mut bed = Setup::default().build();
    bed.invite(Outside, None);
    let invite = bed.expect(Inside, "INVITE");
    bed.expect(Outside, "100");
    let offer = bed.agent_sdp().text();
    bed.respond(Inside, &invite, 200, Some(&offer));
    let ok = bed.expect(Outside, "200");
    let suite = SrtpSuite::AesCm128HmacSha1_80;
    assert!(heard(&ok.body, 0).crypto.len() > 1, "every suite of ours is offered");
    let answer = bed.peer_answer(&ok.body, suite).text();
    bed.ack(Outside, Some(&answer));
    let ack = bed.expect(Inside, "ACK");
    assert_eq!(heard(&ack.body, 0).profile, "RTP/AVP");
    let mut talk = bed.talk(
        Way::Inbound,
        suite,
        tollgate_testkit::Message {
            body: ack.body,
            ..invite
        },
        ok,
    );
    bed.both_speak(&mut talk, 1);
    bed.hang_up(Inside);
    bed.expect_nothing_left();
}

#[test]
fn a_delayed_offer_whose_ack_has_a_bad_answer_ends_both_legs() {
    for answer in [None, Some("v=0\r\nnonsense")] {
        let mut bed = Setup::default().build();
        bed.invite(Inside, None);
        let invite = bed.expect(Outside, "INVITE");
        bed.expect(Inside, "100");
        let offer = bed.peer_sdp().text();
        bed.respond(Outside, &invite, 200, Some(&offer));
        bed.expect(Inside, "200");
        bed.ack(Inside, answer);
        let ack = bed.expect(Outside, "ACK");
        assert_eq!(ack.body, "");
        for side in [Inside, Outside] {
            let bye = bed.expect(side, "BYE");
            bed.respond(side, &bye, 200, None);
        }
        bed.expect_nothing_left();
    }
}

#[test]
fn an_agent_behind_tcp_is_called_over_tcp() {
    let mut bed = Setup::over(Transport::Tcp).build();
    bed.answered(Way::Inbound);
    let invite = &bed
        .log
        .iter()
        .find(|sent| sent.side == Inside)
        .expect("an INVITE")
        .message;
    assert!(invite.uri().ends_with(";transport=tcp"), "{}", invite.uri());
    assert!(
        invite
            .field("Via")
            .is_some_and(|via| via.starts_with("SIP/2.0/TCP 10.0.0.1:5060"))
    );
}
