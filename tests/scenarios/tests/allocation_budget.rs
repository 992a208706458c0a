//! Forwarding a packet allocates nothing, whatever the suite (style.md, rule 10).
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use tollgate_contract::{SrtpSuite, Way};
use tollgate_testkit::alloc::{CountingAllocator, allocations};
use tollgate_testkit::packet::{INSIDE_SSRC, OUTSIDE_SSRC, rtp};
use tollgate_testkit::{Setup, Trapezoid};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Packets each way that are measured; as many as fit before the sequence number rolls over, and over it.
const PACKETS: u16 = 10_000;

/// Packets each way before the measurement: contexts learn their SSRC.
const WARM_UP: u16 = 100;

#[test]
fn ten_thousand_packets_each_way_allocate_nothing() {
    for suite in SrtpSuite::ALL {
        let mut bed = Setup::default().build();
        bed.snapshot.media.suites = SrtpSuite::ALL.to_vec();
        let mut talk = bed.answered_with(Way::Outbound, suite);
        // The measured stretch crosses 65535 → 0.
        let sequences = (0..WARM_UP + PACKETS).map(|at| at.wrapping_add(60_000));
        let packets: Vec<[Vec<u8>; 2]> = sequences
            .map(|sequence| {
                [
                    rtp(INSIDE_SSRC, sequence),
                    talk.far.protect(&rtp(OUTSIDE_SSRC, sequence)),
                ]
            })
            .collect();
        let ends = [(talk.inside_port, bed.agent.media), (talk.outside_port, bed.peer.media)];
        let (warm_up, measured) = packets.split_at(usize::from(WARM_UP));
        assert_eq!(forward(&mut bed, ends, warm_up).0, usize::from(WARM_UP) * 2);
        let (forwarded, allocated) = forward(&mut bed, ends, measured);
        assert_eq!(forwarded, usize::from(PACKETS) * 2, "{suite}");
        assert_eq!(allocated, 0, "{suite}");
    }
}

#[test]
fn dropping_packets_allocates_nothing() {
    let mut bed = Setup::default().build();
    let talk = bed.answered(Way::Outbound);
    let forged: Vec<[Vec<u8>; 2]> = (0..PACKETS)
        .map(|n| [vec![n as u8; 40], rtp(u32::from(n), n)])
        .collect();
    let stranger: SocketAddr = "192.0.2.1:9".parse().expect("an address");
    let ends = [(talk.inside_port, stranger), (talk.outside_port, stranger)];
    forward(&mut bed, ends, &forged[..10]);
    assert_eq!(forward(&mut bed, ends, &forged), (0, 0));
}

#[test]
fn the_allocator_does_count() {
    let before = allocations();
    drop(std::hint::black_box(vec![0u8; 100]));
    assert_eq!(allocations() - before, 1);
}

/// Sends pairs of packets through the edge. Returns how many it passed on, and the allocations that took.
fn forward(bed: &mut Trapezoid, ends: [(SocketAddr, SocketAddr); 2], packets: &[[Vec<u8>; 2]]) -> (usize, u64) {
    let sockets = ends.map(|(at, _)| bed.socket_at(at).expect("a media address"));
    let (now, mut buffer, mut forwarded) = (bed.now(), [0u8; 2_048], 0);
    let before = allocations();
    for pair in packets {
        for ((packet, socket), (_, from)) in pair.iter().zip(sockets).zip(ends) {
            buffer[..packet.len()].copy_from_slice(packet);
            let passed = bed.table.handle_packet(now, socket, from, &mut buffer, packet.len());
            forwarded += usize::from(passed.is_some());
        }
    }
    (forwarded, allocations() - before)
}
