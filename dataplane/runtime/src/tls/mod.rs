//! TLS settings of one side: our certificate, the roots we trust, and the two rustls configurations made of them.
//!
//! No connection lives here. TLS 1.2 and 1.3 with AEAD suites only (RFC 9325 §4.2), no resumption, so that every
//! connection is judged by its own certificate.

mod current;
mod identity;
mod verifier;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub(crate) use current::CurrentTls;
pub use identity::{not_after_unix, peer_identity};

use verifier::SipDomainVerifier;

/// Whether those who connect to us must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They must, and it must lead to a trust root. The only choice outside.
    Required,
    /// They are not asked.
    NotAsked,
}

/// The contents of three PEM files.
#[derive(Clone, Copy)]
pub struct TlsPem<'a> {
    /// Our certificate first, then its intermediates.
    pub certificates: &'a [u8],
    /// The key of our certificate.
    pub key: &'a [u8],
    /// The roots that the other end's certificate must lead to.
    pub roots: &'a [u8],
}

/// Where the three PEM files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate first, then its intermediates.
    pub certificates: PathBuf,
    /// The key of our certificate.
    pub key: PathBuf,
    /// The roots that the other end's certificate must lead to.
    pub roots: PathBuf,
}

/// TLS of one side, ready for use in both roles.
#[derive(Clone)]
pub struct TlsSide {
    /// For connections accepted.
    pub(crate) server: Arc<ServerConfig>,
    /// For connections dialled.
    pub(crate) client: Arc<ClientConfig>,
    client_auth: ClientAuth,
    not_after_unix: u64,
    domains: Vec<String>,
}

/// Why TLS settings cannot be used. Never holds key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// There is no certificate in the PEM text.
    #[error("no certificate in the PEM text of our certificate chain")]
    NoCertificate,
    /// There is no private key in the PEM text.
    #[error("no private key in the PEM text of our key")]
    NoKey,
    /// There is no trust root in the PEM text.
    #[error("no certificate in the PEM text of the trust roots")]
    NoRoots,
    /// The PEM text is broken.
    #[error("broken PEM text in {what}")]
    BrokenPem {
        /// Which of the three.
        what: &'static str,
    },
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// Our certificate cannot be parsed.
    #[error("our certificate is not an X.509 certificate")]
    BadCertificate,
    /// A trust root cannot be used.
    #[error("unusable trust root: {0}")]
    BadRoot(String),
    /// The key is of a kind that is not supported.
    #[error("unusable private key")]
    BadKey,
    /// The TLS library refuses the settings.
    #[error("TLS settings refused: {0}")]
    Refused(String),
}

impl TlsSide {
    /// Reads the files and builds both roles.
    ///
    /// # Errors
    /// [`TlsError::Unreadable`] for a file, else as [`from_pem`](Self::from_pem).
    pub fn from_files(files: &TlsFiles, client_auth: ClientAuth) -> Result<Self, TlsError> {
        let [certificates, key, roots] = [read(&files.certificates)?, read(&files.key)?, read(&files.roots)?];
        Self::from_pem(
            &TlsPem {
                certificates: &certificates,
                key: &key,
                roots: &roots,
            },
            client_auth,
        )
    }

    /// Builds both roles of one side.
    ///
    /// # Errors
    /// Any [`TlsError`] but `Unreadable`: empty or broken PEM, a key that is not the certificate's, unusable roots.
    pub fn from_pem(pem: &TlsPem<'_>, client_auth: ClientAuth) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(pem.certificates, "our certificate chain")?;
        let Some(own) = chain.first() else {
            return Err(TlsError::NoCertificate);
        };
        let not_after_unix = not_after_unix(own).ok_or(TlsError::BadCertificate)?;
        let domains = peer_identity(own).map(|identity| identity.domains).unwrap_or_default();
        let key = private_key(pem.key)?;
        check_key(&chain, &key, &provider)?;
        let roots = Arc::new(trust_roots(pem.roots)?);
        Ok(Self {
            server: server_config(&provider, &roots, &chain, &key, client_auth)?,
            client: client_config(provider, roots, chain, key)?,
            client_auth,
            not_after_unix,
            domains,
        })
    }

    /// The end of our certificate's validity, seconds since 1970.
    #[must_use]
    pub const fn not_after_unix(&self) -> u64 {
        self.not_after_unix
    }

    /// The SIP domains that our certificate bears (RFC 5922 §7.1), lower case.
    #[must_use]
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Whether those who connect must show a certificate.
    #[must_use]
    pub const fn client_auth(&self) -> ClientAuth {
        self.client_auth
    }
}

impl fmt::Debug for TlsSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSide")
            .field("client_auth", &self.client_auth)
            .field("not_after_unix", &self.not_after_unix)
            .finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|why| TlsError::Unreadable {
        path: path.to_owned(),
        why,
    })
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::BrokenPem { what })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an enum of rustls-pki-types that may grow"
)]
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|why| match why {
        pem::Error::NoItemsFound => TlsError::NoKey,
        _ => TlsError::BrokenPem { what: "our key" },
    })
}

fn trust_roots(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(pem, "the trust roots")? {
        roots.add(root).map_err(|why| TlsError::BadRoot(why.to_string()))?;
    }
    if roots.is_empty() {
        Err(TlsError::NoRoots)
    } else {
        Ok(roots)
    }
}

fn check_key(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(), TlsError> {
    let signer = provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|_| TlsError::BadKey)?;
    match CertifiedKey::new(chain.to_vec(), signer).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::KeyMismatch),
        Err(_) => Err(TlsError::BadCertificate),
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    client_auth: ClientAuth,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let builder = match client_auth {
        ClientAuth::Required => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
                .build()
                .map_err(refused)?;
            builder.with_client_cert_verifier(verifier)
        }
        ClientAuth::NotAsked => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain.to_vec(), key.clone_key())
        .map_err(refused)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn client_config(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let algorithms = provider.signature_verification_algorithms;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(SipDomainVerifier { roots, algorithms }))
        .with_client_auth_cert(chain, key)
        .map_err(refused)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn refused(why: impl ToString) -> TlsError {
    TlsError::Refused(why.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};

    use super::*;

    fn pem() -> (String, String) {
        let Generated { cert, signing_key } = generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn build(certificates: &str, key: &str, roots: &str) -> Result<TlsSide, TlsError> {
        let pem = TlsPem {
            certificates: certificates.as_bytes(),
            key: key.as_bytes(),
            roots: roots.as_bytes(),
        };
        TlsSide::from_pem(&pem, ClientAuth::Required)
    }

    #[test]
    fn key_of_another_certificate_is_refused() {
        let ((certificate, _), (_, other_key)) = (pem(), pem());
        assert!(matches!(
            build(&certificate, &other_key, &certificate),
            Err(TlsError::KeyMismatch)
        ));
    }

    #[test]
    fn empty_texts_are_told_apart() {
        let (certificate, key) = pem();
        assert!(matches!(build("", &key, &certificate), Err(TlsError::NoCertificate)));
        assert!(matches!(build(&certificate, "", &certificate), Err(TlsError::NoKey)));
        assert!(matches!(build(&certificate, &key, ""), Err(TlsError::NoRoots)));
    }

    #[test]
    fn file_that_cannot_be_read_is_named() {
        let missing = PathBuf::from("/nonexistent/edge.pem");
        let files = TlsFiles {
            certificates: missing.clone(),
            key: missing.clone(),
            roots: missing,
        };
        let why = TlsSide::from_files(&files, ClientAuth::Required).unwrap_err();
        assert!(why.to_string().contains("/nonexistent/edge.pem"));
    }

    #[test]
    fn only_aead_suites_are_offered() {
        let (certificate, key) = pem();
        let side = build(&certificate, &key, &certificate).unwrap();
        for suite in &side.client.crypto_provider().cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.contains("GCM") || name.contains("POLY1305"), "{name}");
        }
        assert!(side.not_after_unix() > 1_900_000_000);
    }
}
