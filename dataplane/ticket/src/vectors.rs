//! Known tickets, byte for byte, and what the tests of this crate spoil.
//!
//! The table of good and bad tickets in `tests/data` is run by the testkit's vector runner, not here.
//! Source: ticket.md 5.

use std::time::Duration;

use tollgate_contract::{
    DeniedTickets, KeyState, Keyring, MacCoverage, PeerPolicy, Secret, TicketAlg, TicketCause, TicketFailureAction,
    TicketHeader, TicketKey, TicketRules,
};

use crate::codec::{self, Ticket};
use crate::key::Mac;
use crate::text::{decode, to_text};
use crate::{Grant, Request, Verified, issue, verify};

/// TLVs 1 to 8 of the known ticket.
pub(crate) const BODY: &str = "000100106ba7b8109dad41d180b400c04fd430c800020004a1b2c3d400030010ed00378000000000\
    eee16b00000000000004000c2b3134303835353535343332000500108e60f5fab753037f64ab6c53947fd5320006000b6578616d706c652e\
    6e65740007000b6578616d706c652e636f6d0008000400000001";

const TEXT_V1: &str = "AAEAEGunuBCdrUHRgLQAwE_UMMgAAgAEobLD1AADABDtADeAAAAAAO7hawAAAAAAAAQADCsxNDA4NTU1NTQzMgAF\
    ABCOYPX6t1MDf2SrbFOUf9UyAAYAC2V4YW1wbGUubmV0AAcAC2V4YW1wbGUuY29tAAgABAAAAAEACQAUb0hFbl2u3ZEnljPp5vkGk5ifr8g.";

const TEXT_V2: &str = "AAEAEGunuBCdrUHRgLQAwE_UMMgAAgAEobLD1AADABDtADeAAAAAAO7hawAAAAAAAAQADCsxNDA4NTU1NTQzMgAF\
    ABCOYPX6t1MDf2SrbFOUf9UyAAYAC2V4YW1wbGUubmV0AAcAC2V4YW1wbGUuY29tAAgABAAAAAGACQAgbsF9Vwieqo7XBCnZpUFGrUL653UL1TyV\
    _edcTKlxi7I.";

const NODE: &str = "8e60f5fab753037f64ab6c53947fd532";

#[test]
fn both_known_tickets_are_issued_character_by_character() {
    for (alg, text) in [(TicketAlg::ViprHmacSha1, TEXT_V1), (TicketAlg::V2HmacSha256, TEXT_V2)] {
        let node = from_hex(NODE).try_into().unwrap();
        let grant = Grant::new(
            "+14085555432".parse().unwrap(),
            validity(),
            node,
            "example.net",
            "example.com",
        )
        .unwrap();
        let issued = issue(
            &key(alg),
            MacCoverage::BeforeIntegrity,
            &grant,
            [0xa1, 0xb2, 0xc3, 0xd4],
            uuid(),
        );
        assert_eq!(issued, text);
    }
    assert_eq!((TEXT_V1.len(), TEXT_V2.len()), (196, 212));
}

#[test]
fn macs_of_the_known_body_have_their_values() {
    let with_header = [&from_hex(BODY)[..], &codec::integrity_header(TicketAlg::ViprHmacSha1)].concat();
    let (body, hex_key, password) = (
        from_hex(BODY),
        key(TicketAlg::ViprHmacSha1).secret,
        b"password1234".to_vec(),
    );
    let password = Secret::new(password);
    let v1 = TicketAlg::ViprHmacSha1;
    for (alg, secret, signed, mac) in [
        (v1, &hex_key, &body, "6f48456e5daedd91279633e9e6f90693989fafc8"),
        (v1, &hex_key, &with_header, "fc1492b10e0b9863fd43a842988184b72dd75392"),
        (v1, &password, &body, "25d1ec94d25f4d24ad8460c83d462d95e1f0f59d"),
        (v1, &password, &with_header, "b3b0fc0996ce3155ae29de83e85e5da8536335f5"),
        (
            TicketAlg::V2HmacSha256,
            &hex_key,
            &body,
            "6ec17d57089eaa8ed70429d9a54146ad42fae7750bd53c95fde75c4ca9718bb2",
        ),
    ] {
        let computed = Mac::compute(alg, secret, &[0xa1, 0xb2, 0xc3, 0xd4], 1, signed);
        assert_eq!(hex(computed.as_bytes()), mac);
    }
}

#[test]
fn random_bytes_never_panic_and_never_pass() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..50_000 {
        let len = (random.next() % 1_100) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let in_text_form = random.next() & 1 == 0;
        if in_text_form {
            bytes = to_text(&bytes).into_bytes();
        }
        assert_eq!(decode(&bytes, 32).map(drop), Err(TicketCause::Syntax));
    }
}

#[test]
fn damaged_tickets_never_panic_and_never_pass() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..50_000 {
        let alg = if random.next() & 1 == 0 {
            TicketAlg::ViprHmacSha1
        } else {
            TicketAlg::V2HmacSha256
        };
        let good = bytes_of(if alg == TicketAlg::ViprHmacSha1 {
            TEXT_V1
        } else {
            TEXT_V2
        });
        let mut bytes = good.clone();
        for _ in 0..=random.next() % 4 {
            let at = random.next() as usize % bytes.len();
            match random.next() % 4 {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, random.next() as u8),
                2 => drop(bytes.drain(at..=at)),
                _ => bytes[at] = random.next() as u8,
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        let mut case = Case::good(alg);
        case.rules.salt_max = 32;
        case.tickets = vec![to_text(&bytes)];
        assert_eq!(case.run().is_ok(), bytes == good);
    }
}

/// A request with its surroundings, to be spoiled one part at a time.
pub(crate) struct Case {
    pub(crate) rules: TicketRules,
    pub(crate) peers: PeerPolicy,
    pub(crate) local_domains: Vec<String>,
    pub(crate) now_unix: Duration,
    pub(crate) tickets: Vec<String>,
    pub(crate) peer_domains: Vec<String>,
    pub(crate) request_uri: String,
}

impl Case {
    /// The known ticket of an algorithm, in the middle of its validity, called by its owner.
    pub(crate) fn good(alg: TicketAlg) -> Self {
        let text = match alg {
            TicketAlg::ViprHmacSha1 => TEXT_V1,
            TicketAlg::V2HmacSha256 => TEXT_V2,
        };
        Self {
            rules: rules(vec![key(alg)]),
            peers: PeerPolicy::default(),
            local_domains: vec!["example.net".to_owned()],
            now_unix: unix("2026-06-01T12:00:00Z"),
            tickets: vec![text.to_owned()],
            peer_domains: vec!["example.com".to_owned()],
            request_uri: "sip:+14085555432@example.net;user=phone".to_owned(),
        }
    }

    pub(crate) fn run(&self) -> Result<Verified, TicketCause> {
        let values: Vec<&[u8]> = self.tickets.iter().map(String::as_bytes).collect();
        let request = Request {
            ticket_values: &values,
            peer_domains: &self.peer_domains,
            request_uri: self.request_uri.as_bytes(),
        };
        verify(&self.rules, &self.peers, &self.local_domains, self.now_unix, &request)
    }
}

/// The configured key of the known tickets, for one algorithm.
pub(crate) fn key(alg: TicketAlg) -> TicketKey {
    TicketKey {
        epoch: 1,
        alg,
        secret: Secret::new((0..16).collect()),
        not_before: Duration::ZERO,
        accept_until: unix("2030-01-01T00:00:00Z"),
        state: KeyState::Live,
    }
}

pub(crate) fn ring(keys: Vec<TicketKey>) -> Keyring {
    let mut ring = Keyring::default();
    keys.into_iter().for_each(|key| ring.add(key).unwrap());
    ring
}

pub(crate) fn validity() -> (Duration, Duration) {
    (unix("2026-01-01T00:00:00Z"), unix("2027-01-01T00:00:00Z"))
}

pub(crate) fn uuid() -> [u8; 16] {
    from_hex("6ba7b8109dad41d180b400c04fd430c8").try_into().unwrap()
}

/// The known ticket of version 1 with another salt, and the MAC to it.
pub(crate) fn with_salt(salt: &[u8]) -> String {
    let ticket = decode(TEXT_V1, 4).unwrap().ticket;
    let key = key(TicketAlg::ViprHmacSha1);
    let mut bytes = codec::body(&Ticket {
        salt: salt.to_vec(),
        ..ticket
    });
    let mac = Mac::compute(key.alg, &key.secret, salt, key.epoch, &bytes);
    bytes.extend_from_slice(&codec::integrity_header(key.alg));
    bytes.extend_from_slice(mac.as_bytes());
    to_text(&bytes)
}

pub(crate) fn bytes_of(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('.'))
        .unwrap()
}

pub(crate) fn from_hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rules(keys: Vec<TicketKey>) -> TicketRules {
    TicketRules {
        keyring: ring(keys),
        clock_skew: Duration::ZERO,
        salt_max: 4,
        mac_covers: MacCoverage::BeforeIntegrity,
        denied: DeniedTickets::default(),
        enrolled: None,
        header: TicketHeader::CiscoUcIme,
        on_failure: TicketFailureAction::Reject,
    }
}

/// A time in the form of RFC 3339, found among the seconds of 1970 to 2100.
fn unix(text: &str) -> Duration {
    let (mut low, mut high) = (0_u64, 4_102_444_800_u64);
    while low < high {
        let middle = low.midpoint(high);
        if crate::time::rfc3339(Duration::from_secs(middle)).as_str() < text {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    assert_eq!(crate::time::rfc3339(Duration::from_secs(low)), text);
    Duration::from_secs(low)
}

/// SplitMix64, so that every run sees the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
