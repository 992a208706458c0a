//! Packets of a call: who is heard, when, and what a stranger can do (product.md 6.1, 6.5; calls.md 5; edge.md 7).
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::time::Duration;

use tollgate_contract::{RtcpPolicy, Side, SrtpSuite, Way};
use tollgate_media::DropReason;
use tollgate_testkit::packet::{INSIDE_SSRC, OUTSIDE_SSRC, rtcp, rtp};
use tollgate_testkit::{Setup, SrtpEnd, heard, key};

use Side::{Inside, Outside};

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

#[test]
fn packets_that_do_not_authenticate_change_nothing_but_counters() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let stranger = address("192.0.2.66:6666");
    let mut other = SrtpEnd::new(SUITE, &key(SUITE, 9), &key(SUITE, 9));
    let forged = [
        rtp(OUTSIDE_SSRC, 1),
        other.protect(&rtp(OUTSIDE_SSRC, 1)),
        vec![0x80; 12],
        vec![0x80, 0],
        Vec::new(),
        vec![0; 200],
    ];
    for from in [stranger, bed.peer.media] {
        for packet in &forged {
            assert_eq!(bed.packet(talk.outside_port, from, packet), None);
        }
    }
    assert_eq!(bed.all_drops(), 12);
    assert_eq!(bed.drops(DropReason::AuthFailed), 6);
    assert!(bed.inside_speaks(&mut talk, 1), "still to the signalled address");
    bed.both_speak(&mut talk, 2);
    let before = bed.table.views(bed.now(), 1)[0].media[0].quality.clone();
    for packet in &forged {
        assert_eq!(bed.packet(talk.outside_port, stranger, packet), None);
    }
    assert_eq!(
        bed.table.views(bed.now(), 1)[0].media[0].quality,
        before,
        "the monitor heard nothing"
    );
    bed.both_speak(&mut talk, 3);
}

#[test]
fn the_outside_is_latched_by_the_first_authentic_packet() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let behind_nat = address("192.0.2.99:41234");
    let packet = talk.far.protect(&rtp(OUTSIDE_SSRC, 1));
    assert!(bed.packet(talk.outside_port, behind_nat, &packet).is_some());
    let signalled = bed.peer.media;
    bed.peer.media = behind_nat;
    bed.both_speak(&mut talk, 2);
    let late = talk.far.protect(&rtp(OUTSIDE_SSRC, 3));
    assert_eq!(bed.packet(talk.outside_port, signalled, &late), None);
    assert_eq!(bed.drops(DropReason::SourceNotLatched), 1);
    let view = &bed.table.views(bed.now(), 1)[0].media[0];
    assert_eq!((view.remote[1], view.latched), (Some(behind_nat), [false, true]));
}

#[test]
fn inside_only_the_signalled_source_is_heard() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    for from in ["10.0.0.50:20002", "10.0.0.51:20000", "203.0.113.77:30000"] {
        assert_eq!(bed.packet(talk.inside_port, address(from), &rtp(INSIDE_SSRC, 1)), None);
    }
    assert_eq!(bed.drops(DropReason::SourceNotSignalled), 3);
    bed.both_speak(&mut talk, 1);
}

#[test]
fn nothing_passes_before_the_answer() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let offered = heard(&invite.body, 0);
    let mut far = SrtpEnd::new(SUITE, &key(SUITE, 1), &offered.line(SUITE).1);
    let packet = far.protect(&rtp(OUTSIDE_SSRC, 1));
    assert_eq!(bed.packet(offered.at, bed.peer.media, &packet), None);
    let inside = address(&format!("10.0.0.1:{}", offered.at.port()));
    assert_eq!(bed.packet(inside, bed.agent.media, &rtp(INSIDE_SSRC, 1)), None);
    assert_eq!(bed.drops(DropReason::BeforeAnswer), 2);
}

#[test]
fn after_the_end_a_port_belongs_to_no_flow() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    bed.both_speak(&mut talk, 1);
    bed.request(Outside, "BYE");
    assert!(!bed.inside_speaks(&mut talk, 2) && !bed.outside_speaks(&mut talk, 2));
    assert_eq!(bed.drops(DropReason::NoFlow), 2);
}

#[test]
fn a_port_is_left_alone_for_its_quarantine() {
    let mut bed = Setup {
        pairs: 1,
        ..Setup::default()
    }
    .build();
    bed.answered(Way::Outbound);
    bed.hang_up(Inside);
    bed.wait(Duration::from_secs(9));
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    let refusal = bed.expect(Inside, "503");
    bed.ack_refusal(Inside, &refusal);
    bed.wait(Duration::from_secs(1));
    let mut talk = bed.answered(Way::Outbound);
    bed.both_speak(&mut talk, 1);
}

#[test]
fn rtcp_passes_or_not_as_policy_says() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Inbound);
    (0..5).for_each(|_| bed.both_report(&mut talk));

    let mut bed = Setup::default().build();
    bed.snapshot.media.rtcp = RtcpPolicy::Drop;
    let mut talk = bed.answered(Way::Inbound);
    let above = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
    let protected = talk.far.protect_rtcp(&rtcp(OUTSIDE_SSRC));
    assert_eq!(
        bed.packet(above(talk.outside_port), above(bed.peer.media), &protected),
        None
    );
    assert_eq!(
        bed.packet(above(talk.inside_port), above(bed.agent.media), &rtcp(INSIDE_SSRC)),
        None
    );
    assert_eq!(bed.drops(DropReason::RtcpByPolicy), 2);
    bed.both_speak(&mut talk, 1);
}

#[test]
fn rtp_on_the_port_of_rtcp_is_not_media() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let above = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
    let protected = talk.far.protect(&rtp(OUTSIDE_SSRC, 1));
    assert_eq!(bed.packet(above(talk.outside_port), bed.peer.media, &protected), None);
    assert_eq!(bed.drops(DropReason::NotMedia), 1);
}

#[test]
fn sequence_numbers_roll_over_in_a_call() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    for round in 0..3u32 {
        for sequence in (0..=u16::MAX).step_by(if round == 1 { 997 } else { 4_001 }) {
            bed.both_speak(&mut talk, sequence);
        }
        bed.both_speak(&mut talk, u16::MAX);
    }
}

#[test]
fn a_replayed_packet_is_dropped() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    let packet = talk.far.protect(&rtp(OUTSIDE_SSRC, 1));
    assert!(bed.packet(talk.outside_port, bed.peer.media, &packet).is_some());
    assert_eq!(bed.packet(talk.outside_port, bed.peer.media, &packet), None);
    assert_eq!(bed.drops(DropReason::Replayed), 1);
}

#[test]
fn calls_do_not_hear_each_other() {
    let mut bed = Setup::default().build();
    let mut first = bed.answered(Way::Outbound);
    let second = bed.answered(Way::Inbound);
    assert_ne!(first.outside_port, second.outside_port);
    let packet = first.far.protect(&rtp(OUTSIDE_SSRC, 1));
    // Both parties send with the same key here, so only the edge's own ports keep the calls apart.
    let other = SrtpEnd::new(SUITE, &key(SUITE, 3), &key(SUITE, 3)).protect(&rtp(OUTSIDE_SSRC, 2));
    assert_eq!(bed.packet(second.outside_port, bed.peer.media, &other), None);
    assert_eq!(
        bed.packet(first.outside_port, bed.peer.media, &packet)
            .map(|out| out.from),
        Some(first.inside_port)
    );
}

#[test]
fn a_call_silent_both_ways_is_ended_and_a_held_one_is_not() {
    let mut bed = Setup::default().build();
    bed.snapshot.fallback.enabled = false;
    let mut talk = bed.answered(Way::Outbound);
    bed.start_ticking();
    bed.both_speak(&mut talk, 1);
    bed.wait(Duration::from_secs(119));
    bed.expect_nothing(Inside);
    bed.wait(Duration::from_secs(3));
    for side in [Inside, Outside] {
        let bye = bed.expect(side, "BYE");
        bed.respond(side, &bye, 200, None);
    }
    assert_eq!(bed.records()[0].reason, "media_timeout");
    bed.expect_nothing_left();

    let mut bed = Setup::default().build();
    let talk = bed.answered(Way::Outbound);
    bed.start_ticking();
    let hold = bed.agent_sdp().directed("inactive").text();
    bed.reinvite(Inside, Some(&hold));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let answer = tollgate_testkit::Sdp::secure(bed.peer.media, talk.tag, SUITE, &key(SUITE, 1)).directed("inactive");
    bed.respond(Outside, &invite, 200, Some(&answer.text()));
    bed.expect(Inside, "200");
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    bed.wait(Duration::from_secs(600));
    bed.expect_nothing(Inside);
    bed.expect_nothing(Outside);
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
