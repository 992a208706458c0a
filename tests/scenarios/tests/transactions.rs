//! Retransmissions and timers: each leg is its own (calls.md 1; RFC 3261 §17, RFC 6026).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::counters::Violation;
use tollgate_contract::{Side, Transport, Way};
use tollgate_testkit::{Setup, Trapezoid};

use Side::{Inside, Outside};

#[test]
fn a_repeated_invite_is_absorbed_and_answered_with_the_last_response() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    let sent = bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    bed.send(Inside, &sent);
    bed.expect(Inside, "100");
    bed.respond(Outside, &invite, 180, None);
    bed.expect(Inside, "180");
    bed.send(Inside, &sent);
    bed.expect(Inside, "180");
    bed.respond(Outside, &invite, 486, None);
    bed.expect(Outside, "ACK");
    bed.expect(Inside, "486");
    bed.send(Inside, &sent);
    bed.expect(Inside, "486");
    bed.expect_nothing(Outside);
}

#[test]
fn a_100_is_never_passed_on() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    bed.respond(Outside, &invite, 100, None);
    bed.expect_nothing(Inside);
}

#[test]
fn timers_a_and_b_run_against_a_silent_agent_over_udp_only() {
    let mut bed = Setup::default().build();
    let start = bed.now().instant;
    let offer = bed.peer_sdp().text();
    bed.invite(Outside, Some(&offer));
    bed.expect(Outside, "100");
    bed.wait(Duration::from_secs(33));
    let at: Vec<u128> = bed
        .take(Inside)
        .iter()
        .map(|sent| sent.at.duration_since(start).as_millis())
        .collect();
    assert_eq!(at, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    bed.expect(Outside, "408");
    bed.wait(Duration::from_secs(40));
    assert_eq!(bed.leftovers(), [0, 0, 0]);

    let mut bed = Setup::over(Transport::Tcp).build();
    let offer = bed.peer_sdp().text();
    bed.invite(Outside, Some(&offer));
    bed.expect(Outside, "100");
    bed.wait(Duration::from_secs(33));
    bed.expect(Inside, "INVITE");
    bed.expect_nothing(Inside);
    bed.expect(Outside, "408");
}

#[test]
fn timers_e_and_f_run_for_a_bye_to_a_silent_agent_and_nothing_is_left_40_s_later() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    let start = bed.now().instant;
    bed.request(Outside, "BYE");
    bed.wait(Duration::from_secs(35));
    let at: Vec<u128> = bed
        .take(Inside)
        .iter()
        .map(|sent| sent.at.duration_since(start).as_millis())
        .collect();
    assert_eq!(
        at,
        [
            0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    bed.expect(Outside, "408");
    bed.wait(Duration::from_secs(5));
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}

#[test]
fn a_bye_of_the_agent_that_the_peer_never_answers_leaves_nothing_after_40_s() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    bed.request(Inside, "BYE");
    bed.wait(Duration::from_secs(40));
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}

#[test]
fn timers_g_and_h_repeat_a_refusal_over_udp_until_its_ack() {
    let mut bed = refused(Transport::Udp);
    let start = bed.now().instant;
    let refusal = bed.expect(Inside, "486");
    bed.wait(Duration::from_secs(8));
    let at: Vec<u128> = bed
        .take(Inside)
        .iter()
        .map(|sent| sent.at.duration_since(start).as_millis())
        .collect();
    assert_eq!(at, [500, 1_500, 3_500, 7_500]);
    bed.ack_refusal(Inside, &refusal);
    bed.wait(Duration::from_secs(8));
    bed.expect_nothing(Inside);
    bed.expect_nothing(Outside);
    assert_eq!(bed.leftovers(), [0, 0, 0]);
    let mut bed = refused(Transport::Tcp);
    bed.expect(Inside, "486");
    bed.wait(Duration::from_secs(40));
    bed.expect_nothing(Inside);
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}

#[test]
fn a_repeated_200_gets_the_stored_ack_or_is_passed_on_again() {
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
        let suite = tollgate_contract::SrtpSuite::AesCm128HmacSha1_80;
        let answer = if callee == Inside {
            bed.agent_sdp()
        } else {
            bed.peer_answer(&invite.body, suite)
        };
        bed.respond(callee, &invite, 200, Some(&answer.text()));
        let ok = bed.expect(caller, "200");
        bed.respond(callee, &invite, 200, Some(&answer.text()));
        assert_eq!(bed.expect(caller, "200"), ok, "no ACK yet: passed on again");
        bed.expect_nothing(callee);
        bed.ack(caller, None);
        let ack = bed.expect(callee, "ACK");
        bed.respond(callee, &invite, 200, Some(&answer.text()));
        assert_eq!(bed.expect(callee, "ACK"), ack, "the stored ACK again");
        bed.expect_nothing(caller);
    }
}

#[test]
fn every_ack_to_a_200_is_passed_on_with_a_branch_of_its_own() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    bed.ack(Inside, None);
    bed.ack(Inside, None);
    let (first, second) = (bed.expect(Outside, "ACK"), bed.expect(Outside, "ACK"));
    assert_ne!(first.field("Via"), second.field("Via"));
    assert_eq!(first.cseq(), second.cseq());
}

#[test]
fn responses_and_acks_that_fit_nothing_are_dropped_and_counted() {
    let mut bed = Setup::default().build();
    let talk = bed.answered(Way::Outbound);
    let stray = bed.peer.response(&talk.invite, 200, None);
    let stray = stray.set("Via", "SIP/2.0/TLS 198.51.100.1:5061;branch=z9hG4bK0000");
    bed.send(Outside, &stray);
    let unknown = bed.agent.ack(None).set("Call-ID", "nobody@10.0.0.5");
    bed.send(Inside, &unknown);
    bed.expect_nothing(Inside);
    bed.expect_nothing(Outside);
    assert_eq!(bed.violations(Violation::Unmatched), 2);
}

#[test]
fn a_response_on_another_peers_connection_changes_nothing() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    bed.peer_domains = vec!["evil.example".to_owned()];
    bed.respond(Outside, &invite, 180, None);
    bed.expect_nothing(Inside);
    assert_eq!(bed.violations(Violation::Unmatched), 1);
}

fn refused(transport: Transport) -> Trapezoid {
    let mut bed = Setup::over(transport).build();
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    bed.respond(Outside, &invite, 486, None);
    bed.expect(Outside, "ACK");
    bed
}
