//! The grammar of URIs and parameters, letter by letter (RFC 3261 §25.1): what is passed on must be read the same way by
//! everyone behind us.
//!
//! It finds no positions and keeps nothing; who splits a value asks here whether its parts may stand.

use crate::scan::{find_outside, is_lws, is_token, params};

/// Most parameters of one value: each is compared with those before it.
const MAX_PARAMS: usize = 64;

/// What the values of a parameter list may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Of a header field: a token, a host, or a quoted string.
    Header,
    /// Of a URI: its own letters and escapes.
    Uri,
}

/// Whether `;a=b;c` text is a list of parameters: each named, none twice (RFC 3261 §7.3.1), none with an empty value
/// after `=`. Empty text is an empty list.
pub(crate) fn are_params(text: &[u8], values: Values) -> bool {
    if text.is_empty() {
        return true;
    }
    if text.first() != Some(&b';') || has_empty_part(text) {
        return false;
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    for (name, value) in params(text) {
        let is_good = match values {
            Values::Header => is_token_text(name) && (value.is_empty() || is_gen_value(value)),
            Values::Uri => is_of(name, is_param_char) && is_escaped_text(value, is_param_char),
        };
        let is_repeated = seen.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !is_good || is_repeated || seen.len() >= MAX_PARAMS {
            return false;
        }
        seen.push(name);
    }
    true
}

/// Whether two `;` follow each other, one ends the text, or a `=` has nothing after it.
fn has_empty_part(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = find_outside(rest, b';') {
        let tail = rest.get(at + 1..).unwrap_or_default();
        let end = find_outside(tail, b';').unwrap_or(tail.len());
        let part = crate::scan::trim(tail.get(..end).unwrap_or_default());
        if part.is_empty() || part.last() == Some(&b'=') {
            return true;
        }
        rest = tail.get(end..).unwrap_or_default();
    }
    false
}

/// Whether text is a token.
pub(crate) fn is_token_text(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token(*byte))
}

/// A parameter's value: a quoted string, or printable letters that do not end or open anything. Wider than the token of
/// the grammar, since hosts, numbers and lists stand there too.
fn is_gen_value(text: &[u8]) -> bool {
    if text.first() == Some(&b'"') {
        return is_quoted_string(text);
    }
    text.iter()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b',' | b';' | b'\\'))
}

/// Whether text is one whole quoted string of UTF-8 (RFC 3261 §25.1); a backslash takes the next letter with it.
pub(crate) fn is_quoted_string(text: &[u8]) -> bool {
    let Some(inner) = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return false;
    };
    let mut is_escaped = false;
    for byte in inner {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !is_escaped && std::str::from_utf8(inner).is_ok()
}

/// Whether text may stand before `<`: nothing, a quoted string, or tokens. Letters beyond ASCII are taken unquoted too,
/// as many write them.
pub(crate) fn is_display_name(text: &[u8]) -> bool {
    if text.first() == Some(&b'"') {
        return is_quoted_string(text);
    }
    let may_stand = |byte: &u8| is_token(*byte) || is_lws(*byte) || !byte.is_ascii();
    text.iter().all(may_stand) && std::str::from_utf8(text).is_ok()
}

/// Whether text is the user part of a SIP URI, password included.
pub(crate) fn is_userinfo(text: &[u8]) -> bool {
    let may_stand = |byte| is_unreserved(byte) || b"&=+$,;?/:".contains(&byte);
    !text.is_empty() && is_escaped_text(text, may_stand)
}

/// Whether text is the part of a SIP URI after `?`.
pub(crate) fn are_uri_headers(text: &[u8]) -> bool {
    let may_stand = |byte| is_unreserved(byte) || b"[]/?:+$=&".contains(&byte);
    !text.is_empty() && is_escaped_text(text, may_stand)
}

/// Whether text is a URI of any scheme (RFC 2396 §3): a scheme, a colon, and letters a URI may have.
pub(crate) fn is_uri(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let (scheme, rest) = (
        text.get(..colon).unwrap_or_default(),
        text.get(colon + 1..).unwrap_or_default(),
    );
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    let may_stand = |byte| is_unreserved(byte) || b";/?:@&=+$,[]#".contains(&byte);
    is_scheme && !rest.is_empty() && is_escaped_text(rest, may_stand)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

const fn is_param_char(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

fn is_of(text: &[u8], may_stand: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && is_escaped_text(text, may_stand)
}

/// Letters of a class, and `%` only before two hexadecimal digits.
fn is_escaped_text(text: &[u8], may_stand: impl Fn(u8) -> bool) -> bool {
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (b'%', _) => return false,
            (byte, after) if may_stand(*byte) => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_named_once_and_not_empty() {
        for good in [&b""[..], b";lr", b";a=b ; c", b";a=\"x;y\";b=[::1]", b"; tag = 1"] {
            assert!(are_params(good, Values::Header), "{good:?}");
        }
        for bad in [
            &b";"[..],
            b";;",
            b";a;",
            b";a=",
            b";=b",
            b";a=1;A=2",
            b";a b",
            b";a=<x>",
            b";a=\"x",
            b"a",
        ] {
            assert!(!are_params(bad, Values::Header), "{bad:?}");
        }
        let many: Vec<u8> = (0..=MAX_PARAMS).flat_map(|at| format!(";p{at}").into_bytes()).collect();
        assert!(!are_params(&many, Values::Header));
    }

    #[test]
    fn an_escape_has_two_digits() {
        assert!(is_userinfo(b"b%20ob:pw") && is_userinfo(b"a;b=c?d/e"));
        for bad in [&b"b%zzob"[..], b"b%2", b"b%", b"a@b", b"a<b", b"a b", b""] {
            assert!(!is_userinfo(bad), "{bad:?}");
        }
        assert!(is_uri(b"soap.beep://192.0.2.103:3002") && is_uri(b"tel:+1-201-555-0123"));
        assert!(!is_uri(b"no-colon") && !is_uri(b":x") && !is_uri(b"x:") && !is_uri(b"a:b c") && !is_uri(b"1:x"));
    }

    #[test]
    fn a_quoted_string_ends_where_it_seems_to_and_is_utf8() {
        assert!(is_quoted_string(br#""a \" <b>""#) && is_quoted_string(b"\"\\\x00\""));
        for bad in [&br#""a"#[..], br#""a\""#, br#""a"b""#, b"\"\xc0\xaf\"", b"\""] {
            assert!(!is_quoted_string(bad), "{bad:?}");
        }
        assert!(is_display_name(b"A. Bell") && is_display_name(b"") && is_display_name("Ä".as_bytes()));
        assert!(!is_display_name(b"Bell, A") && !is_display_name(b"\"a\" b"));
    }
}
