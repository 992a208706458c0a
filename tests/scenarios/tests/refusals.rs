//! What the agent is told when a call cannot go over the Internet (calls.md 4), and what it is not told.
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_call::transport::SendFailure;
use tollgate_contract::counters::{AdmissionResult, Violation};
use tollgate_contract::{Admission, CallOutcome, Side, Way};
use tollgate_testkit::{Message, Setup, Trapezoid};

use Side::{Inside, Outside};

#[test]
fn a_refusal_of_the_peer_before_ringing_makes_the_agent_use_the_pstn() {
    for status in [301, 302, 401, 403, 404, 407, 408, 420, 480, 488, 500, 502, 503, 504] {
        let (mut bed, invite) = invited();
        bed.respond(Outside, &invite, status, None);
        bed.expect(Outside, "ACK");
        let refusal = bed.expect(Inside, "503");
        let reason = refusal.field("Reason").expect("a Reason");
        assert!(reason.starts_with(&format!("SIP;cause={status};")), "{reason}");
        assert_eq!(refusal.field("Retry-After"), None);
        assert_eq!(refusal.field("Contact"), None);
        bed.ack_refusal(Inside, &refusal);
        bed.expect_nothing_left();
        assert_eq!(bed.records()[0].outcome, CallOutcome::FellBackAtSetup);
    }
}

#[test]
fn the_fallback_code_is_the_agents_own() {
    let mut bed = Setup::default().build();
    bed.snapshot.calls.fallback_code = 480;
    let invite = invite(&mut bed);
    bed.respond(Outside, &invite, 404, None);
    bed.expect(Inside, "480");
}

#[test]
fn a_persons_answer_passes_unchanged() {
    for status in [486, 600, 603] {
        let (mut bed, invite) = invited();
        bed.respond(Outside, &invite, status, None);
        let refusal = bed.expect(Inside, &status.to_string());
        assert_eq!(refusal.field("Reason"), None);
        bed.ack_refusal(Inside, &refusal);
        bed.expect_nothing_left();
        assert_eq!(bed.records()[0].outcome, CallOutcome::Rejected);
    }
}

#[test]
fn after_ringing_every_refusal_passes_but_a_redirection() {
    for status in [403, 404, 408, 480, 488, 500, 503] {
        let (mut bed, invite) = invited();
        bed.respond(Outside, &invite, 180, None);
        bed.expect(Inside, "180");
        bed.respond(Outside, &invite, status, None);
        bed.expect(Inside, &status.to_string());
    }
    let (mut bed, invite) = invited();
    bed.respond(Outside, &invite, 180, None);
    bed.expect(Inside, "180");
    let moved = bed
        .peer
        .response(&invite, 302, None)
        .with("Contact", "<sip:+1900@evil.example>");
    bed.send(Outside, &moved);
    let refusal = bed.expect(Inside, "503");
    assert!(!String::from_utf8_lossy(&refusal.to_bytes()).contains("evil"));
}

#[test]
fn a_redirection_by_our_agent_is_not_passed_out() {
    let mut bed = Setup::default().build();
    let offer = bed.peer_sdp().text();
    bed.invite(Outside, Some(&offer));
    bed.expect(Outside, "100");
    let invite = bed.expect(Inside, "INVITE");
    let moved = bed
        .agent
        .response(&invite, 302, None)
        .with("Contact", "<sip:99@10.0.0.9>");
    bed.send(Inside, &moved);
    let refusal = bed.expect(Outside, "480");
    assert_eq!(refusal.field("Contact"), None);
}

#[test]
fn what_cannot_be_sent_makes_the_agent_use_the_pstn() {
    for why in [
        SendFailure::Unreachable,
        SendFailure::ConnectTimeout,
        SendFailure::Tls,
        SendFailure::TlsName,
        SendFailure::ConnectionLost,
        SendFailure::Overload,
    ] {
        let (mut bed, _) = invited();
        bed.fail_last(Outside, why);
        let refusal = bed.expect(Inside, "503");
        let reason = refusal.field("Reason").expect("a Reason");
        assert_eq!(reason, format!("SIP;cause=503;text=\"{}\"", why.name()));
        bed.ack_refusal(Inside, &refusal);
        bed.expect_nothing(Outside);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_peer_that_does_not_ring_in_time_is_given_up() {
    let (mut bed, invite) = invited();
    bed.respond(Outside, &invite, 100, None);
    bed.wait(Duration::from_millis(3_999));
    bed.expect_nothing(Inside);
    bed.wait(Duration::from_millis(1));
    let refusal = bed.expect(Inside, "503");
    assert!(
        refusal
            .field("Reason")
            .is_some_and(|reason| reason.starts_with("SIP;cause=408"))
    );
    let cancel = bed.expect(Outside, "CANCEL");
    bed.respond(Outside, &cancel, 200, None);
    bed.respond(Outside, &invite, 487, None);
    bed.expect(Outside, "ACK");
    bed.ack_refusal(Inside, &refusal);
    bed.expect_nothing(Inside);
    bed.expect_nothing_left();
}

#[test]
fn a_peer_that_says_nothing_is_given_up_and_leaves_nothing() {
    let (mut bed, _) = invited();
    bed.wait(Duration::from_secs(4));
    let refusal = bed.expect(Inside, "503");
    bed.ack_refusal(Inside, &refusal);
    bed.expect_nothing(Outside);
    bed.expect_nothing_left();
}

#[test]
fn ringing_stops_the_setup_timeout_and_the_invite_timeout_ends_it() {
    let (mut bed, invite) = invited();
    bed.respond(Outside, &invite, 180, None);
    bed.expect(Inside, "180");
    bed.wait(Duration::from_secs(179));
    bed.expect_nothing(Inside);
    bed.wait(Duration::from_secs(2));
    let refusal = bed.expect(Inside, "503");
    bed.ack_refusal(Inside, &refusal);
    bed.expect(Outside, "CANCEL");
}

#[test]
fn what_has_no_way_out_is_refused_before_there_is_any_state() {
    type Change = fn(&mut Trapezoid, Message) -> Message;
    let cases: [(&str, AdmissionResult, Change); 5] = [
        ("503", AdmissionResult::NoRoute, |_, invite| {
            invite.to_uri("sip:+442071234567@a.example")
        }),
        ("503", AdmissionResult::NotE164, |_, invite| {
            invite.to_uri("sip:5432@a.example")
        }),
        ("503", AdmissionResult::Draining, |bed, invite| {
            bed.snapshot.admission = Admission::Draining;
            invite
        }),
        ("483", AdmissionResult::Denied, |_, invite| {
            invite.set("Max-Forwards", "0")
        }),
        ("420", AdmissionResult::Denied, |_, invite| {
            invite.with("Proxy-Require", "magic")
        }),
    ];
    for (status, counted, change) in cases {
        let mut bed = Setup::default().build();
        let offer = bed.agent_sdp().text();
        let invite = bed.agent.invite(Some(&offer));
        let invite = change(&mut bed, invite);
        bed.send(Inside, &invite);
        let refusal = bed.expect(Inside, status);
        assert_eq!(refusal.field("Retry-After"), None);
        bed.expect_nothing(Outside);
        assert_eq!(bed.leftovers(), [0, 0, 0]);
        assert_eq!(
            bed.counters.admissions[Way::Outbound as usize]
                .at(counted as usize)
                .get(),
            1
        );
        assert_eq!(refusal.field("Unsupported"), (status == "420").then_some("magic"));
    }
}

#[test]
fn another_source_than_the_agent_places_no_calls() {
    let mut bed = Setup::default().build();
    bed.agent.address = "10.0.0.66:5060".parse().expect("an address");
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "403");
    bed.expect_nothing(Outside);
    assert_eq!(bed.leftovers(), [0, 0, 0]);
    assert_eq!(bed.violations(Violation::SourceNotAllowed), 1);
}

#[test]
fn another_source_than_the_agent_says_nothing_in_its_calls() {
    for method in ["BYE", "INFO", "UPDATE", "REFER"] {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(Way::Outbound);
        let request = bed.agent.request(method);
        let own = std::mem::replace(&mut bed.agent.address, "10.0.0.66:5060".parse().expect("an address"));
        bed.send(Inside, &request);
        bed.agent.address = own;
        bed.expect(Inside, "481");
        bed.expect_nothing(Outside);
        assert_eq!(bed.violations(Violation::SourceNotAllowed), 1, "{method}");
        bed.both_speak(&mut talk, 1);
        bed.hang_up(Inside);
    }
}

#[test]
fn without_free_ports_a_call_is_refused_before_ringing() {
    for way in [Way::Outbound, Way::Inbound] {
        let mut bed = Setup {
            pairs: 1,
            ..Setup::default()
        }
        .build();
        bed.answered(way);
        let caller = way.caller_side();
        let offer = if caller == Inside {
            bed.agent_sdp()
        } else {
            bed.peer_sdp()
        };
        bed.invite(caller, Some(&offer.text()));
        bed.expect(caller, "503");
        bed.expect_nothing(caller.other());
        assert_eq!(bed.table.live_calls(), 1);
        assert_eq!(
            bed.counters.admissions[way as usize]
                .at(AdmissionResult::NoCapacity as usize)
                .get(),
            1
        );
    }
}

#[test]
fn at_its_limit_of_calls_the_edge_refuses_the_next() {
    let mut bed = Setup {
        max_calls: 1,
        ..Setup::default()
    }
    .build();
    bed.answered(Way::Outbound);
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "503");
    bed.expect_nothing(Outside);
}

#[test]
fn draining_spares_calls_in_progress_and_closing_ends_them() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    bed.snapshot.admission = Admission::Draining;
    bed.tick();
    bed.both_speak(&mut talk, 1);
    bed.snapshot.admission = Admission::Closing;
    bed.tick();
    for side in [Inside, Outside] {
        let bye = bed.expect(side, "BYE");
        bed.respond(side, &bye, 200, None);
    }
    bed.expect_nothing_left();
    assert_eq!(bed.records()[0].outcome, CallOutcome::EndedByEdge);
}

#[test]
fn options_is_answered_by_the_edge_itself() {
    for side in [Inside, Outside] {
        let mut bed = Setup::default().build();
        bed.party(side).invite(None);
        let options = |bed: &mut Trapezoid| {
            let options = bed.party(side).request("OPTIONS");
            bed.send(side, &options);
        };
        options(&mut bed);
        bed.expect(side, "200");
        bed.snapshot.admission = Admission::Draining;
        options(&mut bed);
        assert!(bed.expect(side, "503").field("Retry-After").is_some());
        bed.snapshot.admission = Admission::Open;
        (0..100).for_each(|_| options(&mut bed));
        assert!(bed.take(side).len() < 25, "rate-limited");
        bed.expect_nothing(side.other());
        assert_eq!(bed.leftovers(), [0, 0, 0]);
    }
}

fn invited() -> (Trapezoid, Message) {
    let mut bed = Setup::default().build();
    let invite = invite(&mut bed);
    (bed, invite)
}

fn invite(bed: &mut Trapezoid) -> Message {
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    bed.expect(Outside, "INVITE")
}
