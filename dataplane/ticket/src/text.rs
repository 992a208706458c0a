//! The ticket's text form: base64url with `.` as its pad, in its one canonical spelling.
//!
//! Knows nothing of what the bytes mean. Source: RFC 4648 §5; draft-petithuguenin-vipr-sip-antispam-02 §5.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollgate_contract::TicketCause;

use crate::codec::{self, Decoded, Malformed};

/// Longest ticket accepted, in characters; the largest that can be well formed has 872 with a 4-byte salt.
pub const MAX_TEXT_LEN: usize = 1024;

/// Reads a ticket's text form: alphabet, padding, TLVs and fields. The MAC and the meaning are not checked.
///
/// A salt may have 4 to `salt_max` bytes.
///
/// # Errors
/// [`TicketCause::Syntax`] for anything that is not a well-formed ticket.
pub fn decode(text: impl AsRef<[u8]>, salt_max: usize) -> Result<Decoded, TicketCause> {
    decode_or_why(text.as_ref(), salt_max).map_err(|_: Malformed| TicketCause::Syntax)
}

/// Like [`decode`], but says what is wrong.
pub(crate) fn decode_or_why(text: &[u8], salt_max: usize) -> Result<Decoded, Malformed> {
    codec::parse(from_text(text)?, salt_max)
}

/// The text form of some bytes.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(bytes);
    while !text.len().is_multiple_of(4) {
        text.push('.');
    }
    text
}

/// The bytes of a text form: at most 1024 characters, padded to a multiple of four, unused bits zero.
fn from_text(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    if text.len() > MAX_TEXT_LEN {
        return Err(Malformed::TooLong);
    }
    if !text
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    {
        return Err(Malformed::Alphabet);
    }
    if !text.len().is_multiple_of(4) {
        return Err(Malformed::Padding);
    }
    let unpadded = text
        .strip_suffix(b"..")
        .or_else(|| text.strip_suffix(b"."))
        .unwrap_or(text);
    // The engine refuses a `.` left in the middle and set bits in the last character's unused part.
    URL_SAFE_NO_PAD.decode(unpadded).map_err(|_| Malformed::Padding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_where_base64_has_equal_signs() {
        assert_eq!(to_text(b"\xff\xff\xfe"), "___-");
        assert_eq!(to_text(b"\xff\xff"), "__8.");
        assert_eq!(to_text(b"\xff"), "_w..");
        for bytes in [&b"\xff\xff\xfe"[..], b"\xff\xff", b"\xff", b""] {
            assert_eq!(from_text(to_text(bytes).as_bytes()).unwrap(), bytes);
        }
    }

    #[test]
    fn any_spelling_but_the_canonical_one_is_refused() {
        for text in [
            "_w", "_w.", "_w==", "_w...", "__8", "_.w.", "._w.", "....", "_x..", "__9.", "_w..AAAA", "A...",
        ] {
            assert!(from_text(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn characters_outside_the_alphabet_are_refused() {
        for text in ["AA+A", "AA/A", "AA A", "AA,A", "AAA\n", "AAA\0", "AA*A", "ÄAA"] {
            assert_eq!(from_text(text.as_bytes()), Err(Malformed::Alphabet), "{text:?}");
        }
    }

    #[test]
    fn the_longest_text_has_1024_characters() {
        assert!(from_text(&[b'A'; 1024]).is_ok());
        assert_eq!(from_text(&[b'A'; 1028]), Err(Malformed::TooLong));
    }
}
