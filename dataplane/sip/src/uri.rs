//! SIP URIs, as far as the edge looks into them (RFC 3261 §19.1).

use crate::scan::{host_port, param, push_params};
use crate::syntax::{Values, are_params, are_uri_headers, is_userinfo};

/// The parts of a `sip:` or `sips:` URI, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipUri<'t> {
    /// `sip` or `sips`, as written.
    pub scheme: &'t [u8],
    /// The user part before `@`, escapes and user parameters included; `None` without `@`.
    pub user: Option<&'t [u8]>,
    /// Host, brackets of an IPv6 address included.
    pub host: &'t [u8],
    /// Port, if written.
    pub port: Option<u16>,
    /// Parameters with their leading `;`, without the `?headers`.
    pub params: &'t [u8],
    /// What follows `?`: fields that whoever dials the URI is to put into its request. `None` without `?`.
    pub headers: Option<&'t [u8]>,
}

impl<'t> SipUri<'t> {
    /// Splits a URI; `None` if it is not a SIP URI, or one with a letter, escape, host, port or parameter that the
    /// grammar does not have (RFC 3261 §25.1).
    #[must_use]
    pub fn parse(text: &'t [u8]) -> Option<Self> {
        let colon = text.iter().position(|byte| *byte == b':')?;
        let (scheme, rest) = (text.get(..colon)?, text.get(colon + 1..)?);
        if !scheme.eq_ignore_ascii_case(b"sip") && !scheme.eq_ignore_ascii_case(b"sips") {
            return None;
        }
        if rest.iter().any(|byte| crate::scan::is_lws(*byte)) {
            return None;
        }
        let (user, rest) = match rest.iter().position(|byte| *byte == b'@') {
            Some(at) => (Some(rest.get(..at)?), rest.get(at + 1..)?),
            None => (None, rest),
        };
        let (rest, headers) = match rest.iter().position(|byte| *byte == b'?') {
            Some(at) => (rest.get(..at)?, Some(rest.get(at + 1..)?)),
            None => (rest, None),
        };
        let params_at = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        let (authority, params) = rest.split_at_checked(params_at)?;
        let (host, port) = host_port(authority)?;
        let is_whole =
            user.is_none_or(is_userinfo) && are_params(params, Values::Uri) && headers.is_none_or(are_uri_headers);
        is_whole.then_some(Self {
            scheme,
            user,
            host,
            port,
            params,
            headers,
        })
    }

    /// The value of a URI parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'t [u8]> {
        param(self.params, name)
    }

    /// The host without brackets, as an IP address if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        let text = std::str::from_utf8(self.host).ok()?;
        text.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// The same user at another host: no port, and of the parameters only those that describe the user.
    #[must_use]
    pub fn at_host(&self, host: &str) -> Vec<u8> {
        let mut out = self.scheme.to_ascii_lowercase();
        out.push(b':');
        if let Some(user) = self.user {
            out.extend_from_slice(user);
            out.push(b'@');
        }
        out.extend_from_slice(host.as_bytes());
        push_params(&mut out, self.params, &["transport", "maddr", "ttl", "lr", "received"]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_uri_comes_apart() {
        let uri = SipUri::parse(b"sip:+14085551234;x=1@[2001:db8::1]:5061;transport=tls;user=phone?a=b").unwrap();
        assert_eq!(uri.user, Some(&b"+14085551234;x=1"[..]));
        assert_eq!(uri.port, Some(5061));
        assert_eq!(uri.param("transport"), Some(&b"tls"[..]));
        assert_eq!(uri.ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(uri.at_host("a.example"), b"sip:+14085551234;x=1@a.example;user=phone");
    }

    #[test]
    fn other_schemes_and_broken_hosts_are_none() {
        for bad in [
            &b"tel:+1408"[..],
            b"sip:",
            b"sip:a@",
            b"sip:a@h:99999",
            b"sip:a@h i",
            b"sip:a@h :5060",
            b"sip:@h",
            b"sip:a%zz@h",
            b"sip:a@h;;lr",
            b"sip:a@h; lr",
            b"sip:2001:db8::10",
            b"sip:a@b@c",
            b"sip:a\"b@h",
            b"http://x",
            b"",
        ] {
            assert_eq!(SipUri::parse(bad), None, "{bad:?}");
        }
    }
}
