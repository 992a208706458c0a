//! Domain names as validators and certificates name them.
//!
//! Resolves nothing and knows no public suffixes. Source: RFC 5890 §2.3.1 (LDH labels), RFC 1035 §2.3.4 (lengths).

use std::fmt;
use std::str::FromStr;

/// A domain in A-label form: lower case, no trailing dot, and no spelling of an IP address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

/// The text is not made of LDH labels, is too long, or would be read as an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a domain name in A-label form")]
pub struct InvalidDomain;

impl Domain {
    /// Longest name in characters (RFC 1035 §2.3.4, without the root's dot).
    pub const MAX_LEN: usize = 253;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Longest label (RFC 1035 §2.3.4).
const MAX_LABEL_LEN: usize = 63;

impl FromStr for Domain {
    type Err = InvalidDomain;

    /// Reads a name in any case, with or without its trailing dot.
    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > Self::MAX_LEN || !text.split('.').all(is_ldh_label) || is_address_like(text) {
            return Err(InvalidDomain);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn is_ldh_label(label: &str) -> bool {
    (1..=MAX_LABEL_LEN).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether resolvers would take the name for an IPv4 address: `127.1`, `2130706433`, `0x7f.1`.
fn is_address_like(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    is_number || hex.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Domain {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lowered_and_lose_their_trailing_dot() {
        let domain: Domain = "Peer.EXAMPLE.".parse().unwrap();
        assert_eq!(domain.as_str(), "peer.example");
        assert!("xn--bcher-kva.example".parse::<Domain>().is_ok());
    }

    #[test]
    fn what_is_not_made_of_ldh_labels_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "a";
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "*.example",
            "bücher.example",
            "a b",
            &long_label,
            &long_name,
        ] {
            assert_eq!(text.parse::<Domain>(), Err(InvalidDomain), "{text}");
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_refused() {
        for text in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0X7F.0x1",
            "a.0x",
            "192.0.2.4.",
        ] {
            assert_eq!(text.parse::<Domain>(), Err(InvalidDomain), "{text}");
        }
        assert!("0x7g.example".parse::<Domain>().is_ok() && "1.example".parse::<Domain>().is_ok());
    }
}
