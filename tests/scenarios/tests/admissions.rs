//! What becomes of a request for a call is counted, once, by way and result.
#![forbid(unsafe_code)]

use tollgate_contract::counters::AdmissionResult;
use tollgate_contract::{Side, SrtpSuite, TicketFailureAction, Way};
use tollgate_testkit::{Sdp, Setup, Trapezoid};

use Side::{Inside, Outside};

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

#[test]
fn a_call_that_is_taken_counts_as_admitted() {
    for way in [Way::Outbound, Way::Inbound] {
        let mut bed = Setup::default().build();
        bed.answered(way);
        expect_counted(&bed, way, AdmissionResult::Admitted);
        bed.reinvite(way.caller_side(), None);
        expect_counted(&bed, way, AdmissionResult::Admitted);
    }
}

#[test]
fn a_failed_ticket_counts_as_such_whether_answered_or_not() {
    for (action, answers) in [(TicketFailureAction::Reject, 1), (TicketFailureAction::Drop, 0)] {
        let mut bed = Setup::default().build();
        bed.snapshot.tickets.on_failure = action;
        let offer = bed.peer_sdp().text();
        let invite = bed.peer.invite(Some(&offer)).without("X-Cisco-UC-IME-Ticket");
        bed.send(Outside, &invite);
        assert_eq!(bed.take(Outside).len(), answers);
        expect_counted(&bed, Way::Inbound, AdmissionResult::Ticket);
    }
}

#[test]
fn a_description_that_cannot_be_used_is_488_and_counted() {
    type Spoil = fn(&Trapezoid) -> String;
    let cases: [(Side, Spoil); 8] = [
        (Inside, |_| "v=9\r\nnonsense\r\n".to_owned()),
        (Inside, |bed| bed.agent_sdp().text().replace("m=audio", "m=")),
        (Inside, |bed| Sdp::secure_offer(bed.agent.media, SUITE, 1).text()),
        (Inside, |bed| bed.agent_sdp().text().replace(" RTP/AVP ", " TCP/MSRP ")),
        (Outside, |_| "v=9\r\nnonsense\r\n".to_owned()),
        (Outside, |bed| {
            bed.peer_sdp().text().replace(SUITE.name(), "AES_CM_128_HMAC_SHA9_9")
        }),
        (Outside, |bed| bed.peer_sdp().text().replace("inline:", "inline:AAAA")),
        (Outside, |bed| bed.peer_sdp().text().replace(" RTP/SAVP ", " TCP/MSRP ")),
    ];
    for (at, (side, spoil)) in cases.into_iter().enumerate() {
        let mut bed = Setup::default().build();
        let offer = spoil(&bed);
        bed.invite(side, Some(&offer));
        bed.expect(side, "488");
        bed.expect_nothing(side.other());
        assert_eq!(bed.leftovers(), [0, 0, 0], "case {at}");
        let way = if side == Inside { Way::Outbound } else { Way::Inbound };
        expect_counted(&bed, way, AdmissionResult::BadSdp);
    }
}

/// One request was counted, of this way and with this result.
fn expect_counted(bed: &Trapezoid, way: Way, result: AdmissionResult) {
    let counted = bed.counters.admissions[way as usize].at(result as usize).get();
    let all: u64 = bed
        .counters
        .admissions
        .iter()
        .flat_map(|way| way.iter())
        .map(|one| one.get())
        .sum();
    assert_eq!((counted, all), (1, 1), "{result:?}");
}
