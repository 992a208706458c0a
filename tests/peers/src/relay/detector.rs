//! Finds clear text in what passes.
//!
//! It decrypts nothing: it knows payloads and texts, not keys.

use std::sync::{RwLock, RwLockReadGuard};

use crate::payload::PayloadBook;

/// The payloads and texts that must not be seen.
#[derive(Debug)]
pub(super) struct Detector {
    book: PayloadBook,
    texts: RwLock<Texts>,
}

/// The end of what was seen of a stream, for texts cut in two.
#[derive(Debug, Default)]
pub(super) struct StreamScan {
    tail: Vec<u8>,
}

/// Texts by their first byte, so that sealed bytes cost one look each.
#[derive(Debug)]
struct Texts {
    by_first_byte: Vec<Vec<Vec<u8>>>,
    longest: usize,
}

impl Detector {
    pub(super) fn new(book: PayloadBook, texts: Vec<String>) -> Self {
        let detector = Self {
            book,
            texts: RwLock::new(Texts {
                by_first_byte: vec![Vec::new(); 256],
                longest: 0,
            }),
        };
        for text in texts.iter().map(String::as_str).chain([PLAIN_INVITE]) {
            detector.watch_text(text);
        }
        detector
    }

    pub(super) const fn book(&self) -> &PayloadBook {
        &self.book
    }

    /// Texts shorter than [`MIN_TEXT_LEN`] would be found in sealed bytes by chance and are not taken.
    pub(super) fn watch_text(&self, text: &str) {
        let bytes = text.as_bytes();
        let Some(first) = bytes.first().filter(|_| bytes.len() >= MIN_TEXT_LEN) else {
            return;
        };
        let mut texts = self.texts.write().expect("no holder of the lock panics");
        texts.longest = texts.longest.max(bytes.len());
        if let Some(known) = texts.by_first_byte.get_mut(usize::from(*first)) {
            known.push(bytes.to_vec());
        }
    }

    /// Whether a datagram holds a run of a payload or a watched text.
    pub(super) fn is_clear(&self, packet: &[u8]) -> bool {
        self.book.occurs_in(packet) || self.texts().count_in(packet, 0) > 0
    }

    /// How many watched texts end in these next bytes of a stream.
    pub(super) fn count_in_stream(&self, scan: &mut StreamScan, bytes: &[u8]) -> u64 {
        let texts = self.texts();
        let old_len = scan.tail.len();
        scan.tail.extend_from_slice(bytes);
        let found = texts.count_in(&scan.tail, old_len);
        let keep_from = scan.tail.len().saturating_sub(texts.longest.saturating_sub(1));
        scan.tail.drain(..keep_from);
        found
    }

    fn texts(&self) -> RwLockReadGuard<'_, Texts> {
        self.texts.read().expect("no holder of the lock panics")
    }
}

impl Texts {
    /// Counts texts that end after `old_len`.
    fn count_in(&self, bytes: &[u8], old_len: usize) -> u64 {
        let mut found = 0;
        for (at, first) in bytes.iter().enumerate() {
            let Some(candidates) = self.by_first_byte.get(usize::from(*first)) else {
                continue;
            };
            for text in candidates {
                if at + text.len() > old_len && bytes[at..].starts_with(text) {
                    found += 1;
                }
            }
        }
        found
    }
}

/// Always watched: the start of any INVITE.
const PLAIN_INVITE: &str = "INVITE sip";

/// Four given bytes occur by chance once in some four billion.
const MIN_TEXT_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cut_in_two_is_counted_once() {
        let detector = Detector::new(PayloadBook::new(), vec!["+14085550100".to_owned()]);
        let mut scan = StreamScan::default();
        assert_eq!(detector.count_in_stream(&mut scan, b"xx+1408555"), 0);
        assert_eq!(detector.count_in_stream(&mut scan, b"0100yy"), 1);
        assert_eq!(detector.count_in_stream(&mut scan, b"zz"), 0);
        assert!(scan.tail.len() < 12);
    }

    #[test]
    fn short_text_is_not_taken() {
        let detector = Detector::new(PayloadBook::new(), vec!["abc".to_owned()]);
        assert!(!detector.is_clear(b"xabcx"));
        assert!(detector.is_clear(b"INVITE sips:a"));
    }
}
