//! CANCEL, before and after the far side has said something, and when a 2xx wins the race (calls.md 1, RFC 3261 §9).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::counters::Violation;
use tollgate_contract::{CallOutcome, Side, Transport, Way};
use tollgate_testkit::{Message, Setup, Trapezoid};

use Side::{Inside, Outside};

#[test]
fn a_call_cancelled_while_it_rings_ends_with_487_on_both_legs() {
    for (transport, way) in every_kind() {
        let (mut bed, invite) = invited(transport, way);
        let (caller, callee) = (way.caller_side(), way.caller_side().other());
        bed.respond(callee, &invite, 180, None);
        bed.expect(caller, "180");
        bed.cancel(caller);
        let ok = bed.expect(caller, "200");
        assert_eq!(ok.cseq().1, "CANCEL");
        let cancel = bed.expect(callee, "CANCEL");
        assert_eq!(cancel.field("Via"), invite.field("Via"), "the branch of the INVITE");
        assert_eq!((cancel.uri(), cancel.cseq().0), (invite.uri(), invite.cseq().0));
        bed.respond(callee, &cancel, 200, None);
        bed.respond(callee, &invite, 487, None);
        bed.expect(callee, "ACK");
        let refusal = bed.expect(caller, "487");
        bed.ack_refusal(caller, &refusal);
        bed.expect_nothing(caller);
        bed.expect_nothing(callee);
        bed.expect_nothing_left();
        assert_eq!(bed.records()[0].outcome, CallOutcome::Cancelled);
    }
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    for (transport, way) in every_kind() {
        let (mut bed, invite) = invited(transport, way);
        let (caller, callee) = (way.caller_side(), way.caller_side().other());
        bed.cancel(caller);
        bed.expect(caller, "200");
        bed.expect_nothing(callee);
        bed.respond(callee, &invite, 100, None);
        let cancel = bed.expect(callee, "CANCEL");
        bed.respond(callee, &cancel, 200, None);
        bed.respond(callee, &invite, 487, None);
        bed.expect(callee, "ACK");
        let refusal = bed.expect(caller, "487");
        bed.ack_refusal(caller, &refusal);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_200_that_crosses_the_cancel_wins() {
    for (transport, way) in every_kind() {
        let (mut bed, invite) = invited(transport, way);
        let (caller, callee) = (way.caller_side(), way.caller_side().other());
        bed.respond(callee, &invite, 180, None);
        bed.expect(caller, "180");
        bed.cancel(caller);
        bed.expect(caller, "200");
        let cancel = bed.expect(callee, "CANCEL");
        answer(&mut bed, callee, &invite);
        let ok = bed.expect(caller, "200");
        assert_eq!(ok.cseq().1, "INVITE");
        bed.respond(callee, &cancel, 200, None);
        bed.ack(caller, None);
        bed.expect(callee, "ACK");
        bed.hang_up(caller);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_200_after_the_edge_gave_up_is_acknowledged_and_ended() {
    let (mut bed, invite) = invited(Transport::Udp, Way::Outbound);
    bed.respond(Outside, &invite, 100, None);
    bed.wait(Duration::from_secs(4));
    let cancel = bed.expect(Outside, "CANCEL");
    bed.respond(Outside, &cancel, 200, None);
    let refusal = bed.expect(Inside, "503");
    bed.ack_refusal(Inside, &refusal);
    answer(&mut bed, Outside, &invite);
    let ack = bed.expect(Outside, "ACK");
    assert_eq!(ack.cseq().0, invite.cseq().0);
    let bye = bed.expect(Outside, "BYE");
    assert!(bye.cseq().0 > invite.cseq().0);
    bed.respond(Outside, &bye, 200, None);
    bed.expect_nothing(Inside);
    bed.expect_nothing_left();
}

#[test]
fn a_cancel_of_nothing_is_481_and_a_repeated_one_changes_nothing() {
    let (mut bed, invite) = invited(Transport::Udp, Way::Outbound);
    let stray = bed
        .agent
        .cancel()
        .set("Via", "SIP/2.0/UDP 10.0.0.5:5060;branch=z9hG4bK-stray;rport");
    bed.send(Inside, &stray);
    bed.expect(Inside, "481");
    assert_eq!(bed.violations(Violation::CancelWithoutInvite), 1);
    bed.respond(Outside, &invite, 180, None);
    bed.expect(Inside, "180");
    bed.cancel(Inside);
    bed.cancel(Inside);
    bed.expect(Inside, "200");
    bed.expect(Inside, "200");
    bed.expect(Outside, "CANCEL");
    bed.expect_nothing(Outside);
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    bed.cancel(Inside);
    bed.expect(Inside, "200");
    bed.expect_nothing(Outside);
    bed.both_speak(&mut talk, 1);
    bed.hang_up(Inside);
    bed.expect_nothing_left();
}

fn every_kind() -> impl Iterator<Item = (Transport, Way)> {
    [Transport::Udp, Transport::Tcp]
        .into_iter()
        .flat_map(|transport| [Way::Outbound, Way::Inbound].map(|way| (transport, way)))
}

/// A call whose INVITE has reached the called side.
fn invited(transport: Transport, way: Way) -> (Trapezoid, Message) {
    let mut bed = Setup::over(transport).build();
    let offer = if way == Way::Outbound {
        bed.agent_sdp()
    } else {
        bed.peer_sdp()
    };
    bed.invite(way.caller_side(), Some(&offer.text()));
    bed.expect(way.caller_side(), "100");
    let invite = bed.expect(way.caller_side().other(), "INVITE");
    (bed, invite)
}

fn answer(bed: &mut Trapezoid, callee: Side, invite: &Message) {
    let suite = tollgate_contract::SrtpSuite::AesCm128HmacSha1_80;
    let sdp = match callee {
        Inside => bed.agent_sdp(),
        Outside => bed.peer_answer(&invite.body, suite),
    };
    bed.respond(callee, invite, 200, Some(&sdp.text()));
}
