//! Requests outside any dialog, and calls to no number: what a catch-all route carries, and what is refused without one
//! (edge.md 3; RFC 3261 §8.2, §16).
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use tollgate_call::transport::SendFailure;
use tollgate_contract::counters::AdmissionResult;
use tollgate_contract::{NumberPattern, Pii, Route, RouteTable, Side, Transport};
use tollgate_testkit::{Message, Setup, Trapezoid};

use Side::{Inside, Outside};

#[test]
fn request_of_the_agent_goes_out_by_the_catch_all_route_and_its_answer_comes_back() {
    for method in ["MESSAGE", "REGISTER", "OPTIONS", "STRANGE"] {
        let mut bed = with_catch_all(Setup::default());
        let request = alone(&mut bed, method, "sip:somebody@elsewhere.example").with("X-Kept", " a  b");
        bed.send(Inside, &request);
        let passed = bed.expect(Outside, method);
        assert_eq!(passed.uri(), "sip:somebody@b.example");
        assert_eq!(passed.field("X-Kept"), Some("a  b"));
        assert_eq!(passed.field("Max-Forwards"), Some("69"));
        assert_eq!(passed.field("X-Cisco-UC-IME-Ticket"), Some("RoutesTicket-1.."));
        bed.respond(Outside, &passed, 202, None);
        let answer = bed.expect(Inside, "202");
        assert_eq!(answer.field("Call-ID"), request.field("Call-ID"));
        assert_eq!(answer.field("CSeq"), request.field("CSeq"));
        assert_eq!(answer.all("Via").len(), 1);
        // A retransmission gets the answer again and goes nowhere (RFC 3261 §17.2.2).
        bed.send(Inside, &request);
        bed.expect(Inside, "202");
        bed.expect_nothing(Outside);
        assert_eq!(bed.table.live_calls(), 0, "it is no call");
        bed.expect_nothing_left();
        assert!(bed.records().is_empty());
    }
}

#[test]
fn contact_of_a_registration_is_its_content_unless_it_shows_the_inside() {
    for (contact, passed) in [
        ("<sip:%00@host5.example.com>;q=0.3", true),
        ("<sip:ua@10.0.0.5:5060>", false),
    ] {
        let mut bed = with_catch_all(Setup::default());
        let request = alone(&mut bed, "REGISTER", "sip:elsewhere.example").with("Contact", contact);
        bed.send(Inside, &request);
        let sent = bed.expect(Outside, "REGISTER");
        assert_eq!(sent.field("Contact"), passed.then_some(contact));
        assert_eq!(sent.uri(), "sip:b.example");
    }
}

#[test]
fn without_a_catch_all_route_only_calls_are_carried() {
    let mut bed = Setup::default().build();
    for method in ["MESSAGE", "REGISTER", "STRANGE", "SUBSCRIBE", "REFER"] {
        let request = alone(&mut bed, method, "sip:+14085555432@b.example");
        bed.send(Inside, &request);
        let refusal = bed.expect(Inside, "405");
        assert_eq!(refusal.field("Allow"), Some("INVITE, ACK, CANCEL, BYE, OPTIONS"));
    }
    bed.expect_nothing(Outside);
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}

#[test]
fn what_would_make_a_dialog_or_needs_one_is_not_carried_alone() {
    let mut bed = with_catch_all(Setup::default());
    for (method, status) in [
        ("SUBSCRIBE", "405"),
        ("REFER", "405"),
        ("BYE", "481"),
        ("UPDATE", "481"),
        ("PRACK", "481"),
    ] {
        let request = alone(&mut bed, method, "sip:somebody@elsewhere.example");
        bed.send(Inside, &request);
        bed.expect(Inside, status);
    }
    bed.expect_nothing(Outside);
}

#[test]
fn options_to_the_edge_is_answered_here_and_to_somebody_there() {
    let mut bed = with_catch_all(Setup::default());
    for (uri, is_ours) in [
        ("sip:10.0.0.1", true),
        ("sip:anyone@10.0.0.1:5060", true),
        ("sip:a.example", true),
        ("sip:somebody@a.example", false),
        ("sip:b.example", false),
    ] {
        let request = alone(&mut bed, "OPTIONS", uri);
        bed.send(Inside, &request);
        if is_ours {
            bed.expect(Inside, "200");
        } else {
            bed.expect(Outside, "OPTIONS");
        }
        bed.expect_nothing(Inside);
        bed.expect_nothing(Outside);
    }
}

#[test]
fn checks_of_a_proxy_come_before_the_route() {
    let mut bed = with_catch_all(Setup::default());
    let plain = |bed: &mut Trapezoid| alone(bed, "MESSAGE", "sip:somebody@elsewhere.example");
    let request = plain(&mut bed).set("Max-Forwards", "0");
    bed.send(Inside, &request);
    bed.expect(Inside, "483");
    let request = plain(&mut bed)
        .with("Proxy-Require", "one")
        .with("Proxy-Require", "two, three");
    bed.send(Inside, &request);
    assert_eq!(bed.expect(Inside, "420").field("Unsupported"), Some("one, two, three"));
    let request = plain(&mut bed).to_uri("soap.beep://192.0.2.103:3002");
    bed.send(Inside, &request);
    bed.expect(Inside, "416");
    bed.snapshot.agent.allowed_sources.clear();
    let request = plain(&mut bed);
    bed.send(Inside, &request);
    bed.expect(Inside, "403");
    bed.expect_nothing(Outside);
    assert_eq!(bed.leftovers(), [0, 0, 0]);
}

#[test]
fn request_that_is_not_answered_or_cannot_be_sent_is_answered_here() {
    let mut bed = with_catch_all(Setup::over(Transport::Tcp));
    let request = alone(&mut bed, "MESSAGE", "sip:somebody@elsewhere.example");
    bed.send(Inside, &request);
    bed.expect(Outside, "MESSAGE");
    bed.wait(Duration::from_secs(32));
    bed.expect(Inside, "408");
    bed.expect_nothing_left();
    let request = alone(&mut bed, "MESSAGE", "sip:somebody@elsewhere.example");
    bed.send(Inside, &request);
    bed.expect(Outside, "MESSAGE");
    bed.fail_last(Outside, SendFailure::Unreachable);
    bed.expect(Inside, "503");
    bed.expect_nothing_left();
}

#[test]
fn call_to_no_number_goes_by_the_catch_all_route_alone() {
    let offer = Setup::default().build().agent_sdp().text();
    for (uri, passed) in [
        ("sip:bob;par=u%40x@elsewhere.example", "sip:bob;par=u%40x@b.example"),
        (
            "sip:bob@elsewhere.example.:5070;transport=tcp;user=phone",
            "sip:bob@b.example;user=phone",
        ),
        ("tel:+1-408-555-5432", "sip:+14085555432@b.example"),
    ] {
        let mut bed = with_catch_all(Setup::default());
        let invite = bed.agent.invite(Some(&offer)).to_uri(uri);
        bed.send(Inside, &invite);
        assert_eq!(bed.expect(Outside, "INVITE").uri(), passed);
    }
    let mut bed = Setup::default().build();
    let invite = bed.agent.invite(Some(&offer)).to_uri("sip:bob@elsewhere.example");
    bed.send(Inside, &invite);
    bed.expect_fallback(AdmissionResult::NotE164, "SIP;cause=484;text=\"not a +E.164 number\"");
}

#[test]
fn request_of_before_rfc_3261_is_told_apart_by_more_than_its_branch() {
    for via in ["SIP/2.0/UDP 10.0.0.5:5060", "SIP/2.0/UDP 10.0.0.5:5060;branch=1"] {
        let mut bed = Setup::default().build();
        let offer = bed.agent_sdp().text();
        let invite = bed.agent.invite(Some(&offer)).set("Via", via);
        bed.agent.invite = Some(invite.clone());
        bed.send(Inside, &invite);
        let passed = bed.expect(Outside, "INVITE");
        bed.expect(Inside, "100");
        bed.send(Inside, &invite);
        bed.expect(Inside, "100");
        bed.expect_nothing(Outside);
        bed.respond(Outside, &passed, 180, None);
        bed.expect(Inside, "180");
        let other = bed.agent.cancel().set("CSeq", "99 CANCEL");
        bed.send(Inside, &other);
        bed.expect(Inside, "481");
        bed.cancel(Inside);
        bed.expect(Inside, "200");
        let cancel = bed.expect(Outside, "CANCEL");
        bed.respond(Outside, &cancel, 200, None);
        bed.respond(Outside, &passed, 487, None);
        bed.expect(Outside, "ACK");
        let refusal = bed.expect(Inside, "487");
        bed.ack_refusal(Inside, &refusal);
        bed.wait(Duration::from_secs(2));
        bed.expect_nothing(Inside);
        bed.expect_nothing_left();
    }
}

#[test]
fn first_hop_without_max_forwards_gets_70() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    let invite = bed.agent.invite(Some(&offer)).without("Max-Forwards");
    bed.send(Inside, &invite);
    assert_eq!(bed.expect(Outside, "INVITE").field("Max-Forwards"), Some("70"));
}

#[test]
fn malformed_request_is_answered_by_its_defect_and_goes_nowhere() {
    let mut bed = with_catch_all(Setup::default());
    bed.seeks_faults = false;
    let long = format!("sip:{}@b.example", "u".repeat(8_000));
    for (start, status) in [
        ("MESSAGE sip:a@b.example SIP/7.0".to_owned(), "505"),
        (format!("MESSAGE {long} SIP/2.0"), "414"),
        ("MESSAGE  sip:a@b.example  SIP/2.0".to_owned(), "400"),
        ("MESSAGE <sip:a@b.example> SIP/2.0".to_owned(), "400"),
        ("MESSAGE sip:a@b.example?Route=%3Csip:c%3E SIP/2.0".to_owned(), "400"),
        ("MESSAGE sip:2001:db8::10 SIP/2.0".to_owned(), "400"),
    ] {
        let mut request = alone(&mut bed, "MESSAGE", "sip:a@b.example");
        request.start = start;
        bed.send(Inside, &request);
        let sent = bed.take(Inside);
        assert_eq!(sent.len(), 1, "{}", request.start);
        let line = format!("SIP/2.0 {status} ");
        assert!(
            sent[0].bytes.starts_with(line.as_bytes()),
            "{} gets {status}",
            request.start
        );
    }
    // Nothing sound to build an answer from.
    let request = alone(&mut bed, "MESSAGE", "sip:a@b.example")
        .without("To")
        .without("From");
    bed.send(Inside, &request);
    bed.expect_nothing(Inside);
    bed.expect_nothing(Outside);
}

#[test]
fn body_and_name_that_speak_of_the_inside_do_not_go_out() {
    let mut bed = with_catch_all(Setup::default());
    let mut request = alone(&mut bed, "MESSAGE", "sip:somebody@elsewhere.example").with("Content-Type", "text/plain");
    request.body = "call me at 10.0.0.5".to_owned();
    bed.send(Inside, &request);
    let passed = bed.expect(Outside, "MESSAGE");
    assert_eq!((passed.body.as_str(), passed.field("Content-Type")), ("", None));

    let request = alone(&mut bed, "MESSAGE", "sip:somebody@elsewhere.example");
    let request = request
        .set("From", "\"10.0.0.5\" <x:a@10.0.0.5>;tag=1")
        .set("To", "<x:b@10.0.0.5>");
    bed.send(Inside, &request);
    let passed = bed.expect(Outside, "MESSAGE");
    assert_eq!(passed.field("From"), Some("<sip:anonymous@a.example>;tag=1"));
    assert_eq!(passed.field("To"), Some("<sip:anonymous@b.example>"));
    bed.respond(Outside, &passed, 200, None);
    let answer = bed.expect(Inside, "200");
    assert_eq!(answer.field("From"), request.field("From"));
    assert!(answer.field("To").is_some_and(|to| to.starts_with("<x:b@10.0.0.5>")));
}

/// A bed whose agent is served by a `*` route with a ticket.
fn with_catch_all(setup: Setup) -> Trapezoid {
    let mut bed = setup.build();
    let route = Route {
        domain: "b.example".into(),
        targets: Arc::from([bed.peer.address]),
        ticket: Some(Pii("RoutesTicket-1..".to_owned())),
        expires: None,
    };
    bed.snapshot.routes = RouteTable::from_routes(0, [(NumberPattern::Any, Arc::new(route))]);
    bed
}

/// A request of the agent outside any dialog.
fn alone(bed: &mut Trapezoid, method: &str, uri: &str) -> Message {
    let invite = bed.agent.invite(None).without("Contact");
    let number = invite.cseq().0;
    let mut request = invite.set("CSeq", format!("{number} {method}"));
    request.start = format!("{method} {uri} SIP/2.0");
    if method == "SUBSCRIBE" {
        request = request.with("Event", "presence");
    }
    request
}
