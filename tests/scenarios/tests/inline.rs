//! Inline: the agent connects to the peer itself and the edge is in between (product.md 3; edge.md 1, 4).
#![forbid(unsafe_code)]

use tollgate_call::transport::Dial;
use tollgate_contract::counters::AdmissionResult;
use tollgate_contract::{Side, Transport, Way};
use tollgate_testkit::trapezoid::AGENT_TICKET;
use tollgate_testkit::{Deployment, Message, Setup, Trapezoid};

use Side::{Inside, Outside};

/// The learned URI as the agent puts it on top (edge.md 4): the transport it asks for is not the one outside.
const LEARNED: &str = "<sip:sip.b.example:5061;maddr=203.0.113.7;transport=tcp;lr>";

fn inline() -> Trapezoid {
    Setup::deployed(Deployment::Inline).build()
}

fn with_route(route: &str) -> Trapezoid {
    let mut bed = inline();
    bed.agent.extra.push(("Route".to_owned(), route.to_owned()));
    bed
}

fn begin(bed: &mut Trapezoid) -> (Message, Dial) {
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    (invite, bed.last_dial())
}

/// A call of the agent is refused before there is any state.
fn expect_refused(bed: &mut Trapezoid, counted: AdmissionResult, reason: &str) {
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect_fallback(counted, reason);
}

#[test]
fn a_call_with_a_learned_uri_goes_where_it_was_going_under_its_domain() {
    let mut bed = with_route(LEARNED);
    let (invite, dial) = begin(&mut bed);
    assert_eq!((dial.side, dial.transport), (Outside, Transport::Tls));
    assert_eq!(dial.addresses, ["203.0.113.7:5061".parse().expect("an address")]);
    assert_eq!(dial.server_name.as_deref(), Some("sip.b.example"));
    assert_eq!(invite.uri(), "sip:+14085555432@b.example");
    assert_eq!(invite.field("Route"), None);
    assert_eq!(invite.all("X-Cisco-UC-IME-Ticket"), [AGENT_TICKET]);
    bed.peer_domains = vec!["b.example".to_owned()];
    bed.respond(Outside, &invite, 180, None);
    bed.expect_nothing(Inside);
}

#[test]
fn without_a_learned_uri_the_request_uri_names_the_domain() {
    for routes in [&[][..], &["<sip:203.0.113.7:5061;lr>"]] {
        let mut bed = inline();
        bed.agent.calls = "sip:+14085555432@B.example.;user=phone".to_owned();
        let routes = routes.iter().map(|route| ("Route".to_owned(), (*route).to_owned()));
        bed.agent.extra.extend(routes);
        let (invite, dial) = begin(&mut bed);
        assert_eq!(dial.server_name.as_deref(), Some("b.example"));
        assert_eq!(dial.addresses, [bed.peer.address]);
        assert_eq!(invite.uri(), "sip:+14085555432@b.example");
    }
}

#[test]
fn a_call_to_the_peers_bare_address_is_of_the_learned_uris_domain() {
    let mut bed = with_route(LEARNED);
    bed.agent.calls = "sip:+14085555432@203.0.113.7:5061".to_owned();
    let (invite, _) = begin(&mut bed);
    assert_eq!(invite.uri(), "sip:+14085555432@sip.b.example");
    assert_eq!(invite.bracketed("To"), Some("sip:+14085555432@sip.b.example"));
}

#[test]
fn the_agent_sees_the_peers_own_address_from_beginning_to_end() {
    for is_ipv6 in [false, true] {
        for hangs_up in [Inside, Outside] {
            let mut bed = Setup {
                inside_is_ipv6: is_ipv6,
                outside_is_ipv6: is_ipv6,
                ..Setup::deployed(Deployment::Inline)
            }
            .build();
            let peer = bed.peer.address;
            let mut talk = bed.answered(Way::Outbound);
            bed.both_speak(&mut talk, 1);
            let contact = talk.ok.bracketed("Contact").expect("a Contact");
            assert!(contact.ends_with(&format!("@{peer};transport=tcp")), "{contact}");
            bed.reconnect();
            for side in [Inside, Outside] {
                bed.request(side, "UPDATE");
                let update = bed.expect(side.other(), "UPDATE");
                bed.respond(side.other(), &update, 200, None);
                bed.expect(side, "200");
            }
            let update = bed
                .log
                .iter()
                .find(|sent| (sent.side, sent.message.method()) == (Inside, "UPDATE"));
            let update = &update.expect("sent").message;
            let (via, contact) = (update.field("Via"), update.bracketed("Contact"));
            assert!(via.is_some_and(|via| via.starts_with(&format!("SIP/2.0/TCP {peer};"))));
            assert!(contact.is_some_and(|contact| contact.ends_with(&format!("@{peer};transport=tcp"))));
            bed.hang_up(hangs_up);
            bed.expect_nothing_left();
        }
    }
}

#[test]
fn the_wildcard_a_listener_is_bound_to_hides_nothing() {
    for (inside_is_ipv6, subject) in [(true, "a::b"), (false, "version 0.0.0.0")] {
        let mut bed = Setup {
            inside_is_ipv6,
            ..Setup::deployed(Deployment::Inline)
        }
        .build();
        bed.agent.extra.push(("Subject".to_owned(), subject.to_owned()));
        let (invite, _) = begin(&mut bed);
        assert_eq!(invite.field("Subject"), Some(subject));
    }
}

#[test]
fn a_call_in_comes_from_the_edges_own_address() {
    let mut bed = inline();
    bed.dials = None;
    let mut talk = bed.answered(Way::Inbound);
    bed.both_speak(&mut talk, 1);
    let via = talk.invite.field("Via").expect("a Via");
    assert!(via.starts_with("SIP/2.0/TCP 10.0.0.1:5060;"), "{via}");
    let contact = talk.invite.bracketed("Contact").expect("a Contact");
    assert!(contact.ends_with("@10.0.0.1:5060;transport=tcp"), "{contact}");
    bed.hang_up(Outside);
    bed.expect_nothing_left();
}

#[test]
fn without_a_domain_to_be_proved_there_is_no_call() {
    for host in ["203.0.113.7", "[2001:db8:b::7]", "b_b.example", "-b.example", "5"] {
        let mut bed = inline();
        bed.agent.calls = format!("sip:+14085555432@{host}");
        expect_refused(
            &mut bed,
            AdmissionResult::NoPeerName,
            "SIP;cause=404;text=\"no_peer_name\"",
        );
    }
}

#[test]
fn without_a_ticket_there_is_no_call() {
    let mut bed = inline();
    bed.agent.extra.clear();
    expect_refused(&mut bed, AdmissionResult::NoTicket, "SIP;cause=403;text=\"no_ticket\"");
}

#[test]
fn a_call_to_an_address_of_the_edge_itself_goes_nowhere() {
    for ours in ["10.0.0.1:5062", "10.9.0.1:5062", "198.51.100.1:5061"] {
        let mut bed = inline();
        bed.dials = Some(ours.parse().expect("an address"));
        expect_refused(
            &mut bed,
            AdmissionResult::NoRoute,
            "SIP;cause=404;text=\"no route to the number\"",
        );
    }
}
