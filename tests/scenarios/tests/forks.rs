//! Several phones ring at the far side: each To tag is a dialog, media goes to one of them (calls.md 1, 2, 5).
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tollgate_contract::{Side, SrtpSuite, Way};
use tollgate_testkit::packet::{OUTSIDE_SSRC, rtp};
use tollgate_testkit::{Message, Sdp, Setup, SrtpEnd, Trapezoid, heard, key};

use Side::{Inside, Outside};

const SUITE: SrtpSuite = SrtpSuite::AesCm128HmacSha1_80;

/// One phone of the far side: its tag, its key, its address.
struct Fork {
    tag: &'static str,
    sdp: String,
    end: SrtpEnd,
    at: SocketAddr,
}

impl Fork {
    fn new(invite: &Message, tag: &'static str, number: u8) -> Self {
        let (crypto_tag, ours) = heard(&invite.body, 0).line(SUITE);
        let at = format!("203.0.113.{number}:30000").parse().expect("an address");
        let own = key(SUITE, number);
        let sdp = Sdp::secure(at, crypto_tag, SUITE, &own).text();
        Self {
            tag,
            sdp,
            end: SrtpEnd::new(SUITE, &own, &ours),
            at,
        }
    }

    fn says(&self, bed: &mut Trapezoid, invite: &Message, status: u16) -> Message {
        let response = bed.peer.response_tagged(invite, status, Some(&self.sdp), self.tag);
        bed.send(Outside, &response);
        let got = bed.expect(Inside, &status.to_string());
        assert_eq!(got.param("To", "tag"), Some(self.tag));
        got
    }

    fn is_heard(&mut self, bed: &mut Trapezoid, at: SocketAddr, sequence: u16) -> bool {
        let packet = self.end.protect(&rtp(OUTSIDE_SSRC, sequence));
        bed.packet(at, self.at, &packet).is_some()
    }
}

fn ringing() -> (Trapezoid, Message, [Fork; 2]) {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let forks = [Fork::new(&invite, "fork-1", 101), Fork::new(&invite, "fork-2", 102)];
    (bed, invite, forks)
}

#[test]
fn media_follows_the_fork_that_answers_even_if_another_spoke_last() {
    for winner in [0, 1] {
        let (mut bed, invite, mut forks) = ringing();
        let first = forks[0].says(&mut bed, &invite, 183);
        let second = forks[1].says(&mut bed, &invite, 183);
        // Longer than an old key is heard.
        bed.wait(Duration::from_secs(6));
        let ok = forks[winner].says(&mut bed, &invite, 200);
        assert_eq!(ok.body, [first, second][winner].body, "the answer it gave before");
        bed.ack(Inside, None);
        assert_eq!(bed.expect(Outside, "ACK").param("To", "tag"), Some(forks[winner].tag));
        let outside = heard(&invite.body, 0).at;
        assert!(forks[winner].is_heard(&mut bed, outside, 1), "fork {winner} answered");
        assert!(!forks[1 - winner].is_heard(&mut bed, outside, 1), "the other did not");
        let inside = heard(&ok.body, 0).at;
        let packet = rtp(7, 1);
        let out = bed.packet(inside, bed.agent.media, &packet).expect("passed on");
        assert_eq!(out.to, forks[winner].at);
        bed.peer.tag = forks[winner].tag.to_owned();
        bed.hang_up(Inside);
        bed.expect_nothing_left();
    }
}

#[test]
fn a_stream_one_fork_refuses_and_another_takes_lends_no_port_twice() {
    let mut bed = Setup::default().build();
    let offer = bed.agent_sdp().and("m=video 40000 RTP/AVP 96\r\n").text();
    bed.invite(Inside, Some(&offer));
    bed.expect(Inside, "100");
    let invite = bed.expect(Outside, "INVITE");
    let refuses = Fork::new(&invite, "fork-1", 101).sdp + "m=video 0 RTP/SAVP 96\r\n";
    for tag in ["fork-1", "fork-2", "fork-3"] {
        let progress = bed.peer.response_tagged(&invite, 183, Some(&refuses), tag);
        bed.send(Outside, &progress);
        bed.expect(Inside, "183");
        assert_eq!(bed.leftovers()[2], 2);
    }
    let (tag, _) = heard(&invite.body, 1).line(SUITE);
    let takes = Fork::new(&invite, "fork-4", 104).sdp
        + &format!(
            "m=video 41000 RTP/SAVP 96\r\na={}\r\n",
            Sdp::secure(bed.peer.media, tag, SUITE, &key(SUITE, 5)).crypto[0]
        );
    let ok = bed.peer.response_tagged(&invite, 200, Some(&takes), "fork-4");
    bed.send(Outside, &ok);
    let ok = bed.expect(Inside, "200");
    assert!(ok.body.contains("m=video 0 "), "{}", ok.body);
    bed.ack(Inside, None);
    bed.expect(Outside, "ACK");
    // With 8 pairs a side and 1 in use, 7 further calls fit and the eighth does not, once the quarantine is over.
    bed.wait(Duration::from_secs(11));
    bed.snapshot.limits.max_calls = 100;
    (0..7).for_each(|_| drop(bed.answered(Way::Outbound)));
    assert_eq!(bed.leftovers()[2], 16);
    let ports: BTreeSet<_> = bed
        .table
        .views(bed.now(), 99)
        .iter()
        .map(|view| view.media[view.media.len() - 1].local)
        .collect();
    assert_eq!(ports.len(), 8, "no port is lent twice");
}

#[test]
fn each_fork_rings_in_a_dialog_of_its_own() {
    let (mut bed, invite, _) = ringing();
    for tag in ["a", "b", "c"] {
        let response = bed.peer.response_tagged(&invite, 180, None, tag);
        bed.send(Outside, &response);
        assert_eq!(bed.expect(Inside, "180").param("To", "tag"), Some(tag));
    }
}
