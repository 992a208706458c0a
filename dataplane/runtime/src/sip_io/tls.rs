//! TLS sessions of connections: how they begin, how they fail, and whom they prove.
//!
//! The settings are [`crate::tls`]'s; the bytes move in `stream`.

use std::sync::Arc;

use rustls::pki_types::{DnsName, ServerName};
use rustls::{CertificateError, ClientConnection, Connection, Error, ServerConnection};
use tollgate_call::transport::{Dial, PeerIdentity};
use tollgate_contract::Side;

use crate::telemetry::HandshakeFailure;
use crate::tls::{TlsSide, peer_identity};

/// A session for a connection we accepted.
pub(super) fn accept(settings: &TlsSide) -> Result<Connection, Error> {
    ServerConnection::new(Arc::clone(&settings.server)).map(without_buffer_limit)
}

/// A session for a connection we dial.
///
/// A name is always a DNS name here, so that text in the form of an address never skips the name check; no name at
/// all is for the inside only.
pub(super) fn dial(settings: &TlsSide, dial: &Dial, remote: std::net::IpAddr) -> Result<Connection, HandshakeFailure> {
    let name = match (&dial.server_name, dial.side) {
        (Some(name), _) => DnsName::try_from(name.trim_end_matches('.').to_owned()).map(ServerName::DnsName),
        (None, Side::Inside) => Ok(ServerName::IpAddress(remote.into())),
        (None, Side::Outside) => return Err(HandshakeFailure::NameMismatch),
    };
    let name = name.map_err(|_| HandshakeFailure::NameMismatch)?;
    let session = ClientConnection::new(Arc::clone(&settings.client), name);
    session.map(without_buffer_limit).map_err(|why| failure_of(&why))
}

/// The connection's own queue is the bound; the session gets one message at a time.
fn without_buffer_limit(session: impl Into<Connection>) -> Connection {
    let mut session = session.into();
    session.set_buffer_limit(None);
    session
}

/// Whom the peer's certificate names, once the handshake is done.
pub(super) fn identity_of(session: &Connection) -> Option<Arc<PeerIdentity>> {
    session
        .peer_certificates()?
        .first()
        .and_then(peer_identity)
        .map(Arc::new)
}

/// The counter a handshake error belongs to.
#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of rustls that may grow")]
pub(super) fn failure_of(why: &Error) -> HandshakeFailure {
    match why {
        Error::InvalidCertificate(why) => certificate_failure(why),
        Error::NoCertificatesPresented => HandshakeFailure::NoCertificate,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeFailure::Incompatible,
        Error::AlertReceived(_) => HandshakeFailure::Alert,
        _ => HandshakeFailure::Protocol,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "an enum of rustls that may grow")]
fn certificate_failure(why: &CertificateError) -> HandshakeFailure {
    match why {
        CertificateError::UnknownIssuer => HandshakeFailure::UnknownCa,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            HandshakeFailure::NameMismatch
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => HandshakeFailure::Validity,
        _ => HandshakeFailure::BadCertificate,
    }
}
