//! A policy, route or ticket change never disturbs a call in progress (product.md 6.8).
#![forbid(unsafe_code)]

use tollgate_contract::{Keyring, RouteTable, Side, SrtpSuite, Transport, Way};
use tollgate_testkit::{Sdp, Setup, Trapezoid, key};

use Side::{Inside, Outside};

#[test]
fn a_call_goes_on_as_it_began_whatever_the_snapshot_becomes() {
    for way in [Way::Outbound, Way::Inbound] {
        let mut bed = Setup::default().build();
        let mut talk = bed.answered(way);
        bed.both_speak(&mut talk, 1);
        change_everything(&mut bed);
        bed.tick();
        bed.both_speak(&mut talk, 2);
        let hold = bed.agent_sdp().directed("sendonly").text();
        bed.reinvite(Inside, Some(&hold));
        bed.expect(Inside, "100");
        let invite = bed.expect(Outside, "INVITE");
        let answer = Sdp::secure(bed.peer.media, talk.tag, talk.suite, &key(talk.suite, 1)).directed("recvonly");
        bed.respond(Outside, &invite, 200, Some(&answer.text()));
        bed.expect(Inside, "200");
        bed.ack(Inside, None);
        bed.expect(Outside, "ACK");
        assert!(bed.inside_speaks(&mut talk, 3));
        bed.hang_up(Outside);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_new_call_is_judged_by_the_new_snapshot() {
    let mut bed = Setup::default().build();
    bed.answered(Way::Outbound);
    change_everything(&mut bed);
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "403");
    let offer = bed.peer_sdp().text();
    bed.invite(Outside, Some(&offer));
    bed.expect(Outside, "403");
}

/// Nothing that a new call would need is as it was.
fn change_everything(bed: &mut Trapezoid) {
    let snapshot = &mut bed.snapshot;
    snapshot.generation += 1;
    snapshot.routes = RouteTable::default();
    snapshot.tickets.keyring = Keyring::default();
    snapshot.domain = "renamed.example".to_owned();
    snapshot.local_domains = vec!["renamed.example".to_owned()];
    snapshot.agent.address = "10.0.0.200:5070".parse().expect("an address");
    snapshot.agent.transport = Transport::Tcp;
    snapshot.agent.allowed_sources = vec!["10.0.0.200".parse().expect("an address")];
    snapshot.media.suites = vec![SrtpSuite::AeadAes256Gcm];
    snapshot.peers.denied = vec!["b.example".to_owned()];
    snapshot.limits.max_calls = 0;
}
