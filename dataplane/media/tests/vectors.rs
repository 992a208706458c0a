//! The published and generated vectors of `tests/data/srtp` and `tests/data/quality`, case by case.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data fails")]

use serde_json::Value;
use tollgate_contract::SrtpSuite;
use tollgate_media::monitor::burst::BurstGap;
use tollgate_media::monitor::emodel::{
    Equipment, Impairment, delay_impairment_of, effective_equipment, mos, rating, simple_rating,
};
use tollgate_media::monitor::jitter::{JitterEstimator, arrival_units};
use tollgate_media::monitor::sequence::SequenceStats;
use tollgate_media::srtp::{
    ReceiveContext, SendContext, cm_iv, derive, derive_session_keys, gcm_open, gcm_rtcp_iv, gcm_rtp_iv, gcm_seal,
    keystream,
};
use tollgate_media::{DropReason, MasterKey};

const SUITES: [&str; 6] = [
    "aes_cm_128_hmac_sha1_80",
    "aes_cm_128_hmac_sha1_32",
    "aes_256_cm_hmac_sha1_80",
    "aes_256_cm_hmac_sha1_32",
    "aead_aes_128_gcm",
    "aead_aes_256_gcm",
];

#[test]
fn every_packet_is_protected_and_unprotected_to_the_byte() {
    let mut seen = 0;
    for name in SUITES.into_iter().chain(["libsrtp_driver_packets"]) {
        for case in list(&load(&format!("srtp/{name}.json")), "packets") {
            check_packet(case);
            seen += 1;
        }
    }
    assert!(seen > 390, "{seen} packets");
}

#[test]
fn every_sequence_is_received_as_told() {
    let mut seen = 0;
    for name in SUITES {
        for case in list(&load(&format!("srtp/{name}.json")), "sequences") {
            check_sequence(case);
            seen += 1;
        }
    }
    assert!(seen >= 70, "{seen} sequences");
}

#[test]
fn session_keys_are_those_of_rfc_3711_and_6188() {
    let file = load("srtp/rfc3711_rfc6188_kdf_keystream.json");
    for case in list(&file, "kdf") {
        let (key, salt) = (bytes(case, "master_key"), bytes(case, "master_salt"));
        if let Some(label) = case["label"].as_u64() {
            let mut out = vec![0; number(case, "length") as usize];
            derive(&key, &salt, label as u8, &mut out).unwrap();
            assert_eq!(out, bytes(case, "output"), "{}", case["id"]);
            continue;
        }
        let suite = if key.len() == 16 {
            SrtpSuite::AesCm128HmacSha1_80
        } else {
            SrtpSuite::AesCm256HmacSha1_80
        };
        let keys = derive_session_keys(&MasterKey::new(suite, &[key, salt].concat()).unwrap());
        for (kind, stream) in [("rtp", &keys.rtp), ("rtcp", &keys.rtcp)] {
            assert_eq!(
                stream.cipher_key,
                bytes(case, &format!("{kind}_cipher_key")),
                "{}",
                case["id"]
            );
            assert_eq!(
                stream.auth_key,
                bytes(case, &format!("{kind}_auth_key")),
                "{}",
                case["id"]
            );
            assert_eq!(stream.salt, bytes(case, &format!("{kind}_salt")), "{}", case["id"]);
        }
    }
}

#[test]
fn keystream_blocks_are_those_of_rfc_3711_and_6188() {
    let file = load("srtp/rfc3711_rfc6188_kdf_keystream.json");
    for case in list(&file, "keystream") {
        let salt: [u8; 14] = bytes(case, "session_salt").try_into().unwrap();
        let ssrc = u32::from_str_radix(text(case, "ssrc"), 16).unwrap();
        let iv = cm_iv(&salt, ssrc, number(case, "roc") << 16 | number(case, "seq"));
        assert_eq!(iv.to_vec(), bytes(case, "iv"));
        let mut out = vec![0; 0x1_0000 * 16];
        assert!(keystream(&bytes(case, "session_key"), &iv, &mut out));
        for (block, expected) in case["keystream_blocks"].as_object().unwrap() {
            let at = usize::from_str_radix(block, 16).unwrap() * 16;
            assert_eq!(
                out[at..at + 16],
                hex(expected.as_str().unwrap()),
                "{} block {block}",
                case["id"]
            );
        }
    }
}

#[test]
fn session_level_gcm_is_that_of_rfc_7714() {
    for case in list(&load("srtp/rfc7714_session_level.json"), "cases") {
        let (key, plain, protected) = (
            bytes(case, "session_key"),
            bytes(case, "plain"),
            bytes(case, "protected"),
        );
        let salt: [u8; 12] = bytes(case, "session_salt").try_into().unwrap();
        let ssrc = u32::from_str_radix(text(case, "ssrc"), 16).unwrap();
        let is_rtp = text(case, "kind") == "rtp";
        let iv = if is_rtp {
            gcm_rtp_iv(&salt, ssrc, number(case, "roc") << 16 | number(case, "seq"))
        } else {
            gcm_rtcp_iv(&salt, ssrc, number(case, "index") as u32)
        };
        assert_eq!(iv.to_vec(), bytes(case, "iv"), "{}", case["id"]);
        let clear = match (is_rtp, text(case, "mode")) {
            (true, _) => 12,
            (false, "encrypt") => 8,
            (false, _) => plain.len(),
        };
        let mut body = plain[clear..].to_vec();
        let tag = gcm_seal(&key, iv, &bytes(case, "aad"), &mut body).unwrap();
        let sealed = [&plain[..clear], &body, &tag].concat();
        assert_eq!(sealed, protected[..sealed.len()], "{}", case["id"]);
        assert!(gcm_open(&key, iv, &bytes(case, "aad"), &mut body, &tag));
        assert_eq!(body, plain[clear..], "{}", case["id"]);
    }
}

#[test]
fn dtls_key_block_is_cut_in_the_order_of_rfc_5764() {
    for case in list(&load("srtp/dtls_srtp_key_block.json"), "cases") {
        let pair = MasterKey::pair_from_dtls(suite(case), &bytes(case, "exporter_output")).unwrap();
        for (end, key) in ["client", "server"].into_iter().zip(pair) {
            assert_eq!(key.key(), bytes(case, &format!("{end}_key")), "{}", case["id"]);
            assert_eq!(key.salt(), bytes(case, &format!("{end}_salt")), "{}", case["id"]);
            let (mut buf, len) = with_room(&bytes(case, "plain"));
            let len = SendContext::new(&key).protect_rtp(&mut buf, len).unwrap();
            assert_eq!(buf[..len], bytes(case, &format!("{end}_protected")), "{}", case["id"]);
        }
    }
}

#[test]
fn loss_and_jitter_are_those_of_rfc_3550() {
    for case in list(&load("quality/jitter_loss.json"), "cases") {
        let (mut sequence, mut jitter) = (SequenceStats::default(), JitterEstimator::default());
        let rate = number(case, "clock_rate") as u32;
        for packet in list(case, "packets_seq_ts_arrival_us") {
            let field = |at: usize| packet[at].as_u64().unwrap();
            sequence.on_packet(field(0) as u16);
            jitter.on_packet(field(1) as u32, arrival_units(field(2), rate));
        }
        let (id, expected) = (&case["id"], &case["expected"]);
        assert_eq!(sequence.received(), number(expected, "received"), "{id}");
        assert_eq!(
            sequence.extended_highest_seq(),
            number(expected, "extended_highest_seq"),
            "{id}"
        );
        assert_eq!(sequence.expected(), number(expected, "expected"), "{id}");
        assert_eq!(
            sequence.cumulative_lost(),
            expected["cumulative_lost"].as_i64().unwrap(),
            "{id}"
        );
        assert_eq!(
            u64::from(sequence.fraction_lost()),
            number(expected, "fraction_lost_first_report"),
            "{id}"
        );
        assert_near(jitter.jitter(), &expected["jitter_float"], 1e-5, id);
        assert_near(jitter.peak(), &expected["jitter_peak_float"], 1e-5, id);
        assert_eq!(
            u64::from(jitter.reported()),
            number(expected, "jitter_integer_a8"),
            "{id}"
        );
    }
}

#[test]
fn bursts_and_gaps_are_those_of_rfc_3611() {
    for case in list(&load("quality/burst_gap.json"), "cases") {
        let mut counts = BurstGap::new(number(case, "gmin") as u32);
        for packet in text(case, "pattern").bytes() {
            match packet {
                b'1' => counts.on_received(),
                b'0' => counts.on_lost(1),
                _ => counts.on_discarded(),
            }
        }
        let (id, expected, totals) = (&case["id"], &case["expected"], counts.totals());
        for (name, value) in [
            ("packets", totals.packets),
            ("lost", totals.lost),
            ("discarded", totals.discarded),
            ("bursts", totals.bursts),
            ("burst_packets", totals.burst_packets),
            ("burst_lost_or_discarded", totals.burst_bad),
            ("gaps", totals.gaps),
            ("gap_packets", totals.gap_packets),
            ("gap_lost_or_discarded", totals.gap_bad),
            ("loss_rate_256", u64::from(totals.loss_rate_256())),
            ("discard_rate_256", u64::from(totals.discard_rate_256())),
        ] {
            assert_eq!(value, number(expected, name), "{id} {name}");
        }
        assert_near(totals.burst_density(), &expected["burst_density"], 1e-5, id);
        assert_near(totals.gap_density(), &expected["gap_density"], 1e-5, id);
        assert_near(totals.mean_burst_packets(), &expected["mean_burst_packets"], 1e-5, id);
        assert_near(totals.mean_gap_packets(), &expected["mean_gap_packets"], 1e-5, id);
    }
}

#[test]
fn ratings_are_those_of_g_107() {
    let file = load("quality/emodel.json");
    for case in list(&file, "cases") {
        let real = |name: &str| case[name].as_f64().unwrap();
        let equipment = Equipment {
            ie: real("Ie"),
            bpl: real("Bpl"),
        };
        let by = Impairment {
            one_way_ms: real("one_way_ms"),
            loss_percent: real("loss_percent"),
            burst_ratio: real("burst_ratio"),
        };
        let id = &case["id"];
        assert_near(effective_equipment(equipment, by), &case["Ie_eff"], 0.001, id);
        assert_near(delay_impairment_of(by.one_way_ms), &case["full"]["Id"], 0.001, id);
        assert_near(rating(equipment, by), &case["full"]["R"], 0.1, id);
        assert_near(mos(rating(equipment, by)), &case["full"]["MOS"], 0.01, id);
        assert_near(simple_rating(equipment, by), &case["simple"]["R"], 0.1, id);
        assert_near(mos(simple_rating(equipment, by)), &case["simple"]["MOS"], 0.01, id);
    }
    for pair in list(&file, "r_to_mos") {
        assert_near(mos(pair[0].as_f64().unwrap()), &pair[1], 0.001, pair);
    }
}

fn check_packet(case: &Value) {
    let (key, plain, protected) = (master_key(case), bytes(case, "plain"), bytes(case, "protected"));
    let roc = case["roc"].as_u64().unwrap_or(0) as u32;
    let index = case["index"].as_u64().unwrap_or(1) as u32;
    let is_encrypted = case["e_bit"].as_u64() != Some(0);
    let mut sender = SendContext::new(&key)
        .with_roc(roc)
        .with_srtcp_index(index)
        .encrypt_srtcp(is_encrypted);
    let mut receiver = ReceiveContext::new(&key)
        .with_roc(roc)
        .allow_unencrypted_srtcp(!is_encrypted);
    let (mut buf, len) = with_room(&plain);
    let is_rtp = text(case, "kind") == "rtp";
    let sent = if is_rtp {
        sender.protect_rtp(&mut buf, len)
    } else {
        sender.protect_rtcp(&mut buf, len)
    };
    assert_eq!(buf[..sent.unwrap()], protected, "{}", case["id"]);
    assert_eq!(receive(&mut receiver, is_rtp, &protected), Ok(plain), "{}", case["id"]);
    if !is_encrypted {
        let refused = receive(&mut ReceiveContext::new(&key), is_rtp, &protected);
        assert_eq!(refused, Err(DropReason::UnencryptedSrtcp), "{}", case["id"]);
    }
}

fn check_sequence(case: &Value) {
    let roc = number(case, "receiver_start_roc") as u32;
    let mut receiver = ReceiveContext::new(&master_key(case)).with_roc(roc);
    let is_rtp = text(case, "kind") == "rtp";
    for (at, event) in list(case, "events").iter().enumerate() {
        let result = receive(&mut receiver, is_rtp, &bytes(event, "packet"));
        match text(event, "expect") {
            "ok" => assert_eq!(result, Ok(bytes(event, "plain")), "{} event {at}", case["id"]),
            _ => assert!(result.is_err(), "{} event {at}: {}", case["id"], event["note"]),
        }
    }
}

fn receive(context: &mut ReceiveContext, is_rtp: bool, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
    let (mut buf, len) = with_room(packet);
    let len = if is_rtp {
        context.unprotect_rtp(&mut buf, len)
    } else {
        context.unprotect_rtcp(&mut buf, len)
    }?;
    buf.truncate(len);
    Ok(buf)
}

fn master_key(case: &Value) -> MasterKey {
    let key_and_salt = [bytes(case, "master_key"), bytes(case, "master_salt")].concat();
    MasterKey::new(suite(case), &key_and_salt)
        .unwrap()
        .with_mki(&bytes(case, "mki"))
        .unwrap()
}

fn suite(case: &Value) -> SrtpSuite {
    text(case, "suite").parse().unwrap()
}

fn with_room(packet: &[u8]) -> (Vec<u8>, usize) {
    let mut buf = packet.to_vec();
    buf.resize(packet.len() + 64, 0);
    (buf, packet.len())
}

fn load(name: &str) -> Value {
    let path = format!("{}/../../tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is no list"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text"))
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("{name} is no count"))
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex(text(value, name))
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn assert_near(value: f64, expected: &Value, tolerance: f64, id: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((value - expected).abs() <= tolerance, "{id}: {value} is not {expected}");
}
