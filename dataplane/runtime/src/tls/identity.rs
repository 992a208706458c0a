//! What a certificate says about its bearer: SIP domains and the end of its validity.
//!
//! Trust is not judged here. RFC 5922 §7.1, RFC 5280 §4.1.2.5 and §4.2.1.6.

use rustls_pki_types::CertificateDer;
use tollgate_call::transport::PeerIdentity;

/// The SIP domains a certificate bears: dNSName entries, and hosts of SAN URIs of scheme `sip` without a user part.
///
/// Wildcards, IP addresses, other URIs and the subject's common name never count. `None`: it bears none.
#[must_use]
pub fn peer_identity(certificate: &CertificateDer<'_>) -> Option<PeerIdentity> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut domains = Vec::new();
    let names = parsed.valid_dns_names().filter_map(canonical_domain);
    for domain in names.chain(parsed.valid_uri_names().filter_map(sip_uri_domain)) {
        if domains.len() < DOMAINS_MAX && !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    (!domains.is_empty()).then_some(PeerIdentity { domains })
}

/// The end of a certificate's validity, seconds since 1970; `None` when it cannot be read.
#[must_use]
pub fn not_after_unix(certificate: &CertificateDer<'_>) -> Option<u64> {
    let mut outer = Der(certificate);
    let mut certificate = Der(outer.take(SEQUENCE)?);
    let mut tbs = Der(certificate.take(SEQUENCE)?);
    if tbs.0.first() == Some(&VERSION) {
        tbs.take(VERSION)?;
    }
    // serialNumber, signature, issuer
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        tbs.take(tag)?;
    }
    let mut validity = Der(tbs.take(SEQUENCE)?);
    validity.take_any()?;
    match validity.take_any()? {
        (UTC_TIME, digits) => utc_time(digits),
        (GENERALIZED_TIME, digits) => generalized_time(digits),
        _ => None,
    }
}

/// A host name in the form names are compared in: lower case, no trailing dot. `None`: not a plain host name.
pub(crate) fn canonical_domain(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_plain = name.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    });
    // An address in dotted form has a last label of digits only; no domain has (RFC 3696 §2).
    let last = name.rsplit('.').next()?;
    (is_plain && name.len() <= 253 && !last.bytes().all(|b| b.is_ascii_digit())).then(|| name.to_ascii_lowercase())
}

/// RFC 5922 §7.1: a SIP URI without user part; a port or parameters do not matter.
fn sip_uri_domain(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let host_port = rest.split([';', '?']).next()?;
    let host = match host_port.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return None,
        None => host_port,
    };
    canonical_domain(host)
}

/// A reader over definite-length DER, for single-byte tags.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.take_any()
            .filter(|(found, _)| *found == tag)
            .map(|(_, value)| value)
    }

    fn take_any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut len = usize::from(first);
        if first >= 0x80 {
            let (bytes, after) = rest
                .split_at_checked(usize::from(first & 0x7f))
                .filter(|(b, _)| b.len() <= 4)?;
            len = bytes.iter().fold(0, |len, b| len << 8 | usize::from(*b));
            rest = after;
        }
        let (value, after) = rest.split_at_checked(len)?;
        self.0 = after;
        Some((tag, value))
    }
}

/// `YYMMDDHHMMSSZ`, years 1950 to 2049.
fn utc_time(digits: &[u8]) -> Option<u64> {
    let year = number(digits.get(..2)?)?;
    let century = if year < 50 { 2000 } else { 1900 };
    seconds(century + year, digits.get(2..)?)
}

/// `YYYYMMDDHHMMSSZ`.
fn generalized_time(digits: &[u8]) -> Option<u64> {
    seconds(number(digits.get(..4)?)?, digits.get(4..)?)
}

fn seconds(year: u64, rest: &[u8]) -> Option<u64> {
    let [mo1, mo2, d1, d2, h1, h2, mi1, mi2, s1, s2, b'Z'] = rest else {
        return None;
    };
    let [month, day] = [number(&[*mo1, *mo2])?, number(&[*d1, *d2])?];
    let [hour, minute, second] = [number(&[*h1, *h2])?, number(&[*mi1, *mi2])?, number(&[*s1, *s2])?];
    let days = days_since_1970(year, month, day)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days of the proleptic Gregorian calendar; `None` before 1970.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Counted in years that begin in March, so that the leap day is the last of its year.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days.checked_sub(DAYS_TO_1970)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

/// Names kept of one certificate. A certificate with more is cut short.
const DOMAINS_MAX: usize = 64;

/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "common.example");
        params.subject_alt_names = names;
        params.not_after = rcgen::date_time_ymd(2031, 3, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn identity_is_dns_names_and_hosts_of_userless_sip_uris() {
        let names = vec![
            dns("Edge.Example.COM"),
            uri("sip:b.example"),
            uri("SIP:c.example:5061;transport=tls"),
        ];
        let identity = peer_identity(&certificate(names)).unwrap();
        assert_eq!(identity.domains, ["edge.example.com", "b.example", "c.example"]);
    }

    #[test]
    fn users_other_schemes_wildcards_addresses_and_common_names_never_count() {
        let names = vec![
            uri("sip:alice@b.example"),
            uri("sips:b.example"),
            uri("https://b.example"),
            uri("sip:192.0.2.1"),
            dns("*.b.example"),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
        ];
        assert_eq!(peer_identity(&certificate(names)), None);
    }

    #[test]
    fn certificate_that_is_none_has_no_identity_and_no_end() {
        let garbage = CertificateDer::from(vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(peer_identity(&garbage), None);
        assert_eq!(not_after_unix(&garbage), None);
    }

    #[test]
    fn end_of_validity_is_read_in_both_forms() {
        assert_eq!(
            not_after_unix(&certificate(vec![dns("a.example")])),
            Some(1_930_089_600)
        );
        assert_eq!(utc_time(b"700101000000Z"), Some(0));
        assert_eq!(generalized_time(b"20000229235959Z"), Some(951_868_799));
        assert_eq!(generalized_time(b"2000022923595"), None);
    }

    #[test]
    fn every_prefix_of_a_certificate_is_read_without_panic() {
        let whole = certificate(vec![dns("a.example")]);
        for len in 0..whole.len() {
            let cut = CertificateDer::from(whole[..len].to_vec());
            assert_eq!(peer_identity(&cut), None);
            let _ = not_after_unix(&cut);
        }
    }
}
