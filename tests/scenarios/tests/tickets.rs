//! Who gets in from outside: a valid ticket, or a dialog of that same peer, and nobody else (product.md 6, ticket.md 6, 8).
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::counters::{AdmissionResult, Violation};
use tollgate_contract::{MacCoverage, Secret, Side, TicketCause, TicketFailureAction, Way};
use tollgate_testkit::trapezoid::{grant, ticket_key};
use tollgate_testkit::{Message, Sdp, Setup, Trapezoid};

use Side::{Inside, Outside};

const HEADER: &str = "X-Cisco-UC-IME-Ticket";

type Change = fn(&mut Trapezoid, Message) -> Message;

/// One way to fail for each cause.
const CAUSES: [(TicketCause, Change); 13] = [
    (TicketCause::NoPeerIdentity, |bed, invite| {
        bed.peer_domains.clear();
        invite
    }),
    (TicketCause::Missing, |_, invite| invite.without(HEADER)),
    (TicketCause::Duplicate, |_, invite| {
        let again = invite.field(HEADER).expect("a ticket").to_owned();
        invite.with("ViPR-Ticket", again)
    }),
    (TicketCause::Syntax, |_, invite| invite.set(HEADER, "not-a-ticket")),
    (TicketCause::Epoch, |_, invite| {
        let mut key = ticket_key();
        key.epoch = 9;
        invite.set(HEADER, token(&key))
    }),
    (TicketCause::Mac, |_, invite| {
        let mut key = ticket_key();
        key.secret = Secret::new(vec![0xee; 16]);
        invite.set(HEADER, token(&key))
    }),
    (TicketCause::Time, |bed, invite| {
        bed.wait(Duration::from_secs(86_400 * 31));
        invite
    }),
    (TicketCause::GrantingDomain, |bed, invite| {
        bed.snapshot.local_domains = vec!["other.example".to_owned()];
        invite
    }),
    (TicketCause::Revoked, |bed, invite| {
        bed.snapshot.tickets.denied.uuids.insert([7; 16]);
        invite
    }),
    (TicketCause::Domain, |bed, invite| {
        bed.peer_domains = vec!["c.example".to_owned()];
        invite
    }),
    (TicketCause::Ruri, |_, invite| invite.to_uri("sip:2125550100@a.example")),
    (TicketCause::Number, |_, invite| {
        invite.to_uri("sip:+12125550101@a.example")
    }),
    (TicketCause::NotEnrolled, |bed, invite| {
        bed.snapshot.tickets.enrolled = Some(std::collections::BTreeSet::new());
        invite
    }),
];

#[test]
fn every_failing_ticket_gets_the_same_403_and_leaves_no_state() {
    let mut answers = Vec::new();
    for (cause, change) in CAUSES {
        let (mut bed, invite) = knocking();
        let invite = change(&mut bed, invite);
        bed.send(Outside, &invite);
        let refusal = bed.expect(Outside, "403");
        expect_untouched(&mut bed);
        assert_eq!(
            bed.counters.tickets_failed.at(cause as usize).get(),
            1,
            "{}",
            cause.name()
        );
        let failures: u64 = bed.counters.tickets_failed.iter().map(|counter| counter.get()).sum();
        assert_eq!(failures, 1, "{}", cause.name());
        assert!(bed.reports.is_empty(), "a counter only");
        answers.push((
            refusal.start.clone(),
            refusal.fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(),
        ));
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "{answers:?}");
    assert_eq!(answers[0].0, "SIP/2.0 403 Forbidden");
}

#[test]
fn silence_where_policy_says_so() {
    for (_, change) in CAUSES {
        let (mut bed, invite) = knocking();
        bed.snapshot.tickets.on_failure = TicketFailureAction::Drop;
        let invite = change(&mut bed, invite);
        bed.send(Outside, &invite);
        bed.expect_nothing(Outside);
        expect_untouched(&mut bed);
    }
}

#[test]
fn a_ticket_is_taken_under_every_name_and_stays_in_the_request() {
    for name in [
        "X-Cisco-UC-IME-Ticket",
        "X-Cisco-ViPR-Ticket",
        "Ticket",
        "ViPR-Ticket",
        "vipr-ticket",
    ] {
        let (mut bed, invite) = knocking();
        let ticket = invite.field(HEADER).expect("a ticket").to_owned();
        bed.send(Outside, &invite.without(HEADER).with(name, &ticket));
        bed.expect(Outside, "100");
        assert_eq!(bed.expect(Inside, "INVITE").field(name), Some(ticket.as_str()));
        assert_eq!(bed.counters.tickets_ok.get(), 1);
    }
}

#[test]
fn a_ticket_may_be_used_again_and_a_dialog_outlives_it() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Inbound);
    bed.hang_up(Outside);
    bed.wait(Duration::from_secs(60));
    let mut second = bed.answered(Way::Inbound);
    assert!(!bed.outside_speaks(&mut talk, 9), "the first call is over");
    bed.both_speak(&mut second, 1);
    bed.snapshot.tickets.denied.uuids.insert([7; 16]);
    bed.wait(Duration::from_secs(86_400 * 31));
    bed.request(Outside, "INFO");
    bed.expect(Inside, "INFO");
}

#[test]
fn plain_rtp_offered_outside_is_488() {
    let mut bed = Setup::default().build();
    let offer = Sdp::plain(bed.peer.media).text();
    bed.invite(Outside, Some(&offer));
    bed.expect(Outside, "488");
    expect_untouched(&mut bed);
    assert_eq!(admissions(&bed, AdmissionResult::PlainRtp), 1);
}

#[test]
fn an_invite_for_another_host_or_by_another_route_is_refused() {
    let changes: [Change; 3] = [
        |_, invite| invite.to_uri("sip:+12125550100@elsewhere.example"),
        |_, invite| invite.to_uri("sip:+12125550100@203.0.113.200"),
        |_, invite| invite.with("Route", "<sip:elsewhere.example;lr>"),
    ];
    for change in changes {
        let (mut bed, invite) = knocking();
        let invite = change(&mut bed, invite);
        bed.send(Outside, &invite);
        bed.expect(Outside, "403");
        expect_untouched(&mut bed);
    }
}

#[test]
fn an_invite_by_our_own_route_and_address_is_taken() {
    let changes: [Change; 3] = [
        |_, invite| invite.to_uri("sip:+12125550100@198.51.100.1:5061"),
        |_, invite| invite.with("Route", "<sip:a.example;lr>"),
        |_, invite| invite.with("Route", "<sip:198.51.100.1:5061;transport=tls;lr>"),
    ];
    for change in changes {
        let (mut bed, invite) = knocking();
        let invite = change(&mut bed, invite);
        bed.send(Outside, &invite);
        bed.expect(Outside, "100");
        let invite = bed.expect(Inside, "INVITE");
        assert_eq!(invite.field("Route"), None);
    }
}

#[test]
fn an_invite_that_names_another_dialog_is_481() {
    for name in ["Replaces", "Join", "Target-Dialog"] {
        let (mut bed, invite) = knocking();
        bed.send(Outside, &invite.with(name, "abc@10.0.0.5;to-tag=1;from-tag=2"));
        bed.expect(Outside, "481");
        expect_untouched(&mut bed);
    }
}

#[test]
fn a_denied_peer_is_refused_whatever_its_ticket() {
    let (mut bed, invite) = knocking();
    bed.snapshot.peers.denied = vec!["b.example".to_owned()];
    bed.send(Outside, &invite);
    bed.expect(Outside, "403");
    expect_untouched(&mut bed);
}

#[test]
fn a_peer_that_asks_too_often_is_slowed_down() {
    let mut bed = Setup::default().build();
    bed.snapshot.limits.calls_per_second_per_peer = 2;
    for status in ["100", "100", "503"] {
        let offer = bed.peer_sdp().text();
        bed.invite(Outside, Some(&offer));
        bed.expect(Outside, status);
    }
    assert_eq!(admissions(&bed, AdmissionResult::RateLimited), 1);
}

#[test]
fn what_begins_no_call_is_refused_out_of_dialog_and_never_reaches_the_agent() {
    for method in [
        "MESSAGE",
        "SUBSCRIBE",
        "REFER",
        "PUBLISH",
        "REGISTER",
        "INFO",
        "STRANGE",
    ] {
        let (mut bed, _) = knocking();
        let request = bed.peer.request(method);
        bed.send(Outside, &request);
        bed.expect(Outside, "403");
        expect_untouched(&mut bed);
        let with_ticket = bed.peer.request(method).with(HEADER, token(&ticket_key()));
        bed.send(Outside, &with_ticket);
        bed.expect(Outside, "405");
        expect_untouched(&mut bed);
    }
}

#[test]
fn an_unknown_dialog_is_481_and_max_forwards_0_is_483() {
    let (mut bed, invite) = knocking();
    let bye = bed
        .peer
        .request("BYE")
        .set("To", "<sip:+12125550100@a.example>;tag=unknown");
    bed.send(Outside, &bye);
    bed.expect(Outside, "481");
    assert_eq!(bed.violations(Violation::UnknownDialog), 1);
    bed.send(Outside, &invite.set("Max-Forwards", "0"));
    bed.expect(Outside, "483");
    expect_untouched(&mut bed);
    assert_eq!(bed.violations(Violation::MaxForwards), 1);
}

/// A peer about to send an INVITE that would be taken.
fn knocking() -> (Trapezoid, Message) {
    let mut bed = Setup::default().build();
    let offer = bed.peer_sdp().text();
    let invite = bed.peer.invite(Some(&offer));
    (bed, invite)
}

fn token(key: &tollgate_contract::TicketKey) -> String {
    tollgate_ticket::issue(key, MacCoverage::BeforeIntegrity, &grant(), [1, 2, 3, 4], [7; 16])
}

fn expect_untouched(bed: &mut Trapezoid) {
    bed.expect_nothing(Inside);
    bed.expect_nothing(Outside);
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}

fn admissions(bed: &Trapezoid, result: AdmissionResult) -> u64 {
    bed.counters.admissions[Way::Inbound as usize].at(result as usize).get()
}
