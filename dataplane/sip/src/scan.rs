//! Small scanners over header text. Folded lines (CR LF and white space) count as white space throughout.

/// Whether a byte is white space within a header value, folds included.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether a byte may stand in a token (RFC 3261 §25.1).
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
        )
}

/// Cuts white space from both ends.
#[must_use]
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text {
        if !is_lws(*first) {
            break;
        }
        text = rest;
    }
    while let [rest @ .., last] = text {
        if !is_lws(*last) {
            break;
        }
        text = rest;
    }
    text
}

/// A header name without the blanks that may stand before its colon: spaces and tabs, never a line end (RFC 3261 §25.1,
/// HCOLON).
pub(crate) fn trim_name(mut name: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = name {
        name = rest;
    }
    name
}

/// Position of `wanted` outside quoted strings and outside `<…>`.
pub(crate) fn find_outside(text: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    let mut angles = 0u32;
    for (at, &byte) in text.iter().enumerate() {
        if escaped {
            escaped = false;
            continue;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            _ if byte == wanted && angles == 0 => return Some(at),
            b'<' => angles += 1,
            b'>' => angles = angles.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// The comma-separated values of a header, quotes and angle brackets respected, white space trimmed.
pub fn split_commas(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match find_outside(text, b',') {
            Some(at) => {
                rest = text.get(at + 1..);
                text.get(..at).map(trim)
            }
            None => {
                rest = None;
                Some(trim(text))
            }
        }
    })
}

/// The parameters of `;a=b;c` text, in order: name and value, the value empty if there is none.
pub(crate) fn params(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = find_outside(rest, b';')? + 1;
            let tail = rest.get(start..)?;
            let end = find_outside(tail, b';').unwrap_or(tail.len());
            rest = tail.get(end..).unwrap_or_default();
            let one = trim(tail.get(..end)?);
            if one.is_empty() {
                continue;
            }
            return Some(match find_outside(one, b'=') {
                Some(at) => (trim(one.get(..at)?), trim(one.get(at + 1..)?)),
                None => (one, &one[..0]),
            });
        }
    })
}

/// Writes the parameters of `;a=b;c` text again, but for those named in `without`.
pub(crate) fn push_params(out: &mut Vec<u8>, text: &[u8], without: &[&str]) {
    for (name, value) in params(text) {
        if without
            .iter()
            .any(|dropped| name.eq_ignore_ascii_case(dropped.as_bytes()))
        {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if !value.is_empty() {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
}

/// Writes one header field.
pub(crate) fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The value of one parameter of `;a=b;c` text; names compare without case.
#[must_use]
pub fn param<'t>(text: &'t [u8], name: &str) -> Option<&'t [u8]> {
    params(text)
        .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value)
}

/// A decimal number of digits only that fits `u32`; zeros in front count for nothing.
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = text.iter().take_while(|digit| **digit == b'0').count();
    let digits = text.get(zeros..).filter(|digits| digits.len() <= 10)?;
    let value = digits
        .iter()
        .fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    u32::try_from(value).ok()
}

/// A port number, 1 to 65535.
pub(crate) fn port(text: &[u8]) -> Option<u16> {
    number(text)
        .and_then(|value| u16::try_from(value).ok())
        .filter(|port| *port != 0)
}

/// Splits `host[:port]`, brackets of an IPv6 address kept in the host.
pub(crate) fn host_port(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let host_end = match text.first()? {
        b'[' => text.iter().position(|byte| *byte == b']')? + 1,
        _ => text.iter().position(|byte| *byte == b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(host_end)?;
    if !is_host(host) {
        return None;
    }
    match trim(rest) {
        [] => Some((host, None)),
        [b':', digits @ ..] => Some((host, Some(port(trim(digits))?))),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    match host {
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => {
            !host.is_empty()
                && host
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_angles_do_not_split() {
        let values: Vec<_> = split_commas(br#""a, b" <sip:x,y@h>, <sip:z@h> "#).collect();
        assert_eq!(values, [&br#""a, b" <sip:x,y@h>"#[..], b"<sip:z@h>"]);
    }

    #[test]
    fn parameters_are_found_without_case_and_with_spaces() {
        assert_eq!(param(b";Branch = z9 ;lr", "branch"), Some(&b"z9"[..]));
        assert_eq!(param(b";lr", "lr"), Some(&b""[..]));
        assert_eq!(param(b";tag=a", "ta"), None);
    }

    #[test]
    fn hosts_and_ports_are_strict() {
        assert_eq!(
            host_port(b"[2001:db8::1]:5060"),
            Some((&b"[2001:db8::1]"[..], Some(5060)))
        );
        assert_eq!(host_port(b"h.example"), Some((&b"h.example"[..], None)));
        for bad in [&b"[2001:db8::1"[..], b"h:65536", b"h:0", b"h:", b"", b"h h", b"[::g]"] {
            assert_eq!(host_port(bad), None, "{bad:?}");
        }
    }
}
