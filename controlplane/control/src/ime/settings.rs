//! What the line to the validator is made of: the policy's words, with its files read.
//!
//! Connects to nothing. Read once at start: a policy with other settings needs a restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tollgate_contract::Secret;
use tollgate_policy::{self as policy, CertificateFiles, ValidatorAddress, ValidatorProtocol};
use tollgate_validator::VServiceId;
use zeroize::Zeroizing;

use crate::learned::Source;

/// Where the validator is, what it speaks, and when it is given up.
#[derive(Clone, Debug)]
pub struct ValidatorSettings {
    /// Where it listens.
    pub address: ValidatorAddress,
    /// VAP and its terms; `None` for the feed.
    pub vap: Option<VapSettings>,
    /// User that must own its end of a Unix socket; root or our own where none is named.
    pub peer_uid: Option<u32>,
    /// TLS over TCP. Without it TCP is plain.
    pub tls: Option<TlsTerms>,
    /// Pause before it is tried again.
    pub reconnect: Duration,
    /// Silent for so long it is lost.
    pub silence: Duration,
    /// Most learned routes.
    pub routes_max: usize,
}

/// The terms of TLS: whom we trust, what we show, and the name that its certificate must bear.
#[derive(Clone)]
pub struct TlsTerms {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: ServerName<'static>,
}

impl fmt::Debug for TlsTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTerms")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The terms of VAP.
#[derive(Clone, Debug)]
pub struct VapSettings {
    /// Our user.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// The VService subscribed to.
    pub vservice: VServiceId,
    /// Life of a learned route.
    pub route_life: Duration,
}

/// A file of `[validator.tls]` is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// It cannot be read.
    #[error("{}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// It holds no PEM of the kind that is wanted.
    #[error("{}: no {what} in it", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate, key or roots are refused by the TLS library.
    #[error("validator.tls: {0}")]
    Refused(#[from] rustls::Error),
    /// No name for a certificate.
    #[error("validator.tls.server_name: {0}")]
    ServerName(#[from] InvalidDnsNameError),
}

impl ValidatorSettings {
    /// The settings of a policy. Reads the files of `[validator.tls]`.
    ///
    /// # Errors
    /// Any [`SettingsError`].
    pub fn load(validator: &policy::Validator, learned: &policy::Learned) -> Result<Self, SettingsError> {
        let vap = match &validator.protocol {
            ValidatorProtocol::Feed => None,
            ValidatorProtocol::Vap {
                username,
                password,
                vservice_id,
                route_life,
            } => Some(VapSettings {
                username: username.clone(),
                password: Secret::new(password.expose().as_bytes().to_vec()),
                vservice: VServiceId(*vservice_id),
                route_life: *route_life,
            }),
        };
        let tls = validator.tls.as_ref().map(|tls| {
            Ok::<_, SettingsError>(TlsTerms {
                config: client_config(&tls.files)?,
                server_name: ServerName::try_from(tls.server_name.clone())?,
            })
        });
        Ok(Self {
            address: validator.address.clone(),
            vap,
            peer_uid: validator.peer_uid,
            tls: tls.transpose()?,
            reconnect: validator.reconnect,
            silence: validator.silence,
            routes_max: learned.routes_max,
        })
    }

    /// Who the facts are of.
    #[must_use]
    pub const fn source(&self) -> Source {
        match self.vap {
            Some(_) => Source::Vap,
            None => Source::Feed,
        }
    }
}

/// Mutual TLS 1.2 or 1.3: we show our certificate, and trust the named authorities alone.
fn client_config(files: &CertificateFiles) -> Result<Arc<ClientConfig>, SettingsError> {
    let chain = certificates(&files.certificate, "certificate")?;
    let key = read(&files.private_key)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| SettingsError::NotPem {
        path: files.private_key.clone(),
        what: "private key",
    })?;
    let mut roots = RootCertStore::empty();
    for root in certificates(&files.trust_roots, "certificate of an authority")? {
        roots.add(root)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok(Arc::new(config))
}

fn certificates(path: &Path, what: &'static str) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    let path = path.to_owned();
    found.ok_or(SettingsError::NotPem { path, what })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SettingsError> {
    let path = path.to_owned();
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(why) => Err(SettingsError::Unreadable { path, why }),
    }
}
