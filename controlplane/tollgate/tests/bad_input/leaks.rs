//! Looks for secrets in words, in every form they may take.

use std::collections::HashSet;

/// So many characters of a secret in a row are no accident.
const RUN: usize = 16;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Everything that must not be found.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    runs: HashSet<Vec<u8>>,
    known: Vec<String>,
}

impl Secrets {
    /// Bytes: in hexadecimal of both cases, in base64 of both alphabets at each of the three alignments, as a list of
    /// numbers, and raw.
    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add_text(&hex.to_uppercase());
        self.add_text(&hex);
        for skipped in 0..3 {
            for alphabet in [STANDARD, URL_SAFE] {
                self.add_text(&base64(&bytes[skipped..], alphabet));
            }
        }
        self.add_text(&format!("{bytes:?}"));
        self.add_text(&format!("{bytes:x?}"));
        self.runs.extend(bytes.windows(RUN).map(<[u8]>::to_vec));
    }

    /// Text.
    pub(crate) fn add_text(&mut self, text: &str) {
        assert!(text.len() >= RUN, "{text} is too short to be sure of");
        self.runs.extend(text.as_bytes().windows(RUN).map(<[u8]>::to_vec));
        self.known.push(text.to_owned());
    }

    /// The lines of a PEM text that hold its contents.
    pub(crate) fn add_pem(&mut self, pem: &str) {
        let body: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        self.add_text(&body.concat());
    }

    /// How many texts are known.
    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    /// None of it stands in the words.
    pub(crate) fn expect_absent(&self, whose: &str, words: &str) {
        let found = words.as_bytes().windows(RUN).position(|run| self.runs.contains(run));
        if let Some(at) = found {
            let line = words[..at].lines().count();
            let shown = String::from_utf8_lossy(&words.as_bytes()[at.saturating_sub(120)..(at + 60).min(words.len())]);
            panic!("{whose}, line {line}, holds a secret: …{shown}…");
        }
    }
}

fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let whole = three.iter().fold(0u32, |whole, byte| whole << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let characters = (0..=three.len()).map(|at| alphabet[(whole >> (18 - 6 * at)) as usize & 63]);
        text.extend(characters.map(char::from));
    }
    text
}

/// The bytes of a text in the URL-safe alphabet, as tickets are written.
pub(crate) fn ticket_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('.').as_bytes().chunks(4) {
        let value = |byte: &u8| URL_SAFE.iter().position(|known| known == byte).unwrap() as u32;
        let whole = four.iter().fold(0, |whole, byte| whole << 6 | value(byte)) << (6 * (4 - four.len()));
        bytes.extend_from_slice(&whole.to_be_bytes()[1..four.len()]);
    }
    bytes
}

#[test]
fn a_leak_in_any_form_is_found() {
    let mut secrets = Secrets::default();
    let secret: Vec<u8> = (1..=32).map(|at: u8| at.wrapping_mul(37)).collect();
    secrets.add_bytes(&secret);
    let shifted = base64(&[b"x", &secret[..]].concat(), STANDARD);
    let hex: String = secret.iter().map(|byte| format!("{byte:02X}")).collect();
    for leak in [shifted, hex, format!("{:?}", &secret[4..])] {
        let looked = std::panic::catch_unwind(|| secrets.expect_absent("test", &format!("level=info key={leak} ok")));
        assert!(looked.is_err(), "{leak}");
    }
    secrets.expect_absent("test", "level=info nothing to see here at all");
    assert_eq!(ticket_bytes(&base64(&secret, URL_SAFE)), secret);
}
