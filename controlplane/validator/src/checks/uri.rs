//! The SIP URI of a learned route.
//!
//! Reads the one shape that routes have; calls are not its business. Sources: validator.md 6, vap.md 6
//! (draft-jennings-vipr-vap-02 §8.4.1), RFC 3261 §25.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RouteFault;
use crate::Domain;
use crate::facts::TargetHost;

/// Longest learned URI, in characters (draft-petithuguenin-vipr-pvp-02 §7.3).
pub const MAX_URI_LEN: usize = 614;

/// `sip:user@domain:port;maddr=host;transport=tcp`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedUri {
    /// The host part, in lower case.
    pub domain: Domain,
    /// The port, 1 to 65535.
    pub port: u16,
    /// The `maddr`; whether it may be called is not checked here.
    pub host: TargetHost,
}

impl LearnedUri {
    /// Reads a learned URI. Port and `maddr` must be there; an absent `transport` counts as `tcp`.
    ///
    /// # Errors
    /// The first [`RouteFault`] found.
    pub fn parse(text: &str) -> Result<Self, RouteFault> {
        if text.len() > MAX_URI_LEN {
            return Err(RouteFault::UriTooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(RouteFault::UriScheme)?;
        if !scheme.eq_ignore_ascii_case("sip") {
            return Err(RouteFault::UriScheme);
        }
        let (user, rest) = rest.split_once('@').ok_or(RouteFault::UriUser)?;
        if !is_user(user) {
            return Err(RouteFault::UriUser);
        }
        let mut parts = rest.split(';');
        let (domain, port) = host_and_port(parts.next().unwrap_or_default())?;
        let (maddr, transport) = parameters(parts)?;
        if transport.is_some_and(|transport| !transport.eq_ignore_ascii_case("tcp")) {
            return Err(RouteFault::Transport);
        }
        Ok(Self {
            domain,
            port,
            host: host(maddr.ok_or(RouteFault::MaddrMissing)?)?,
        })
    }
}

/// An address or a name. IPv6 stands in brackets in a URI, and may stand without elsewhere.
pub(super) fn host(text: &str) -> Result<TargetHost, RouteFault> {
    let ip = |ip: IpAddr| TargetHost::Ip(ip.to_canonical());
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Ok(ip(v4.into()));
    }
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(v6) = inner.unwrap_or(text).parse::<Ipv6Addr>() {
        return Ok(ip(v6.into()));
    }
    // Names that resolvers take for addresses are no domains, so `127.1` ends here.
    text.parse().map(TargetHost::Name).map_err(|_| RouteFault::MaddrSyntax)
}

/// RFC 3261 §25.1, user: unreserved, escaped, or one of `&=+$,;?/`; a password is not part of a route.
fn is_user(user: &str) -> bool {
    let mut bytes = user.bytes();
    while let Some(byte) = bytes.next() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
        let mut is_escape = || {
            let digits = [bytes.next(), bytes.next()];
            byte == b'%'
                && digits
                    .iter()
                    .flatten()
                    .filter(|digit| digit.is_ascii_hexdigit())
                    .count()
                    == 2
        };
        if !is_plain && !is_escape() {
            return false;
        }
    }
    !user.is_empty()
}

fn host_and_port(text: &str) -> Result<(Domain, u16), RouteFault> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let domain = host.parse().map_err(|_| RouteFault::UriHost)?;
    let port = port.ok_or(RouteFault::PortMissing)?;
    // `parse` alone would take `+5061`.
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RouteFault::PortRange);
    }
    let port = port.parse().ok().filter(|port| *port != 0);
    Ok((domain, port.ok_or(RouteFault::PortRange)?))
}

/// The `maddr` and `transport` of the parameters; others are allowed and not looked at.
fn parameters<'a>(parts: impl Iterator<Item = &'a str>) -> Result<(Option<&'a str>, Option<&'a str>), RouteFault> {
    let (mut maddr, mut transport) = (None, None);
    for part in parts {
        if part.is_empty() || !part.bytes().all(is_parameter_byte) {
            return Err(RouteFault::UriSyntax);
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let slot = match name {
            _ if name.eq_ignore_ascii_case("maddr") => &mut maddr,
            _ if name.eq_ignore_ascii_case("transport") => &mut transport,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(RouteFault::UriSyntax);
        }
    }
    Ok((maddr, transport))
}

/// RFC 3261 §25.1, paramchar and `=`; an escape's `%` too. A `?` would begin headers, which routes do not have.
fn is_parameter_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$%=".contains(&byte)
}
