//! What the outside sees of the inside: nothing; and what it gets unchanged: everything else (edge.md 3-4, calls.md 1-2).
//!
//! The trapezoid searches every message to the outside for inside addresses; here are calls that try hard to show some.
#![forbid(unsafe_code)]

use tollgate_contract::{Side, SrtpSuite, TicketHeader, Transport, Way};
use tollgate_testkit::{Message, Setup, Trapezoid, heard};

use Side::{Inside, Outside};

/// Fields in which agents like to show their own addresses.
const TALKATIVE: [(&str, &str); 9] = [
    (
        "P-Asserted-Identity",
        "\"A\" <sip:+12125550100@10.0.0.5:5060>, <tel:+12125550100>",
    ),
    ("Remote-Party-ID", "<sip:+12125550100@10.0.0.5>;party=calling"),
    ("Diversion", "<sip:+12125550199@10.0.0.5>;reason=unconditional"),
    ("History-Info", "<sip:+12125550199@10.0.0.5>;index=1"),
    ("Call-Info", "<http://10.0.0.5/photo.png>;purpose=icon"),
    ("Alert-Info", "<http://10.0.0.5/ring.wav>"),
    ("User-Agent", "PBX 1.0 (10.0.0.5)"),
    ("Warning", "399 10.0.0.5 \"talkative\""),
    ("X-Debug", "came from 10.0.0.50 by way of 10.9.0.1"),
];

/// Fields the edge knows nothing of; they pass as they are.
const UNKNOWN: [(&str, &str); 3] = [
    ("X-Fallback-Digits", "12345;  spaced   oddly"),
    ("P-Custom", "\"quoted, comma\" <sip:x@y.example>;a=b"),
    ("Subject", "UPPER lower ünïcödé"),
];

#[test]
fn a_whole_call_shows_nothing_of_the_inside() {
    for (transport, way) in [
        (Transport::Udp, Way::Outbound),
        (Transport::Tcp, Way::Outbound),
        (Transport::Udp, Way::Inbound),
    ] {
        let mut bed = Setup::over(transport).build();
        bed.agent.record_routes = vec!["<sip:10.0.0.5;lr>".to_owned()];
        let talkative = TALKATIVE.map(|(name, value)| (name.to_owned(), value.to_owned()));
        bed.agent.extra.extend(talkative);
        talk_a_lot(&mut bed, way);
        let shown: Vec<u8> = bed
            .log
            .iter()
            .filter(|sent| sent.side == Outside)
            .flat_map(|sent| sent.bytes.clone())
            .collect();
        let shown = String::from_utf8(shown).expect("text");
        for hidden in [
            "10.0.0.",
            "10.9.0.",
            "172.16.0.1",
            "User-Agent",
            "Alert-Info",
            "Call-Info",
            "Warning",
        ] {
            assert!(!shown.contains(hidden), "{hidden} in\n{shown}");
        }
    }
}

/// Every kind of message in both directions, with whatever the agent likes to say.
fn talk_a_lot(bed: &mut Trapezoid, way: Way) {
    let talk = bed.answered(way);
    for method in ["INFO", "UPDATE", "NOTIFY", "REFER", "MESSAGE"] {
        let request = with_all(bed.agent.request(method), &TALKATIVE);
        bed.send(Inside, &request);
        let request = bed.expect(Outside, method);
        bed.respond(Outside, &request, 200, None);
        bed.expect(Inside, "200");
        if method == "REFER" {
            continue;
        }
        bed.request(Outside, method);
        let request = bed.expect(Inside, method);
        let answer = with_all(bed.agent.response(&request, 200, None), &TALKATIVE);
        bed.send(Inside, &answer);
        bed.expect(Outside, "200");
    }
    let offer = bed
        .agent_sdp()
        .and("a=candidate:1 1 UDP 1 10.0.0.50 20000 typ host\r\na=rtcp:20001 IN IP4 10.0.0.50\r\n");
    bed.reinvite(Inside, Some(&offer.text()));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let answer = tollgate_testkit::Sdp::secure(
        bed.peer.media,
        talk.tag,
        talk.suite,
        &tollgate_testkit::key(talk.suite, 1),
    );
    bed.respond(Outside, &invite, 200, Some(&answer.text()));
    bed.expect(Inside, "200");
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    bed.hang_up(Inside);
}

#[test]
fn a_refusal_of_our_agent_shows_nothing_of_the_inside() {
    for status in [302, 403, 404, 486, 500] {
        let mut bed = Setup::default().build();
        let offer = bed.peer_sdp().text();
        bed.invite(Outside, Some(&offer));
        bed.expect(Outside, "100");
        let invite = bed.expect(Inside, "INVITE");
        let refusal =
            with_all(bed.agent.response(&invite, status, None), &TALKATIVE).with("Contact", "<sip:9@10.0.0.5>");
        bed.send(Inside, &refusal);
        assert_eq!(bed.take(Outside).len(), 1);
    }
}

#[test]
fn what_the_edge_does_not_know_passes_byte_for_byte() {
    for (way, from) in [(Way::Outbound, Inside), (Way::Inbound, Outside)] {
        let mut bed = Setup::default().build();
        let unknown = UNKNOWN.map(|(name, value)| (name.to_owned(), value.to_owned()));
        bed.party(from).extra.extend(unknown);
        let talk = bed.answered(way);
        for (name, value) in UNKNOWN {
            assert_eq!(talk.invite.field(name), Some(value));
        }
        let info = with_all(bed.party(from.other()).request("INFO"), &UNKNOWN).with("Content-Type", "text/plain");
        let info = Message {
            body: "as\r\n it  is".to_owned(),
            ..info
        };
        bed.send(from.other(), &info);
        let got = bed.expect(from, "INFO");
        let raw = &bed.log.last().expect("sent").bytes;
        let raw = String::from_utf8_lossy(raw);
        for (name, value) in UNKNOWN {
            assert!(raw.contains(&format!("\r\n{name}: {value}\r\n")), "{raw}");
        }
        assert_eq!(got.body, info.body);
    }
}

#[test]
fn via_contact_and_sdp_name_the_advertised_addresses() {
    let mut bed = Setup::default().build();
    let talk = bed.answered(Way::Outbound);
    let via = talk.invite.field("Via").expect("a Via");
    assert_eq!(talk.invite.all("Via").len(), 1, "inside Vias are hidden");
    assert!(via.starts_with("SIP/2.0/TLS 198.51.100.1:5061;branch=z9hG4bK"), "{via}");
    let contact = talk.invite.bracketed("Contact").expect("a Contact");
    assert!(contact.ends_with("@a.example:5061;transport=tls"), "{contact}");
    assert!(
        talk.invite
            .field("Contact")
            .is_some_and(|contact| contact.ends_with(";+sip.instance=\"x\""))
    );
    assert_eq!(heard(&talk.told_outside, 0).at.ip().to_string(), "198.51.100.1");
    assert!(heard(&talk.told_outside, 0).origin.ends_with("IN IP4 198.51.100.1"));
    assert_eq!(heard(&talk.told_inside, 0).at.ip().to_string(), "10.0.0.1");
    let contact = talk.ok.bracketed("Contact").expect("a Contact");
    assert!(contact.ends_with("@10.0.0.1:5060;transport=udp"), "{contact}");
}

#[test]
fn identities_outside_are_of_the_two_domains_and_the_call_id_is_ours() {
    let mut bed = Setup::default().build();
    let talk = bed.answered(Way::Outbound);
    let invite = &talk.invite;
    assert_eq!(invite.uri(), "sip:+14085555432@b.example");
    assert_eq!(invite.bracketed("From"), Some("sip:+12125550100@a.example"));
    assert_eq!(invite.bracketed("To"), Some("sip:+14085555432@b.example"));
    let call_id = invite.field("Call-ID").expect("a Call-ID");
    assert!(
        call_id.starts_with("tg1-") && call_id.ends_with("@a.example"),
        "{call_id}"
    );
    assert_eq!(talk.ok.field("Call-ID"), Some(bed.agent.call_id()));
    assert_eq!(talk.ok.bracketed("From"), Some(bed.agent.uri.as_str()));
}

#[test]
fn responses_bring_the_stored_vias_back_with_received_and_rport() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    let invite = bed.agent.invite(Some(&offer));
    let own = "SIP/2.0/UDP pbx.local:5060;branch=z9hG4bK-one;rport".to_owned();
    let further = "SIP/2.0/TCP 10.0.0.77;branch=z9hG4bK-two;received=10.0.0.78".to_owned();
    let invite = invite.set("Via", own).with("Via", &further);
    bed.send(Inside, &invite);
    bed.expect(Inside, "100");
    let out = bed.expect(Outside, "INVITE");
    let answer = bed.peer_answer(&out.body, SrtpSuite::AesCm128HmacSha1_80).text();
    bed.respond(Outside, &out, 200, Some(&answer));
    let ok = bed.expect(Inside, "200");
    let vias = ok.all("Via");
    assert_eq!(vias.len(), 2);
    assert!(
        vias[0].starts_with("SIP/2.0/UDP pbx.local:5060;branch=z9hG4bK-one"),
        "{}",
        vias[0]
    );
    assert!(
        vias[0].contains("received=10.0.0.5") && vias[0].contains("rport=5060"),
        "{}",
        vias[0]
    );
    assert_eq!(vias[1], further);
}

#[test]
fn the_ticket_leaves_under_the_configured_name_whatever_the_agents() {
    for sent in TicketHeader::ALL {
        for used in TicketHeader::ALL {
            let mut bed = Setup::default().build();
            bed.snapshot.tickets.header = sent;
            bed.agent.extra.push((used.name().to_owned(), "dG9rZW4.".to_owned()));
            let offer = bed.agent_sdp().text();
            bed.invite(Inside, Some(&offer));
            let invite = bed.expect(Outside, "INVITE");
            for name in TicketHeader::ALL.map(TicketHeader::name) {
                let expected = (name == sent.name()).then_some("dG9rZW4.");
                assert_eq!(invite.field(name), expected, "{name}");
            }
        }
    }
}

#[test]
fn the_routes_ticket_is_added_where_the_agent_sends_none_and_never_in_a_dialog() {
    let mut bed = Setup::default().build();
    let route = tollgate_contract::Route {
        domain: "b.example".into(),
        targets: std::sync::Arc::from([bed.peer.address]),
        ticket: Some(tollgate_contract::Pii("bGVhcm5lZA..".to_owned())),
        expires: None,
    };
    bed.snapshot.routes = bed.snapshot.routes.with_changes([tollgate_contract::RouteChange {
        pattern: "+14085555432".parse().expect("a pattern"),
        route: Some(std::sync::Arc::new(route)),
    }]);
    let talk = bed.answered(Way::Outbound);
    assert_eq!(talk.invite.field("X-Cisco-UC-IME-Ticket"), Some("bGVhcm5lZA.."));
    bed.request(Inside, "INFO");
    assert_eq!(bed.expect(Outside, "INFO").field("X-Cisco-UC-IME-Ticket"), None);
}

#[test]
fn inward_the_request_uri_is_the_number_at_the_agent() {
    let mut bed = Setup::default().build();
    let talk = bed.answered(Way::Inbound);
    assert_eq!(talk.invite.uri(), "sip:+12125550100@10.0.0.5:5060");
    assert_eq!(talk.invite.field("Max-Forwards"), Some("69"));
    let contact = talk.ok.bracketed("Contact").expect("a Contact");
    assert!(contact.ends_with("@a.example:5061;transport=tls"), "{contact}");
}

fn with_all(message: Message, fields: &[(&str, &str)]) -> Message {
    fields
        .iter()
        .fold(message, |message, (name, value)| message.with(name, *value))
}

#[test]
fn no_line_of_a_description_tells_where_the_phone_is() {
    let mut bed = Setup::default().build();
    let lines = "a=x-phone:10.0.0.50\r\na=x-near:10.0.0.5\r\nb=AS:64\r\n";
    let sdp = bed
        .agent_sdp()
        .and(lines)
        .text()
        .replace("s=-", "s=at 10.0.0.50\r\ni=see 10.0.0.50");
    bed.invite(Inside, Some(&sdp));
    let passed = bed.expect(Outside, "INVITE").body;
    assert!(!passed.contains("10.0.0.50"), "{passed}");
    assert!(
        passed.contains("\r\ns=-\r\n") && passed.contains("\r\nb=AS:64\r\n"),
        "{passed}"
    );
    assert!(!passed.contains("i="), "{passed}");
}
