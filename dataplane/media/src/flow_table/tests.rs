use std::time::Instant;

use tollgate_contract::SrtpSuite;

use super::*;
use crate::codec::CodecHint;
use crate::latch::AUTH_BUDGET;
use crate::leg::{LegSpec, Protection};
use crate::srtp::{MasterKey, ReceiveContext, SendContext};

const INSIDE_RTP: SocketId = SocketId(0);
const INSIDE_RTCP: SocketId = SocketId(1);
const OUTSIDE_RTP: SocketId = SocketId(2);
const OUTSIDE_RTCP: SocketId = SocketId(3);
const AGENT: &str = "10.0.0.1:4000";
const PEER: &str = "192.0.2.1:5000";
const NATTED: &str = "198.51.100.7:6000";
const STRANGER: &str = "203.0.113.9:7000";
const SUITE: SrtpSuite = SrtpSuite::AeadAes128Gcm;

#[test]
fn plain_from_inside_leaves_protected_and_comes_back_plain() {
    for suite in SrtpSuite::ALL {
        let mut bed = Bed::with_spec(spec_of(suite, 1, 2));
        let mut peer_receives = ReceiveContext::new(&key_of(suite, 1));
        let plain = rtp(7, 1000);
        let (forward, sent) = bed.forward(INSIDE_RTP, AGENT, &plain).unwrap();
        assert_eq!(
            (forward.socket, forward.to, forward.from),
            (OUTSIDE_RTP, addr(PEER), Side::Inside)
        );
        assert_eq!(forward.suite, Some(suite));
        assert_eq!(open(&mut peer_receives, &sent), Ok(plain.clone()), "{suite}");
        let protected = seal(&mut SendContext::new(&key_of(suite, 2)), &plain);
        let (forward, received) = bed.forward(OUTSIDE_RTP, PEER, &protected).unwrap();
        assert_eq!(
            (forward.socket, forward.to, forward.from),
            (INSIDE_RTP, addr(AGENT), Side::Outside)
        );
        assert_eq!((forward.suite, received), (Some(suite), plain));
    }
}

#[test]
fn rtcp_is_protected_and_relayed_on_its_own_sockets() {
    let mut bed = Bed::new();
    let (forward, sent) = bed.forward(INSIDE_RTCP, "10.0.0.1:4001", &rtcp()).unwrap();
    assert_eq!((forward.socket, forward.to), (OUTSIDE_RTCP, addr("192.0.2.1:5001")));
    let mut buf = sent.clone();
    let len = ReceiveContext::new(&key(1))
        .unprotect_rtcp(&mut buf, sent.len())
        .unwrap();
    assert_eq!(buf[..len], rtcp());
    let protected = seal_rtcp(&mut SendContext::new(&key(2)), &rtcp());
    assert_eq!(bed.forward(OUTSIDE_RTCP, NATTED, &protected).unwrap().1, rtcp());
    let (forward, _) = bed.forward(INSIDE_RTCP, "10.0.0.1:4001", &rtcp()).unwrap();
    assert_eq!(forward.to, addr(NATTED), "RTCP latched");
    let (forward, _) = bed.forward(INSIDE_RTP, AGENT, &rtp(7, 1)).unwrap();
    assert_eq!(forward.to, addr(PEER), "RTP did not");
}

#[test]
fn muxed_rtcp_shares_the_socket_and_the_latch_of_rtp() {
    let mut spec = spec(1, 2);
    spec.legs[1].rtcp = OUTSIDE_RTP;
    let mut bed = Bed::with_spec(spec);
    let mut peer = SendContext::new(&key(2));
    bed.forward(OUTSIDE_RTP, NATTED, &seal(&mut peer, &rtp(7, 1))).unwrap();
    let protected = seal_rtcp(&mut peer, &rtcp());
    assert_eq!(
        bed.forward(OUTSIDE_RTP, NATTED, &protected).unwrap().0.socket,
        INSIDE_RTCP
    );
    let (forward, _) = bed.forward(INSIDE_RTCP, "10.0.0.1:4001", &rtcp()).unwrap();
    assert_eq!((forward.socket, forward.to), (OUTSIDE_RTP, addr(NATTED)));
}

#[test]
fn source_latches_only_by_authentication_and_then_alone_is_taken() {
    let mut bed = Bed::new();
    let mut peer = SendContext::new(&key(2));
    let forged = seal(&mut SendContext::new(&key(9)), &rtp(7, 1));
    assert_eq!(bed.drop_of(OUTSIDE_RTP, STRANGER, &forged), DropReason::AuthFailed);
    assert!(!bed.stats().latched[1]);
    bed.forward(OUTSIDE_RTP, NATTED, &seal(&mut peer, &rtp(7, 1))).unwrap();
    assert!(bed.stats().latched[1]);
    assert_eq!(bed.forward(INSIDE_RTP, AGENT, &rtp(7, 1)).unwrap().0.to, addr(NATTED));
    let genuine = seal(&mut peer, &rtp(7, 2));
    assert_eq!(
        bed.drop_of(OUTSIDE_RTP, STRANGER, &genuine),
        DropReason::SourceNotLatched
    );
    assert!(
        bed.forward(OUTSIDE_RTP, NATTED, &genuine).is_ok(),
        "the refused copy changed nothing"
    );
}

#[test]
fn changed_signalled_address_opens_the_latch_but_not_to_stragglers() {
    let mut bed = Bed::new();
    let mut peer = SendContext::new(&key(2));
    bed.forward(OUTSIDE_RTP, PEER, &seal(&mut peer, &rtp(7, 1))).unwrap();
    let mut moved = spec(1, 2);
    moved.legs[1].remote_rtp = Some(addr(NATTED));
    bed.update(moved.clone());
    assert_eq!(bed.forward(INSIDE_RTP, AGENT, &rtp(7, 1)).unwrap().0.to, addr(NATTED));
    assert!(
        bed.forward(OUTSIDE_RTP, PEER, &seal(&mut peer, &rtp(7, 2))).is_ok(),
        "a straggler passes"
    );
    assert!(!bed.stats().latched[1], "and does not latch");
    bed.forward(OUTSIDE_RTP, NATTED, &seal(&mut peer, &rtp(7, 3))).unwrap();
    let late = seal(&mut peer, &rtp(7, 4));
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &late), DropReason::SourceNotLatched);
    bed.update(moved);
    assert!(bed.stats().latched[1], "a refresh changes nothing");
}

#[test]
fn unchanged_keys_keep_their_indices_over_an_update() {
    let mut bed = Bed::new();
    let (mut peer, mut peer_receives) = (SendContext::new(&key(2)), ReceiveContext::new(&key(1)));
    let protected = seal(&mut peer, &rtp(7, 1));
    bed.forward(OUTSIDE_RTP, PEER, &protected).unwrap();
    for sequence in [65_535, 0] {
        let (_, sent) = bed.forward(INSIDE_RTP, AGENT, &rtp(7, sequence)).unwrap();
        open(&mut peer_receives, &sent).unwrap();
    }
    bed.update(spec(1, 2));
    let (_, sent) = bed.forward(INSIDE_RTP, AGENT, &rtp(7, 1)).unwrap();
    assert_eq!(open(&mut peer_receives, &sent), Ok(rtp(7, 1)), "ROC 1 stays");
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &protected), DropReason::Replayed);
}

#[test]
fn former_receive_key_serves_until_the_new_one_does() {
    let mut bed = Bed::new();
    let (mut old, mut new) = (SendContext::new(&key(2)), SendContext::new(&key(3)));
    bed.forward(OUTSIDE_RTP, PEER, &seal(&mut old, &rtp(7, 1))).unwrap();
    bed.update(spec(1, 3));
    assert_eq!(
        bed.forward(OUTSIDE_RTP, PEER, &seal(&mut old, &rtp(7, 2))).unwrap().1,
        rtp(7, 2)
    );
    assert_eq!(
        bed.forward(OUTSIDE_RTP, NATTED, &seal(&mut new, &rtp(7, 3))).unwrap().1,
        rtp(7, 3)
    );
    let late = seal(&mut old, &rtp(7, 4));
    assert_eq!(bed.drop_of(OUTSIDE_RTP, NATTED, &late), DropReason::AuthFailed);
}

#[test]
fn former_receive_key_is_over_after_five_seconds() {
    let mut bed = Bed::new();
    let mut old = SendContext::new(&key(2));
    bed.forward(OUTSIDE_RTP, PEER, &seal(&mut old, &rtp(7, 1))).unwrap();
    bed.update(spec(1, 3));
    bed.wait(4_999);
    assert!(bed.forward(OUTSIDE_RTP, PEER, &seal(&mut old, &rtp(7, 2))).is_ok());
    bed.wait(1);
    let late = seal(&mut old, &rtp(7, 3));
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &late), DropReason::AuthFailed);
}

#[test]
fn new_receive_key_carries_the_roc_on_or_starts_at_zero() {
    for roc in [1, 0] {
        let mut bed = Bed::new();
        let mut old = SendContext::new(&key(2));
        for sequence in [65_535, 0] {
            bed.forward(OUTSIDE_RTP, PEER, &seal(&mut old, &rtp(7, sequence)))
                .unwrap();
        }
        bed.update(spec(1, 3));
        let mut new = SendContext::new(&key(3)).with_roc(roc);
        assert!(
            bed.forward(OUTSIDE_RTP, PEER, &seal(&mut new, &rtp(7, 1))).is_ok(),
            "ROC {roc}"
        );
    }
}

#[test]
fn sending_key_that_comes_back_goes_on_where_it_was() {
    let mut bed = Bed::new();
    bed.forward(INSIDE_RTP, AGENT, &rtp(7, 100)).unwrap();
    bed.update(spec(5, 2));
    bed.forward(INSIDE_RTP, AGENT, &rtp(7, 101)).unwrap();
    bed.update(spec(1, 2));
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &rtp(7, 100)), DropReason::IndexReused);
    assert!(bed.forward(INSIDE_RTP, AGENT, &rtp(7, 102)).is_ok());
}

#[test]
fn receive_key_that_comes_back_lets_nothing_in_twice() {
    let mut bed = Bed::new();
    let protected = seal(&mut SendContext::new(&key(2)), &rtp(7, 1));
    bed.forward(OUTSIDE_RTP, PEER, &protected).unwrap();
    bed.update(spec(1, 3));
    bed.wait(6_000);
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &protected), DropReason::AuthFailed);
    bed.update(spec(1, 2));
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &protected), DropReason::Replayed);
}

#[test]
fn restarted_sequence_goes_on_and_no_index_is_used_twice() {
    for (last, restart, lost) in [(30_000_u16, 100_u16, 1), (30_000, 29_950, 3), (100, 65_000, 1)] {
        let mut bed = Bed::new();
        let mut peer = ReceiveContext::new(&key(1));
        let (mut received, mut refused) = (0, 0);
        let before = (last - 99..=last).map(|sequence| (sequence, 1));
        let after = (0..100).map(|at| (restart.wrapping_add(at), 2));
        for (sequence, content) in before.chain(after) {
            match bed.forward(INSIDE_RTP, AGENT, &rtp(content, sequence)) {
                Ok((_, sent)) => {
                    open(&mut peer, &sent).expect("the index is new to the receiver");
                    received += 1;
                }
                Err(reason) => {
                    assert_eq!(reason, DropReason::IndexReused);
                    refused += 1;
                }
            }
        }
        assert_eq!((received, refused), (200 - lost, lost), "from {last} to {restart}");
    }
}

#[test]
fn copies_of_a_packet_are_no_restart() {
    let mut bed = Bed::new();
    for sequence in 1..200 {
        let (_, first) = bed.forward(INSIDE_RTP, AGENT, &rtp(7, sequence)).unwrap();
        assert_eq!(first[2..4], sequence.to_be_bytes(), "no offset");
        assert_eq!(
            bed.drop_of(INSIDE_RTP, AGENT, &rtp(7, sequence)),
            DropReason::IndexReused
        );
    }
}

#[test]
fn removed_flow_is_gone_and_its_id_is_no_other_flows() {
    let mut bed = Bed::new();
    bed.forward(INSIDE_RTP, AGENT, &rtp(7, 1)).unwrap();
    let stats = bed.table.remove(bed.id).unwrap();
    assert_eq!(stats.forwarded, [1, 0]);
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &rtp(7, 2)), DropReason::NoFlow);
    let next = bed.table.install(bed.now, spec(1, 2)).unwrap();
    assert_ne!(next, bed.id);
    assert!(bed.table.stats(bed.id).is_none() && bed.table.remove(bed.id).is_none());
    bed.table.update(bed.now, bed.id, spec(8, 8));
    assert!(
        bed.forward(INSIDE_RTP, AGENT, &rtp(7, 3)).is_ok(),
        "the new flow is untouched"
    );
}

#[test]
fn table_refuses_what_does_not_fit() {
    let mut bed = Bed::new();
    assert_eq!(bed.table.install(bed.now, spec(1, 2)), Err(FlowTableFull));
    let mut table = FlowTable::new(3, 1);
    assert_eq!(
        table.install(bed.now, spec(1, 2)),
        Err(FlowTableFull),
        "socket 3 is beyond"
    );
    assert!(table.is_empty());
}

#[test]
fn readings_come_for_active_sides_that_expect_media() {
    let mut bed = Bed::new();
    let sides = |bed: &mut Bed| {
        let mut out = Vec::new();
        bed.table.poll_quality(bed.now, &QualityThresholds::default(), &mut out);
        out.iter()
            .map(|reading| (reading.side, reading.verdict))
            .collect::<Vec<_>>()
    };
    let unknown = [(Side::Inside, Verdict::Unknown), (Side::Outside, Verdict::Unknown)];
    assert_eq!(sides(&mut bed), unknown);
    let mut held = spec(1, 2);
    held.legs[1].expects_media = false;
    bed.update(held.clone());
    bed.wait(3_000);
    assert_eq!(sides(&mut bed), [(Side::Inside, Verdict::Dead)]);
    held.active = false;
    bed.update(held);
    assert_eq!(sides(&mut bed), []);
}

#[test]
fn silence_both_ways_counts_only_while_media_is_expected() {
    let mut bed = Bed::new();
    let limit = Duration::from_secs(120);
    bed.wait(119_000);
    assert!(!bed.table.is_silent(bed.now, bed.id, limit));
    bed.forward(INSIDE_RTP, AGENT, &rtp(7, 1)).unwrap();
    bed.wait(119_000);
    assert!(!bed.table.is_silent(bed.now, bed.id, limit), "one side spoke");
    bed.wait(1_000);
    assert!(bed.table.is_silent(bed.now, bed.id, limit));
    let mut held = spec(1, 2);
    held.legs.iter_mut().for_each(|leg| leg.expects_media = false);
    bed.update(held);
    bed.wait(1_000_000);
    assert_eq!(bed.table.silent_for(bed.now, bed.id), None, "hold");
}

#[test]
fn no_flow_before_answer_and_not_media_are_dropped_by_name() {
    let mut bed = Bed::new();
    assert_eq!(bed.drop_of(SocketId(99), AGENT, &rtp(7, 1)), DropReason::NoFlow);
    for other in [&[0, 1][..], &[22, 254], &[]] {
        assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, other), DropReason::NotMedia);
    }
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &rtcp()), DropReason::NotMedia);
    assert_eq!(bed.drop_of(INSIDE_RTCP, AGENT, &rtp(7, 1)), DropReason::NotMedia);
    let mut early = spec(1, 2);
    early.active = false;
    bed.update(early);
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &rtp(7, 1)), DropReason::BeforeAnswer);
}

#[test]
fn malformed_rtp_and_malformed_rtcp_are_dropped_by_name() {
    let mut bed = Bed::new();
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &[0x80, 0, 0]), DropReason::MalformedRtp);
    let mut padded = rtp(7, 1);
    padded[0] |= 0x20;
    *padded.last_mut().unwrap() = 255;
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &padded), DropReason::MalformedRtp);
    assert_eq!(
        bed.drop_of(INSIDE_RTCP, "10.0.0.1:4001", &[0x80, 200, 0]),
        DropReason::MalformedRtcp
    );
    let cut = &rtcp()[..8];
    assert_eq!(
        bed.drop_of(INSIDE_RTCP, "10.0.0.1:4001", cut),
        DropReason::MalformedRtcp
    );
    let inside_srtcp = seal_rtcp(&mut SendContext::new(&key(2)), cut);
    assert_eq!(
        bed.drop_of(OUTSIDE_RTCP, PEER, &inside_srtcp),
        DropReason::MalformedRtcp,
        "authentic but malformed"
    );
}

#[test]
fn wrong_direction_and_rtcp_by_policy_are_dropped_by_name() {
    let mut spec = spec(1, 2);
    spec.legs[0].may_receive = false;
    let mut bed = Bed::with_spec(spec.clone());
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &rtp(7, 1)), DropReason::WrongDirection);
    assert!(
        bed.forward(INSIDE_RTCP, "10.0.0.1:4001", &rtcp()).is_ok(),
        "RTCP has no direction"
    );
    spec.relay_rtcp = false;
    bed.update(spec);
    assert_eq!(
        bed.drop_of(INSIDE_RTCP, "10.0.0.1:4001", &rtcp()),
        DropReason::RtcpByPolicy
    );
}

#[test]
fn source_not_signalled_and_no_remote_are_dropped_by_name() {
    let mut bed = Bed::new();
    assert_eq!(
        bed.drop_of(INSIDE_RTP, "10.0.0.1:4002", &rtp(7, 1)),
        DropReason::SourceNotSignalled
    );
    let mut nowhere = spec(1, 2);
    nowhere.legs[1].remote_rtp = None;
    bed.update(nowhere);
    assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &rtp(7, 1)), DropReason::NoRemote);
}

#[test]
fn no_key_lets_nothing_out_and_clear_media_never_passes_outside() {
    let mut keyless = spec(1, 2);
    keyless.legs[1].protection = Protection::Srtp {
        send: None,
        receive: Vec::new(),
    };
    let mut clear = spec(1, 2);
    clear.legs[1].protection = Protection::Plain;
    for spec in [keyless, clear] {
        let mut bed = Bed::with_spec(spec);
        assert_eq!(bed.drop_of(INSIDE_RTP, AGENT, &rtp(7, 1)), DropReason::NoKey);
        assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &rtp(7, 1)), DropReason::NoKey);
    }
}

#[test]
fn replayed_and_too_old_are_dropped_by_name() {
    let mut bed = Bed::new();
    let mut peer = SendContext::new(&key(2));
    let packets: Vec<_> = (1..=200).map(|sequence| seal(&mut peer, &rtp(7, sequence))).collect();
    bed.forward(OUTSIDE_RTP, PEER, &packets[199]).unwrap();
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &packets[199]), DropReason::Replayed);
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &packets[71]), DropReason::TooOld);
    assert!(bed.forward(OUTSIDE_RTP, PEER, &packets[72]).is_ok(), "127 behind");
}

#[test]
fn unencrypted_srtcp_is_dropped_by_name_though_authentic() {
    let mut bed = Bed::new();
    let clear = seal_rtcp(&mut SendContext::new(&key(2)).encrypt_srtcp(false), &rtcp());
    assert_eq!(bed.drop_of(OUTSIDE_RTCP, PEER, &clear), DropReason::UnencryptedSrtcp);
    let mut forged = clear;
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(bed.drop_of(OUTSIDE_RTCP, PEER, &forged), DropReason::AuthFailed);
}

#[test]
fn unknown_mki_and_payload_too_large_are_dropped_by_name() {
    let mut with_mki = spec(1, 2);
    let named = key(2).with_mki(&[1, 2]).unwrap();
    with_mki.legs[1].protection = Protection::Srtp {
        send: Some(key(1)),
        receive: vec![named],
    };
    let mut bed = Bed::with_spec(with_mki);
    let other = key(2).with_mki(&[1, 3]).unwrap();
    let protected = seal(&mut SendContext::new(&other), &rtp(7, 1));
    assert_eq!(bed.drop_of(OUTSIDE_RTP, PEER, &protected), DropReason::UnknownMki);
    let mut tight = rtp(7, 1);
    let len = tight.len();
    let dropped = bed.table.forward(bed.now, INSIDE_RTP, addr(AGENT), &mut tight, len);
    assert_eq!(dropped, Err(DropReason::PayloadTooLarge), "no room for the tag");
    assert_eq!(
        bed.drop_of(INSIDE_RTP, AGENT, &[0x80; 2049]),
        DropReason::PayloadTooLarge
    );
}

#[test]
fn auth_budget_stops_a_spray_but_not_the_signalled_source() {
    let mut bed = Bed::new();
    let forged = seal(&mut SendContext::new(&key(9)), &rtp(7, 1));
    for _ in 0..AUTH_BUDGET {
        assert_eq!(bed.drop_of(OUTSIDE_RTP, STRANGER, &forged), DropReason::AuthFailed);
    }
    assert_eq!(bed.drop_of(OUTSIDE_RTP, STRANGER, &forged), DropReason::AuthBudget);
    bed.wait(1_000);
    assert_eq!(
        bed.drop_of(OUTSIDE_RTP, STRANGER, &forged),
        DropReason::AuthFailed,
        "a new second"
    );
    for _ in 1..AUTH_BUDGET {
        bed.drop_of(OUTSIDE_RTP, STRANGER, &forged);
    }
    let genuine = seal(&mut SendContext::new(&key(2)), &rtp(7, 1));
    assert_eq!(bed.drop_of(OUTSIDE_RTP, NATTED, &genuine), DropReason::AuthBudget);
    assert!(bed.forward(OUTSIDE_RTP, PEER, &genuine).is_ok());
}

#[test]
fn short_and_random_packets_never_panic_nor_pass() {
    for suite in SrtpSuite::ALL {
        let mut bed = Bed::with_spec(spec_of(suite, 1, 2));
        for len in 0..64 {
            for first in [0x80_u8, 0x8f, 0x90, 0xb0, 0xbf] {
                for second in [0_u8, 96, 200, 201, 223, 255] {
                    let mut packet = vec![0xff; len];
                    packet
                        .iter_mut()
                        .zip([first, second])
                        .for_each(|(byte, value)| *byte = value);
                    for at in [OUTSIDE_RTP, OUTSIDE_RTCP] {
                        assert!(bed.forward(at, PEER, &packet).is_err());
                    }
                }
            }
        }
    }
}

/// A table with one flow, in virtual time.
struct Bed {
    table: FlowTable,
    id: FlowId,
    now: Now,
}

impl Bed {
    fn new() -> Self {
        Self::with_spec(spec(1, 2))
    }

    #[expect(clippy::disallowed_methods, reason = "an `Instant` can be had from the clock alone")]
    fn with_spec(spec: FlowSpec) -> Self {
        let now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let mut table = FlowTable::new(4, 1);
        let id = table.install(now, spec).unwrap();
        Self { table, id, now }
    }

    fn forward(&mut self, at: SocketId, from: &str, packet: &[u8]) -> Result<(Forward, Vec<u8>), DropReason> {
        let mut buf = with_room(packet);
        let forward = self.table.forward(self.now, at, addr(from), &mut buf, packet.len())?;
        buf.truncate(forward.len);
        Ok((forward, buf))
    }

    fn drop_of(&mut self, at: SocketId, from: &str, packet: &[u8]) -> DropReason {
        self.forward(at, from, packet)
            .expect_err("the packet should be dropped")
    }

    fn update(&mut self, spec: FlowSpec) {
        self.table.update(self.now, self.id, spec);
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
    }

    fn stats(&self) -> FlowStats {
        self.table.stats(self.id).unwrap()
    }
}

fn spec(send: u8, receive: u8) -> FlowSpec {
    spec_of(SUITE, send, receive)
}

fn spec_of(suite: SrtpSuite, send: u8, receive: u8) -> FlowSpec {
    let leg = |rtp, rtcp, remote: &str, protection| LegSpec {
        rtp,
        rtcp,
        remote_rtp: Some(addr(remote)),
        remote_rtcp: Some(SocketAddr::new(addr(remote).ip(), addr(remote).port() + 1)),
        protection,
        may_receive: true,
        expects_media: true,
    };
    let srtp = Protection::Srtp {
        send: Some(key_of(suite, send)),
        receive: vec![key_of(suite, receive)],
    };
    FlowSpec {
        legs: [
            leg(INSIDE_RTP, INSIDE_RTCP, AGENT, Protection::Plain),
            leg(OUTSIDE_RTP, OUTSIDE_RTCP, PEER, srtp),
        ],
        codec: CodecHint::default(),
        relay_rtcp: true,
        active: true,
    }
}

fn key(byte: u8) -> MasterKey {
    key_of(SUITE, byte)
}

fn key_of(suite: SrtpSuite, byte: u8) -> MasterKey {
    MasterKey::new(suite, &vec![byte; suite.key_len() + suite.salt_len()]).unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn rtp(content: u8, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 0, 0, 9]);
    packet.extend([content; 20]);
    packet
}

fn rtcp() -> Vec<u8> {
    vec![
        0x80, 200, 0, 6, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 1, 0, 0, 0, 20,
    ]
}

fn seal(context: &mut SendContext, packet: &[u8]) -> Vec<u8> {
    let mut buf = with_room(packet);
    let len = context.protect_rtp(&mut buf, packet.len()).unwrap();
    buf.truncate(len);
    buf
}

fn seal_rtcp(context: &mut SendContext, packet: &[u8]) -> Vec<u8> {
    let mut buf = with_room(packet);
    let len = context.protect_rtcp(&mut buf, packet.len()).unwrap();
    buf.truncate(len);
    buf
}

fn open(context: &mut ReceiveContext, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
    let mut buf = packet.to_vec();
    let len = context.unprotect_rtp(&mut buf, packet.len())?;
    buf.truncate(len);
    Ok(buf)
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    let mut buf = packet.to_vec();
    buf.resize(packet.len() + 200, 0);
    buf
}
