//! Bytes as lower-case hexadecimal digits, as ids and digests are written.
//!
//! Knows nothing of what the bytes mean; either case is read.

/// The digits of some bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(|half| DIGITS[usize::from(half)]).collect()
}

/// The bytes of an even number of digits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(byte).collect()
}

/// The bytes of exactly `2 * N` digits.
pub(crate) fn decode_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    decode(text)?.try_into().ok()
}

fn byte(pair: &[u8]) -> Option<u8> {
    let mut digits = pair.iter().map(|digit| char::from(*digit).to_digit(16));
    let value = digits.try_fold(0, |sum, digit| Some(sum * 16 + digit?))?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_return_to_their_bytes() {
        assert_eq!(encode(&[0x00, 0xc0, 0xff, 0xee]), "00c0ffee");
        assert_eq!(decode("00C0ffee"), Some(vec![0x00, 0xc0, 0xff, 0xee]));
        for text in ["0", "0g", "é", "+1", " 1"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(decode_exact::<2>("0102"), Some([1, 2]));
        assert_eq!(decode_exact::<2>("010203"), None);
    }
}
