//! Off-path: the agent connects to a mapped address, and the call goes to the peer that stands behind it (edge.md 1, 4).
//!
//! The trapezoid searches every message to the outside for the mapped address, too.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use tollgate_call::transport::{Dial, SendFailure, Target};
use tollgate_contract::counters::{AdmissionResult, Violation};
use tollgate_contract::{Mapping, MappingTable, Pii, Route, RouteChange, Side, TicketHeader, Transport, Way};
use tollgate_testkit::trapezoid::AGENT_TICKET;
use tollgate_testkit::{Deployment, Message, Sdp, Setup, Talk, Trapezoid, key};

use Side::{Inside, Outside};

const HEADER: &str = "X-Cisco-UC-IME-Ticket";

fn off_path() -> Trapezoid {
    Setup::deployed(Deployment::OffPath).build()
}

/// The first mapped address of a bed as it stands in a message.
fn mapped(bed: &Trapezoid) -> String {
    bed.dials.expect("the agent dials a mapped address").to_string()
}

/// A call's first INVITE as it left, and where to.
fn left(bed: &mut Trapezoid) -> (Message, Dial) {
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    (invite, bed.last_dial())
}

fn begin(bed: &mut Trapezoid) -> (Message, Dial) {
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    left(bed)
}

/// The agent holds the call and takes it up again.
fn hold_and_resume(bed: &mut Trapezoid, talk: &mut Talk) {
    for (direction, reply, is_heard) in [("sendonly", "recvonly", false), ("sendrecv", "sendrecv", true)] {
        let offer = bed.agent_sdp().directed(direction);
        let answer = Sdp::secure(bed.peer.media, talk.tag, talk.suite, &key(talk.suite, 1)).directed(reply);
        bed.renegotiate(Inside, &offer, &answer);
        assert_eq!(bed.outside_speaks(talk, 2 + u16::from(is_heard)), is_heard);
    }
}

#[test]
fn a_call_to_a_mapped_address_speaks_is_held_and_ends() {
    for inside_is_ipv6 in [false, true] {
        for outside_is_ipv6 in [false, true] {
            for hangs_up in [Inside, Outside] {
                let setup = Setup {
                    inside_is_ipv6,
                    outside_is_ipv6,
                    ..Setup::deployed(Deployment::OffPath)
                };
                speaks_is_held_and_ends(setup.build(), hangs_up);
            }
        }
    }
}

fn speaks_is_held_and_ends(mut bed: Trapezoid, hangs_up: Side) {
    let mapped = mapped(&bed);
    let mut talk = bed.answered(Way::Outbound);
    bed.both_speak(&mut talk, 1);
    hold_and_resume(&mut bed, &mut talk);
    bed.both_speak(&mut talk, 4);
    bed.hang_up(hangs_up);
    bed.expect_nothing_left();

    let global = bed.mapping("b.example").global_host;
    assert_eq!(talk.invite.uri(), format!("sip:+14085555432@{global}"));
    assert_eq!(
        talk.invite.bracketed("To"),
        Some(format!("sip:+14085555432@{global}").as_str())
    );
    assert_eq!(talk.invite.field(HEADER), Some(AGENT_TICKET));
    let contact = talk.ok.bracketed("Contact").expect("a Contact");
    assert!(contact.ends_with(&format!("@{mapped};transport=tcp")), "{contact}");
    assert_eq!(
        talk.ok.bracketed("To"),
        Some(format!("sip:+14085555432@{mapped}").as_str())
    );
    for sent in bed.log.iter().filter(|sent| sent.side == Inside) {
        assert!(matches!(sent.target, Target::Connection { .. }), "{:?}", sent.target);
        let shown = String::from_utf8_lossy(&sent.bytes);
        assert!(shown.contains(&mapped), "{shown}");
        assert!(!shown.contains("10.0.0.1:") && !shown.contains("[fd00::1]"), "{shown}");
        if sent.message.method() == "BYE" {
            let via = sent.message.field("Via").expect("a Via");
            assert!(via.starts_with(&format!("SIP/2.0/TCP {mapped};")), "{via}");
        }
    }
}

#[test]
fn the_peer_is_dialled_over_tls_at_its_global_address_under_the_mappings_domain() {
    let mut bed = off_path();
    let (_, dial) = begin(&mut bed);
    assert_eq!((dial.side, dial.transport), (Outside, Transport::Tls));
    assert_eq!(dial.addresses, [bed.peer.address]);
    assert_eq!(dial.server_name.as_deref(), Some("b.example"));
}

#[test]
fn a_call_in_is_the_same_as_on_a_trunk() {
    let mut bed = off_path();
    bed.dials = None;
    let mut talk = bed.answered(Way::Inbound);
    bed.both_speak(&mut talk, 1);
    let contact = talk.invite.bracketed("Contact").expect("a Contact");
    assert!(contact.ends_with("@10.0.0.1:5060;transport=tcp"), "{contact}");
    let via = talk.invite.field("Via").expect("a Via");
    assert!(via.starts_with("SIP/2.0/TCP 10.0.0.1:5060;"), "{via}");
    bed.hang_up(Inside);
    bed.expect_nothing_left();
}

#[test]
fn a_call_in_to_a_mapped_address_is_refused() {
    let mut bed = off_path();
    let offer = bed.peer_sdp().text();
    let invite = bed.peer.invite(Some(&offer)).to_uri("sip:+12125550100@10.0.0.2:20000");
    bed.send(Outside, &invite);
    bed.expect(Outside, "403");
    bed.expect_nothing(Inside);
}

#[test]
fn a_domain_the_agent_wrote_stays_and_another_address_gives_way_to_it() {
    for (called, shown) in [
        ("sip:+14085555432@b.example;user=phone", "sip:+14085555432@b.example"),
        ("sip:+14085555432@Sip.B.example.", "sip:+14085555432@sip.b.example"),
        ("sip:+14085555432@10.0.0.9", "sip:+14085555432@b.example"),
        ("sip:+14085555432@10.0.0.2:20001", "sip:+14085555432@b.example"),
        ("sip:+14085555432@10.0.0.2:20000", "sip:+14085555432@203.0.113.7"),
    ] {
        let mut bed = off_path();
        bed.agent.calls = called.to_owned();
        let (invite, dial) = begin(&mut bed);
        assert_eq!(invite.uri(), shown);
        assert!(invite.bracketed("To").is_some_and(|to| to.starts_with(shown)));
        assert_eq!(dial.server_name.as_deref(), Some("b.example"));
    }
}

#[test]
fn the_learned_uri_on_top_is_taken_off() {
    let mut bed = off_path();
    for route in [
        "<sip:10.0.0.2:20000;transport=tcp;lr>",
        "<sip:b.example;maddr=10.0.0.2;lr>",
    ] {
        bed.agent.extra.push(("Route".to_owned(), route.to_owned()));
    }
    let (invite, dial) = begin(&mut bed);
    assert_eq!(invite.field("Route"), None);
    assert_eq!(dial.addresses, [bed.peer.address]);
}

#[test]
fn parties_at_the_mapped_address_are_at_the_global_one_outside_and_back() {
    let mut bed = off_path();
    let history = "<sip:+14085555432@10.0.0.2:20000>;index=1, <sip:+12125550100@10.0.0.5>;index=2";
    bed.agent.extra.push(("History-Info".to_owned(), history.to_owned()));
    let (invite, _) = begin(&mut bed);
    assert_eq!(
        invite.field("History-Info"),
        Some("<sip:+14085555432@203.0.113.7>;index=1, <sip:+12125550100@a.example>;index=2")
    );
    let identity = "\"B\" <sip:+14085555432@203.0.113.7>, <tel:+14085555432>";
    let other = "<sip:+14085555499@203.0.113.8>";
    let ringing = bed
        .peer
        .response(&invite, 180, None)
        .with("P-Asserted-Identity", identity)
        .with("Remote-Party-ID", other);
    bed.send(Outside, &ringing);
    let ringing = bed.expect(Inside, "180");
    assert_eq!(
        ringing.field("P-Asserted-Identity"),
        Some("\"B\" <sip:+14085555432@10.0.0.2:20000>, <tel:+14085555432>")
    );
    assert_eq!(ringing.field("Remote-Party-ID"), Some(other));
}

#[test]
fn a_transfer_to_the_mapped_address_names_the_global_one() {
    let mut bed = off_path();
    bed.answered(Way::Outbound);
    let refer = bed.agent.request("REFER");
    bed.send(
        Inside,
        &refer.with("Refer-To", "<sip:+14085555433@10.0.0.2:20000;transport=tcp>"),
    );
    let refer = bed.expect(Outside, "REFER");
    assert_eq!(refer.field("Refer-To"), Some("<sip:+14085555433@203.0.113.7>"));
    bed.respond(Outside, &refer, 202, None);
    bed.expect(Inside, "202");
    let refer = bed.agent.request("REFER");
    let with_dialog = "<sip:+14085555433@10.0.0.2:20000?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2>";
    bed.send(Inside, &refer.with("Refer-To", with_dialog));
    assert_eq!(bed.expect(Outside, "REFER").field("Refer-To"), None);
}

#[test]
fn without_its_mapping_no_call_begins_but_one_in_progress_goes_on() {
    type Spoil = fn(&mut Trapezoid);
    let gone: Spoil = |bed| bed.snapshot.mappings = MappingTable::default();
    let ended: Spoil = |bed| bed.wait(Duration::from_secs(600));
    for spoil in [gone, ended] {
        let mut bed = off_path();
        let mapping = Mapping {
            expires: Some(bed.now().unix + Duration::from_secs(600)),
            ..bed.mapping("b.example")
        };
        bed.snapshot.mappings = MappingTable::from_iter([(bed.dials.expect("mapped"), mapping)]);
        let mut talk = bed.answered(Way::Outbound);
        spoil(&mut bed);
        hold_and_resume(&mut bed, &mut talk);
        bed.both_speak(&mut talk, 4);
        bed.hang_up(Outside);
        bed.expect_nothing_left();
        let offer = bed.agent_sdp().text();
        bed.invite(Inside, Some(&offer));
        bed.expect_fallback(AdmissionResult::NoMapping, "SIP;cause=404;text=\"no_mapping\"");
    }
}

#[test]
fn two_domains_behind_one_address_prove_themselves_apart() {
    let mut bed = off_path();
    let one = bed.dials.expect("mapped");
    let two = std::net::SocketAddr::new(one.ip(), one.port() + 1);
    let mappings = [(one, bed.mapping("b.example")), (two, bed.mapping("c.example"))];
    bed.snapshot.mappings = MappingTable::from_iter(mappings);
    for (dialled, name, other) in [(one, "b.example", "c.example"), (two, "c.example", "b.example")] {
        bed.dials = Some(dialled);
        bed.agent.calls = format!("sip:+14085555432@{dialled}");
        let (invite, dial) = begin(&mut bed);
        assert_eq!(dial.addresses, [bed.peer.address]);
        assert_eq!(dial.server_name.as_deref(), Some(name));
        let unmatched = bed.violations(Violation::Unmatched);
        bed.peer_domains = vec![other.to_owned()];
        bed.respond(Outside, &invite, 180, None);
        bed.expect_nothing(Inside);
        assert_eq!(bed.violations(Violation::Unmatched), unmatched + 1);
        bed.peer_domains = vec![name.to_owned()];
        bed.respond(Outside, &invite, 180, None);
        let ringing = bed.expect(Inside, "180");
        let contact = ringing.bracketed("Contact").expect("a Contact");
        assert!(contact.contains(&format!("@{dialled};")), "{contact}");
    }
}

#[test]
fn a_name_that_the_peer_does_not_prove_makes_the_agent_use_the_pstn() {
    let mut bed = off_path();
    begin(&mut bed);
    bed.fail_last(Outside, SendFailure::TlsName);
    let refusal = bed.expect(Inside, "503");
    assert_eq!(
        refusal.field("Reason"),
        Some("SIP;cause=503;text=\"tls_name_mismatch\"")
    );
    bed.ack_refusal(Inside, &refusal);
    bed.expect_nothing_left();
}

#[test]
fn a_call_without_a_ticket_is_refused_with_its_cause() {
    for ticket in [None, Some("not a ticket"), Some(";"), Some("")] {
        let mut bed = off_path();
        let offer = bed.agent_sdp().text();
        let invite = bed.agent.invite(Some(&offer)).without(HEADER);
        let invite = match ticket {
            Some(ticket) => invite.with(HEADER, ticket),
            None => invite,
        };
        bed.send(Inside, &invite);
        bed.expect_fallback(AdmissionResult::NoTicket, "SIP;cause=403;text=\"no_ticket\"");
    }
}

#[test]
fn the_routes_ticket_is_added_only_where_the_route_leads_to_the_mappings_domain() {
    for (domain, is_added) in [("b.example", true), ("c.example", false)] {
        let mut bed = off_path();
        let route = Route {
            domain: domain.into(),
            targets: Arc::from(["192.0.2.99:5061".parse().expect("an address")]),
            ticket: Some(Pii("bGVhcm5lZA..".to_owned())),
            expires: None,
        };
        bed.snapshot.routes = bed.snapshot.routes.with_changes([RouteChange {
            pattern: "+14085555432".parse().expect("a pattern"),
            route: Some(Arc::new(route)),
        }]);
        bed.agent.extra.clear();
        let offer = bed.agent_sdp().text();
        bed.invite(Inside, Some(&offer));
        if is_added {
            let (invite, dial) = left(&mut bed);
            assert_eq!(invite.all(HEADER), ["bGVhcm5lZA.."]);
            assert_eq!(dial.addresses, [bed.peer.address], "the mapping's, not the route's");
        } else {
            bed.expect_fallback(AdmissionResult::NoTicket, "SIP;cause=403;text=\"no_ticket\"");
        }
    }
}

#[test]
fn the_agents_ticket_leaves_under_the_configured_name() {
    for agents in [HEADER, "X-Cisco-ViPR-Ticket", "Ticket", "vipr-ticket"] {
        let mut bed = off_path();
        bed.snapshot.tickets.header = TicketHeader::CiscoVipr;
        bed.agent.extra = vec![(agents.to_owned(), AGENT_TICKET.to_owned())];
        let (invite, _) = begin(&mut bed);
        assert_eq!(invite.all("X-Cisco-ViPR-Ticket"), [AGENT_TICKET]);
        for other in [HEADER, "Ticket", "ViPR-Ticket"] {
            assert_eq!(invite.field(other), None);
        }
    }
}

#[test]
fn in_dialog_requests_may_come_by_a_new_connection_to_the_same_address() {
    let mut bed = off_path();
    bed.answered(Way::Outbound);
    bed.reconnect();
    bed.request(Inside, "INFO");
    let info = bed.expect(Outside, "INFO");
    bed.respond(Outside, &info, 200, None);
    bed.expect(Inside, "200");
    let conn = bed.source(Inside).conn.expect("a connection");
    let answered = bed.log.last().expect("sent").target.clone();
    assert_eq!(answered, Target::Connection { conn, otherwise: None });
    bed.request(Outside, "BYE");
    let bye = bed.expect(Inside, "BYE");
    let target = bed
        .log
        .iter()
        .rfind(|sent| sent.side == Inside)
        .map(|sent| &sent.target);
    assert!(matches!(target, Some(Target::Connection { conn: to, .. }) if *to == conn));
    bed.respond(Inside, &bye, 200, None);
    bed.expect(Outside, "200");
    bed.expect_nothing_left();
}

#[test]
fn an_agent_that_gives_up_cancels_the_call_to_the_peer() {
    let mut bed = off_path();
    let (invite, _) = begin(&mut bed);
    bed.respond(Outside, &invite, 180, None);
    bed.expect(Inside, "180");
    bed.cancel(Inside);
    bed.expect(Inside, "200");
    let cancel = bed.expect(Outside, "CANCEL");
    assert_eq!(cancel.uri(), invite.uri());
    bed.respond(Outside, &cancel, 200, None);
    bed.respond(Outside, &invite, 487, None);
    bed.expect(Outside, "ACK");
    let refusal = bed.expect(Inside, "487");
    bed.ack_refusal(Inside, &refusal);
    bed.expect_nothing_left();
}

#[test]
fn another_source_than_the_agent_has_no_use_of_a_mapping() {
    let mut bed = off_path();
    bed.agent.address = "10.0.0.66:5060".parse().expect("an address");
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "403");
    bed.expect_nothing(Outside);
    assert_eq!(bed.violations(Violation::SourceNotAllowed), 1);
}
