//! TLS settings of the peers, for both ends of a connection.
//!
//! No connection lives here. Certificates are asked for both ways and judged by `rustls` alone.

use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ServerConfig};

use crate::certs::{Identity, trust_store};

/// For connections dialled: the far end must come from the authority; `identity` is shown if asked for.
pub(crate) fn client_config(ca_pem: &str, identity: Option<&Identity>) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(trust_store(ca_pem)?);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain(), identity.key())
            .map_err(io::Error::other),
    }
}

/// For connections accepted: who connects must show a certificate of the authority.
pub(crate) fn server_config(ca_pem: &str, identity: &Identity) -> io::Result<ServerConfig> {
    let roots = Arc::new(trust_store(ca_pem)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(io::Error::other)?;
    ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())
        .map_err(io::Error::other)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
