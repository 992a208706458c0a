//! Seeded random packets through this crate and through an independent implementation, both ways.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tollgate_contract::SrtpSuite;
use tollgate_media::MasterKey;
use tollgate_media::srtp::{ReceiveContext, SendContext};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const PACKETS: u16 = 2000;
const SEED: u64 = 0x7011_6a7e;

#[test]
fn rtp_agrees_with_an_independent_implementation_both_ways() {
    for (suite, profile) in profiles() {
        let mut rng = StdRng::seed_from_u64(SEED);
        let (key, mut theirs_out, mut theirs_in) = ends(&mut rng, suite, profile);
        let (mut ours_out, mut ours_in) = (SendContext::new(&key), ReceiveContext::new(&key));
        for at in 0..PACKETS {
            let plain = random_rtp(&mut rng, at.wrapping_add(64_500));
            let mut ours = with_room(&plain);
            let protected_len = ours_out.protect_rtp(&mut ours, plain.len()).unwrap();
            let theirs = theirs_out.encrypt_rtp(&plain).unwrap();
            assert_eq!(ours[..protected_len], theirs[..], "seed {SEED:#x}, packet {at}");
            let mut buf = theirs.to_vec();
            let len = ours_in.unprotect_rtp(&mut buf, theirs.len()).unwrap();
            assert_eq!(buf[..len], plain, "seed {SEED:#x}, packet {at}: theirs to ours");
            assert_eq!(
                theirs_in.decrypt_rtp(&ours[..protected_len]).unwrap(),
                plain,
                "seed {SEED:#x}, packet {at}: ours to theirs"
            );
        }
    }
}

#[test]
fn rtcp_agrees_with_an_independent_implementation_both_ways() {
    for (suite, profile) in profiles() {
        let mut rng = StdRng::seed_from_u64(SEED);
        let (key, mut theirs_out, mut theirs_in) = ends(&mut rng, suite, profile);
        let (mut ours_out, mut ours_in) = (SendContext::new(&key), ReceiveContext::new(&key));
        for at in 0..PACKETS {
            let plain = random_rtcp(&mut rng);
            let mut ours = with_room(&plain);
            let protected_len = ours_out.protect_rtcp(&mut ours, plain.len()).unwrap();
            let theirs = theirs_out.encrypt_rtcp(&plain).unwrap();
            assert_eq!(ours[..protected_len], theirs[..], "seed {SEED:#x}, packet {at}");
            let mut buf = theirs.to_vec();
            let len = ours_in.unprotect_rtcp(&mut buf, theirs.len()).unwrap();
            assert_eq!(buf[..len], plain, "seed {SEED:#x}, packet {at}: theirs to ours");
            let back = theirs_in.decrypt_rtcp(&ours[..protected_len]).unwrap();
            assert_eq!(back, plain, "seed {SEED:#x}, packet {at}: ours to theirs");
        }
    }
}

fn profiles() -> [(SrtpSuite, ProtectionProfile); 2] {
    [
        (SrtpSuite::AesCm128HmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
        (SrtpSuite::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    ]
}

fn ends(rng: &mut StdRng, suite: SrtpSuite, profile: ProtectionProfile) -> (MasterKey, Context, Context) {
    let key_and_salt: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|_| rng.random()).collect();
    let key = MasterKey::new(suite, &key_and_salt).unwrap();
    let theirs = || Context::new(key.key(), key.salt(), profile, None, None).unwrap();
    let (outgoing, incoming) = (theirs(), theirs());
    (key, outgoing, incoming)
}

/// Any payload type outside the RTCP range, up to 15 CSRCs, and an extension of a private profile.
fn random_rtp(rng: &mut StdRng, sequence: u16) -> Vec<u8> {
    let csrcs: u8 = rng.random_range(0..16);
    let has_extension = rng.random_bool(0.3);
    let mut packet = vec![
        0x80 | csrcs | if has_extension { 0x10 } else { 0 },
        rng.random_range(0..64),
    ];
    packet.extend(sequence.to_be_bytes());
    packet.extend(rng.random::<u32>().to_be_bytes());
    packet.extend(0x5eed_u32.to_be_bytes());
    packet.extend((0..4 * usize::from(csrcs)).map(|_| rng.random::<u8>()));
    if has_extension {
        let words: u8 = rng.random_range(0..5);
        packet.extend([0x2b, 0x67, 0, words]);
        packet.extend((0..4 * usize::from(words)).map(|_| rng.random::<u8>()));
    }
    let payload_len = rng.random_range(1..400);
    packet.extend((0..payload_len).map(|_| rng.random::<u8>()));
    packet
}

/// A receiver report with up to 20 words of report.
fn random_rtcp(rng: &mut StdRng) -> Vec<u8> {
    let words: u8 = rng.random_range(1..20);
    let mut packet = vec![0x80, 201, 0, words];
    packet.extend(0x5eed_u32.to_be_bytes());
    packet.extend((0..4 * (usize::from(words) - 1)).map(|_| rng.random::<u8>()));
    packet
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    let mut buf = packet.to_vec();
    buf.resize(packet.len() + 64, 0);
    buf
}
