//! The number a Request-URI asks for.
//!
//! Reads only as much of the URI as the ticket check needs; the host is not looked at. Source: RFC 3261 §19.1.1.

use tollgate_contract::E164;

/// The number of `sip:+number@host`, the user part percent-decoded once.
///
/// URI parameters such as `;user=phone` are allowed. `None` for another scheme, user parameters, a password, visual
/// separators, a number without `+`, or no host.
#[must_use]
pub fn number_of_request_uri(uri: &[u8]) -> Option<E164> {
    let (scheme, rest) = split_at_byte(uri, b':')?;
    if !scheme.eq_ignore_ascii_case(b"sip") {
        return None;
    }
    let (user, host) = split_at_byte(rest, b'@')?;
    // A second `@` could be read as the end of the user part by another parser.
    if host.is_empty() || host.contains(&b'@') || b";?".contains(host.first()?) {
        return None;
    }
    E164::parse(&percent_decoded(user)?).ok()
}

fn split_at_byte(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    let (before, after) = text.split_at_checked(at)?;
    Some((before, after.get(1..)?))
}

/// The text with `%XX` resolved; `None` for a broken escape or a result longer than a number can be.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    const LONGEST: usize = E164::MAX_DIGITS + 1;
    let mut decoded = Vec::with_capacity(LONGEST);
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if decoded.len() == LONGEST {
            return None;
        }
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let ([high, low], after) = rest.split_first_chunk()?;
        decoded.push((hex_digit(*high)? << 4) | hex_digit(*low)?);
        rest = after;
    }
    Some(decoded)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_whatever_follows_the_host() {
        for uri in [
            "sip:+14085550123@edge.example",
            "SIP:+14085550123@edge.example",
            "sip:+14085550123@edge.example:5061;user=phone;transport=tls",
            "sip:%2B14085550123@[2001:db8::1]",
            "sip:%2b1408555%3012%33@192.0.2.1?Subject=x",
        ] {
            assert_eq!(
                number_of_request_uri(uri.as_bytes()).unwrap().to_string(),
                "+14085550123",
                "{uri}"
            );
        }
    }

    #[test]
    fn what_is_not_a_plain_international_number_is_refused() {
        for uri in [
            "",
            "sip:",
            "sip:edge.example",
            "sip:@edge.example",
            "sip:14085550123@edge.example",
            "sips:+14085550123@edge.example",
            "tel:+14085550123",
            "sip:+1-408-555-0123@edge.example",
            "sip:+14085550123;phone-context=x@edge.example",
            "sip:+14085550123:secret@edge.example",
            "sip:%252B14085550123@edge.example",
            "sip:+14085550123%@edge.example",
            "sip:+14085550123%3@edge.example",
            "sip:+1408555012%zz@edge.example",
            "sip:+1234567890123456@edge.example",
            "sip:+@edge.example",
            "sip:+14085550123@",
            "sip:+14085550123@;user=phone",
            "sip:+14085550123@edge.example@other.example",
            "sip:alice@edge.example",
        ] {
            assert_eq!(number_of_request_uri(uri.as_bytes()), None, "{uri}");
        }
    }
}
