//! Domain names as tickets hold and compare them.
//!
//! Resolves nothing and knows no public suffixes. Source: RFC 5890 §2.3.1 (LDH labels).

/// Longest domain in a ticket, in characters (draft-petithuguenin-vipr-sip-antispam-02 §5).
const MAX_LEN: usize = 256;

/// Longest label (RFC 1035 §2.3.4).
const MAX_LABEL_LEN: usize = 63;

/// The domain in lower case and without a trailing dot; `None` unless it is made of LDH labels.
pub(crate) fn normalise(domain: &[u8]) -> Option<String> {
    if domain.len() > MAX_LEN {
        return None;
    }
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    if !domain.split(|byte| *byte == b'.').all(is_ldh_label) {
        return None;
    }
    String::from_utf8(domain.to_ascii_lowercase()).ok()
}

/// Whether one of `domains` is this normalised domain, whatever its case and with or without a trailing dot.
pub(crate) fn is_among(domain: &str, domains: &[String]) -> bool {
    domains
        .iter()
        .any(|known| known.strip_suffix('.').unwrap_or(known).eq_ignore_ascii_case(domain))
}

fn is_ldh_label(label: &[u8]) -> bool {
    (1..=MAX_LABEL_LEN).contains(&label.len())
        && label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && !label.starts_with(b"-")
        && !label.ends_with(b"-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_lowered_and_lose_their_trailing_dot() {
        assert_eq!(normalise(b"Peer.EXAMPLE.").unwrap(), "peer.example");
        assert_eq!(normalise(b"xn--bcher-kva.example").unwrap(), "xn--bcher-kva.example");
    }

    #[test]
    fn what_is_not_made_of_ldh_labels_is_refused() {
        let long_label = "a".repeat(64);
        for domain in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            "-a",
            "a-",
            "a_b",
            "*.example",
            "bücher.example",
            "a b",
            &long_label,
        ] {
            assert_eq!(normalise(domain.as_bytes()), None, "{domain}");
        }
    }

    #[test]
    fn a_domain_has_at_most_256_characters() {
        let of_len = |len: usize| ["a.".repeat(120), "a".repeat(len - 240)].concat();
        assert!(normalise(of_len(256).as_bytes()).is_some());
        assert_eq!(normalise(of_len(257).as_bytes()), None);
    }

    #[test]
    fn a_wildcard_is_not_a_match() {
        let domains = ["*.example".to_owned(), "Peer.example.".to_owned()];
        assert!(is_among("peer.example", &domains));
        assert!(!is_among("other.example", &domains));
    }
}
