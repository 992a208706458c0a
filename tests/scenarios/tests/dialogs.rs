//! Requests within a call: whose they may be, in which order, and by which way (calls.md 1-3).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::counters::Violation;
use tollgate_contract::{Side, Transport, Way};
use tollgate_testkit::{Setup, Trapezoid};

use Side::{Inside, Outside};

#[test]
fn requests_and_their_answers_pass_both_ways() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut bed = Setup::over(transport).build();
        bed.answered(Way::Outbound);
        for side in [Inside, Outside] {
            for method in ["INFO", "UPDATE", "MESSAGE", "STRANGE"] {
                let sent = bed.request(side, method);
                let got = bed.expect(side.other(), method);
                assert_eq!(got.cseq(), sent.cseq(), "no request of our own yet");
                assert_ne!(got.field("Via"), sent.field("Via"));
                bed.respond(side.other(), &got, 200, None);
                let ok = bed.expect(side, "200");
                assert_eq!(ok.field("From"), sent.field("From"));
                assert_eq!(ok.field("Call-ID"), sent.field("Call-ID"));
                let via = ok.field("Via").expect("a Via");
                let branch = sent.param("Via", "branch").expect("a branch");
                assert!(via.contains(branch), "{via}");
            }
        }
    }
}

#[test]
fn a_number_lower_than_seen_or_equal_in_a_new_transaction_is_500() {
    for side in [Inside, Outside] {
        let mut bed = Setup::default().build();
        bed.answered(if side == Inside { Way::Outbound } else { Way::Inbound });
        let highest = bed.request(side, "INFO").cseq().0;
        let info = bed.expect(side.other(), "INFO");
        bed.respond(side.other(), &info, 200, None);
        bed.expect(side, "200");
        for number in [highest, highest - 1, 1] {
            let request = bed.party(side).numbered("INFO", number);
            bed.send(side, &request);
            bed.expect(side, "500");
        }
        bed.expect_nothing(side.other());
        assert_eq!(bed.violations(Violation::CSeq), 3);
        bed.request(side, "INFO");
        bed.expect(side.other(), "INFO");
    }
}

#[test]
fn another_peers_request_in_a_dialog_is_481() {
    for method in ["BYE", "INFO", "INVITE", "ACK"] {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(Way::Outbound);
        bed.peer_domains = vec!["evil.example".to_owned()];
        bed.request(Outside, method);
        if method != "ACK" {
            bed.expect(Outside, "481");
            assert_eq!(bed.violations(Violation::ForeignPeer), 1);
        }
        bed.expect_nothing(Outside);
        bed.expect_nothing(Inside);
        bed.both_speak(&mut talk, 1);
    }
}

#[test]
fn another_source_inside_cannot_speak_in_a_call() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    bed.agent.address = "10.0.0.66:5060".parse().expect("an address");
    bed.request(Inside, "BYE");
    bed.expect_nothing(Outside);
    let refusal = bed.take(Inside);
    assert_eq!(refusal.len(), 1);
    assert!(matches!(refusal[0].message.status(), Some(403 | 481)));
    bed.both_speak(&mut talk, 1);
}

#[test]
fn another_tag_is_another_dialog() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    let bye = bed.peer.request("BYE");
    let to = bye.field("To").expect("a To").to_owned();
    bed.send(Outside, &bye.set("To", format!("{to}x")));
    bed.expect(Outside, "481");
    bed.expect_nothing(Inside);
}

#[test]
fn a_refer_from_outside_is_403() {
    for way in [Way::Outbound, Way::Inbound] {
        let mut bed = Setup::default().build();
        bed.answered(way);
        let refer = bed.peer.request("REFER").with("Refer-To", "<sip:+1900@evil.example>");
        bed.send(Outside, &refer);
        bed.expect(Outside, "403");
        bed.expect_nothing(Inside);
        assert_eq!(bed.violations(Violation::ReferFromOutside), 1);
    }
}

#[test]
fn a_refer_of_our_agent_passes() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    let refer = bed
        .agent
        .request("REFER")
        .with("Refer-To", "<sip:+14085550000@b.example>");
    bed.send(Inside, &refer);
    let refer = bed.expect(Outside, "REFER");
    bed.respond(Outside, &refer, 202, None);
    bed.expect(Inside, "202");
}

#[test]
fn max_forwards_counts_down_and_0_is_483() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    bed.request(Inside, "INFO");
    assert_eq!(bed.expect(Outside, "INFO").field("Max-Forwards"), Some("69"));
    let spent = bed.agent.request("INFO").set("Max-Forwards", "0");
    bed.send(Inside, &spent);
    bed.expect(Inside, "483");
    bed.expect_nothing(Outside);
}

#[test]
fn each_legs_record_routes_come_back_as_its_routes() {
    for way in [Way::Outbound, Way::Inbound] {
        let mut bed = Setup::default().build();
        bed.agent.record_routes = vec!["<sip:10.0.0.6;lr>".to_owned(), "<sip:10.0.0.7;lr>".to_owned()];
        bed.peer.record_routes = vec!["<sip:p1.b.example;lr>".to_owned(), "<sip:p2.b.example;lr>".to_owned()];
        bed.seeks_leaks = true;
        let talk = bed.answered(way);
        assert!(talk.invite.all("Record-Route").is_empty() && talk.ok.all("Record-Route").is_empty());
        let expected = |side: Side, bed: &Trapezoid| {
            let party = if side == Inside { &bed.agent } else { &bed.peer };
            let mut routes = party.record_routes.clone();
            if side != way.caller_side() {
                // RFC 3261 §12.1.2: a client takes them in reverse.
                routes.reverse();
            }
            routes
        };
        for side in [Inside, Outside] {
            bed.request(side.other(), "INFO");
            let info = bed.expect(side, "INFO");
            assert_eq!(info.all("Route"), expected(side, &bed), "{way:?} {}", side.name());
            bed.respond(side, &info, 200, None);
            bed.expect(side.other(), "200");
        }
        bed.request(Outside, "BYE");
        let bye = bed.expect(Inside, "BYE");
        assert_eq!(bye.all("Route"), expected(Inside, &bed));
    }
}

#[test]
fn forks_of_the_far_side_each_are_an_early_dialog_inside() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    for tag in ["fork-1", "fork-2"] {
        let ringing = bed.peer.response_tagged(&invite, 180, None, tag);
        bed.send(Outside, &ringing);
        assert_eq!(bed.expect(Inside, "180").param("To", "tag"), Some(tag));
    }
    let suite = tollgate_contract::SrtpSuite::AesCm128HmacSha1_80;
    let answer = bed.peer_answer(&invite.body, suite).text();
    let ok = bed.peer.response_tagged(&invite, 200, Some(&answer), "fork-2");
    bed.send(Outside, &ok);
    bed.peer.tag = "fork-2".to_owned();
    let ok = bed.expect(Inside, "200");
    assert_eq!(ok.param("To", "tag"), Some("fork-2"));
    bed.ack(Inside, None);
    assert_eq!(bed.expect(Outside, "ACK").param("To", "tag"), Some("fork-2"));
    bed.request(Inside, "BYE");
    assert_eq!(bed.expect(Outside, "BYE").param("To", "tag"), Some("fork-2"));
}

#[test]
fn a_second_200_of_another_fork_is_passed_on_and_its_ack_too() {
    let mut bed = Setup::default().build();
    let talk = bed.answered(Way::Outbound);
    let answer = bed.peer_answer(&talk.invite.body, talk.suite).text();
    let other = bed.peer.response_tagged(&talk.invite, 200, Some(&answer), "fork-9");
    bed.send(Outside, &other);
    let ok = bed.expect(Inside, "200");
    assert_eq!(ok.param("To", "tag"), Some("fork-9"));
    bed.ack(Inside, None);
    assert_eq!(bed.expect(Outside, "ACK").param("To", "tag"), Some("fork-9"));
}

#[test]
fn a_request_without_an_answer_ends_the_call() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    bed.request(Inside, "INFO");
    bed.expect(Outside, "INFO");
    bed.wait(Duration::from_secs(32));
    bed.expect(Inside, "408");
    bed.expect(Inside, "BYE");
    bed.expect(Outside, "BYE");
    bed.expect_nothing_left();
}

#[test]
fn hanging_up_at_the_same_time_is_answered_on_both_legs() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    bed.request(Inside, "BYE");
    bed.request(Outside, "BYE");
    bed.expect(Outside, "BYE");
    bed.expect(Outside, "200");
    bed.expect_nothing(Inside);
    bed.expect_nothing_left();
    assert_eq!(bed.records().len(), 1);
}
