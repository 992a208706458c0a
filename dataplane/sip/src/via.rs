//! The Via header (RFC 3261 §20.42, RFC 3581).

use std::net::IpAddr;

use crate::scan::{host_port, is_lws, number, param, push_params, trim};
use crate::syntax::{Values, are_params, is_token_text};

/// One Via value, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'t> {
    /// `UDP`, `TCP`, `TLS`, …, as written.
    pub transport: &'t [u8],
    /// Host of sent-by, brackets included.
    pub host: &'t [u8],
    /// Port of sent-by, if written.
    pub port: Option<u16>,
    /// Parameters with their leading `;`.
    pub params: &'t [u8],
}

impl<'t> Via<'t> {
    /// The start of every branch made by RFC 3261 (§8.1.1.7).
    pub const MAGIC: &'static str = "z9hG4bK";

    /// Splits one Via value; `None` if it is malformed: another version, no host, an empty or repeated parameter, a branch
    /// that is empty or the magic alone, a `received` that is no address, an `rport` that is no port.
    #[must_use]
    pub fn parse(text: &'t [u8]) -> Option<Self> {
        let text = trim(text);
        let (name, rest) = slash_part(text)?;
        let (version, rest) = slash_part(rest)?;
        if !name.eq_ignore_ascii_case(b"SIP") || version != b"2.0" {
            return None;
        }
        let end = rest.iter().position(|byte| is_lws(*byte))?;
        let transport = rest.get(..end).filter(|name| is_token_text(name))?;
        let rest = trim(rest.get(end..)?);
        let params_at = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
        let (host, port) = host_port(trim(rest.get(..params_at)?))?;
        let via = Self {
            transport,
            host,
            port,
            params: rest.get(params_at..)?,
        };
        via.has_good_params().then_some(via)
    }

    /// RFC 3261 §20.42 and §8.1.1.7, RFC 3581 §3. `received` is read with brackets too (RFC 5118 §4.5).
    fn has_good_params(&self) -> bool {
        let good = |name: &str, is_good: fn(&[u8]) -> bool| param(self.params, name).is_none_or(is_good);
        are_params(self.params, Values::Header)
            && good("branch", |branch| {
                is_token_text(branch) && !branch.eq_ignore_ascii_case(Self::MAGIC.as_bytes())
            })
            && good("received", is_address)
            && good("rport", |port| {
                port.is_empty() || number(port).is_some_and(|port| port <= 65_535)
            })
            && good("ttl", |ttl| number(ttl).is_some_and(|ttl| ttl <= 255))
            && good("maddr", |host| host_port(host).is_some_and(|(_, port)| port.is_none()))
    }

    /// Whether the branch is of RFC 3261 and alone names the transaction (§17.2.3).
    #[must_use]
    pub fn has_magic_branch(&self) -> bool {
        self.branch()
            .and_then(|branch| branch.get(..Self::MAGIC.len()))
            .is_some_and(|head| head.eq_ignore_ascii_case(Self::MAGIC.as_bytes()))
    }

    /// The branch parameter, if it is there and not empty.
    #[must_use]
    pub fn branch(&self) -> Option<&'t [u8]> {
        param(self.params, "branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the sender asked for symmetric response routing (RFC 3581 §3).
    #[must_use]
    pub fn has_rport(&self) -> bool {
        param(self.params, "rport").is_some()
    }

    /// Whether sent-by is this address, so that no `received` is needed.
    #[must_use]
    pub fn is_sent_by(&self, ip: IpAddr) -> bool {
        let host = std::str::from_utf8(self.host).unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']').parse() == Ok(ip)
    }

    /// This value with `received` (and the value of `rport`, where asked for) set from where the request came from
    /// (RFC 3261 §18.2.1, RFC 3581 §4).
    #[must_use]
    pub fn with_source(&self, from: std::net::SocketAddr) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(b"SIP/2.0/");
        out.extend_from_slice(self.transport);
        out.push(b' ');
        out.extend_from_slice(self.host);
        if let Some(port) = self.port {
            out.extend_from_slice(format!(":{port}").as_bytes());
        }
        push_params(&mut out, self.params, &["received", "rport"]);
        if self.has_rport() || !self.is_sent_by(from.ip()) {
            out.extend_from_slice(format!(";received={}", from.ip()).as_bytes());
        }
        if self.has_rport() {
            out.extend_from_slice(format!(";rport={}", from.port()).as_bytes());
        }
        out
    }
}

/// An IP address, with or without the brackets of IPv6.
fn is_address(text: &[u8]) -> bool {
    let inner = text
        .strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"))
        .unwrap_or(text);
    std::str::from_utf8(inner).is_ok_and(|inner| inner.parse::<IpAddr>().is_ok())
}

fn slash_part(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = text.iter().position(|byte| *byte == b'/')?;
    Some((trim(text.get(..slash)?), trim(text.get(slash + 1..)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_via_with_white_space_around_its_slashes_parses() {
        let via = Via::parse(b"SIP / 2.0 / UDP  192.0.2.1:5061 ;rport;branch=z9hG4bKx").unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            (&b"UDP"[..], &b"192.0.2.1"[..], Some(5061))
        );
        assert_eq!(via.branch(), Some(&b"z9hG4bKx"[..]));
    }

    #[test]
    fn source_is_recorded_where_it_differs_or_was_asked_for() {
        let from = "198.51.100.7:40000".parse().unwrap();
        let via = Via::parse(b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx").unwrap();
        assert_eq!(
            via.with_source(from),
            b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx;received=198.51.100.7"
        );
        let via = Via::parse(b"SIP/2.0/UDP 198.51.100.7:5060;rport;branch=z9hG4bKx").unwrap();
        assert_eq!(
            via.with_source(from),
            b"SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bKx;received=198.51.100.7;rport=40000"
        );
    }

    #[test]
    fn received_is_read_with_brackets_and_without() {
        for received in ["[2001:db8::9:255]", "2001:db8::9:255", "192.0.2.1"] {
            let text = format!("SIP/2.0/UDP [2001:db8::9:1];received={received};branch=390skdjuw");
            let via = Via::parse(text.as_bytes()).unwrap();
            assert!(!via.has_magic_branch(), "{received}");
        }
        assert!(Via::parse(b"SIP/2.0/UDP h;branch=Z9HG4BKx").unwrap().has_magic_branch());
        assert!(!Via::parse(b"SIP/2.0/UDP h").unwrap().has_magic_branch());
    }

    #[test]
    fn malformed_values_are_none() {
        for bad in [
            &b"SIP/3.0/UDP h"[..],
            b"SIP/2.0 h",
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP [::1",
            b"HTTP/2.0/UDP h",
            b"SIP/2.0/UDP h;;",
            b"SIP/2.0/UDP h;branch=",
            b"SIP/2.0/UDP h;branch=z9hG4bK",
            b"SIP/2.0/UDP h;received=<script>;branch=z9hG4bK1",
            b"SIP/2.0/UDP h;rport=70000;branch=z9hG4bK1",
            b"SIP/2.0/UDP h;branch=z9hG4bK1;branch=z9hG4bK2",
            b"",
        ] {
            assert_eq!(Via::parse(bad), None, "{bad:?}");
        }
    }
}
