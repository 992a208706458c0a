//! Certificates for test enterprises: an authority, and identities good and bad in every way a test needs.
//!
//! It does not check certificates and keeps nothing on disk. Profile: RFC 5280, subject names as in RFC 5922 §7.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority with an ECDSA P-256 key that lives as long as the value.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// A certificate and its private key, both PEM. A mismatched pair is made by mixing two identities.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PKCS#8 PEM.
    pub key_pem: String,
}

/// When an issued certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From 2020 to 2090.
    Current,
    /// From 2001 to 2002.
    Expired,
    /// From 2089 to 2090.
    NotYetValid,
}

/// What a certificate shall say.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// dNSName entries; `*.` makes a wildcard.
    pub dns_names: &'a [&'a str],
    /// uniformResourceIdentifier entries, such as `sip:example.com`.
    pub uri_sans: &'a [&'a str],
    /// The common name, which must not count as an identity.
    pub common_name: &'a str,
    /// When it is valid.
    pub validity: Validity,
}

impl Authority {
    /// Makes an authority with a fresh key.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = p256_key();
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("the parameters are complete");
        Self {
            ca_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Issues a currently valid certificate with these subject alternative names.
    ///
    /// # Panics
    /// When a name is not ASCII.
    #[must_use]
    pub fn issue(&self, dns_names: &[&str], uri_sans: &[&str]) -> Identity {
        self.issue_subject(&Subject {
            dns_names,
            uri_sans,
            common_name: dns_names.first().copied().unwrap_or("no dns name"),
            validity: Validity::Current,
        })
    }

    /// Issues a certificate for `domain` outside its time of validity.
    #[must_use]
    pub fn issue_at(&self, domain: &str, validity: Validity) -> Identity {
        self.issue_subject(&Subject {
            dns_names: &[domain],
            uri_sans: &[],
            common_name: domain,
            validity,
        })
    }

    /// Issues a certificate that names `domain` only in its common name.
    #[must_use]
    pub fn issue_common_name_only(&self, domain: &str) -> Identity {
        self.issue_subject(&Subject {
            dns_names: &[],
            uri_sans: &[],
            common_name: domain,
            validity: Validity::Current,
        })
    }

    /// Issues a certificate for `*.domain`.
    #[must_use]
    pub fn issue_wildcard(&self, domain: &str) -> Identity {
        self.issue(&[&format!("*.{domain}")], &[])
    }

    /// Issues a certificate that says exactly what `subject` asks for.
    ///
    /// # Panics
    /// When a name is not ASCII.
    #[must_use]
    pub fn issue_subject(&self, subject: &Subject<'_>) -> Identity {
        let key = p256_key();
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(subject.common_name);
        let (from_year, to_year) = match subject.validity {
            Validity::Current => (2020, 2090),
            Validity::Expired => (2001, 2002),
            Validity::NotYetValid => (2089, 2090),
        };
        params.not_before = date_time_ymd(from_year, 1, 1);
        params.not_after = date_time_ymd(to_year, 1, 1);
        for name in subject.dns_names {
            let name = (*name).try_into().expect("test names are ASCII");
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        for uri in subject.uri_sans {
            let uri = (*uri).try_into().expect("test URIs are ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the parameters are complete");
        Identity {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.cert_pem.as_bytes())
            .collect::<Result<_, _>>()
            .expect("rcgen writes valid PEM")
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("rcgen writes valid PEM")
    }
}

/// A trust store of one authority.
pub(crate) fn trust_store(ca_pem: &str) -> std::io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(std::io::Error::other)?;
        roots.add(certificate).map_err(std::io::Error::other)?;
    }
    Ok(roots)
}

fn p256_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("the system has randomness")
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    #[test]
    fn issued_certificate_is_good_for_its_name_only() {
        let authority = Authority::new("test authority");
        let identity = authority.issue(&["a.example"], &["sip:a.example"]);
        assert!(is_good_for(&authority, &identity, "a.example"));
        assert!(!is_good_for(&authority, &identity, "b.example"));
        assert!(!is_good_for(&Authority::new("other"), &identity, "a.example"));
    }

    #[test]
    fn bad_variants_are_bad_in_their_own_way() {
        let authority = Authority::new("test authority");
        for validity in [Validity::Expired, Validity::NotYetValid] {
            assert!(!is_good_for(
                &authority,
                &authority.issue_at("a.example", validity),
                "a.example"
            ));
        }
        assert!(!is_good_for(
            &authority,
            &authority.issue_common_name_only("a.example"),
            "a.example"
        ));
        let wildcard = authority.issue_wildcard("a.example");
        assert!(is_good_for(&authority, &wildcard, "x.a.example"));
        assert!(!is_good_for(&authority, &wildcard, "a.example"));
    }

    #[test]
    fn key_of_another_identity_does_not_fit() {
        let authority = Authority::new("test authority");
        let (one, other) = (
            authority.issue(&["a.example"], &[]),
            authority.issue(&["a.example"], &[]),
        );
        let config = |chain, key| {
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain, key)
        };
        assert!(config(one.chain(), one.key()).is_ok());
        assert!(config(one.chain(), other.key()).is_err());
    }

    fn is_good_for(authority: &Authority, identity: &Identity, name: &str) -> bool {
        let roots = Arc::new(trust_store(authority.ca_pem()).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let chain = identity.chain();
        verifier
            .verify_server_cert(&chain[0], &[], &name, &[], UnixTime::now())
            .is_ok()
    }
}
