//! A spray of forged packets, each of another SSRC or source, costs a bounded number of checks and moves nothing.
#![forbid(unsafe_code)]

use std::time::Duration;

use tollgate_contract::Way;
use tollgate_media::{AUTH_BUDGET, DropReason};
use tollgate_testkit::Setup;
use tollgate_testkit::packet::rtp;

#[test]
fn a_spray_before_the_first_packet_spends_no_more_than_its_budget() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    for second in 1..=3u64 {
        for n in 0..5_000u32 {
            let mut forged = rtp(n, n as u16);
            forged.resize(182, 0xaa);
            let from = format!("192.0.2.{}:{}", n % 250 + 1, 1_024 + n)
                .parse()
                .expect("an address");
            assert_eq!(bed.packet(talk.outside_port, from, &forged), None);
        }
        assert_eq!(bed.drops(DropReason::AuthFailed), second * u64::from(AUTH_BUDGET));
        bed.wait(Duration::from_secs(1));
    }
    assert_eq!(bed.all_drops(), 15_000);
    bed.both_speak(&mut talk, 1);
}

#[test]
fn the_true_party_gets_through_in_the_midst_of_a_spray() {
    let mut bed = Setup::default().build();
    let mut talk = bed.answered(Way::Outbound);
    for n in 0..5_000u32 {
        let mut forged = rtp(n, n as u16);
        forged.resize(182, 0xaa);
        let from = "192.0.2.9:9".parse().expect("an address");
        assert_eq!(bed.packet(talk.outside_port, from, &forged), None);
    }
    assert!(bed.outside_speaks(&mut talk, 1), "its source is the signalled one");
    let before = bed.drops(DropReason::AuthFailed);
    let forged = rtp(7, 7);
    let from = "192.0.2.9:9".parse().expect("an address");
    assert_eq!(bed.packet(talk.outside_port, from, &forged), None);
    assert_eq!(
        bed.drops(DropReason::AuthFailed),
        before,
        "latched: strangers cost no crypto"
    );
}
