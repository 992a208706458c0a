//! A connection to the validator, and whether who answers may be it.
//!
//! On a Unix socket the peer's user id is checked, over TLS its certificate; plain TCP only where the policy allows it.
//! Source: vap.md 2 and 11.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tollgate_policy::{HostPort, ValidatorAddress};

use super::settings::ValidatorSettings;

/// Until a connection stands, name look-up and TLS handshake included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Bytes both ways, whatever carries them.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Nobody listens, or the network fails.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A Unix socket of a user that is not trusted.
    #[error("the socket is user {0}'s")]
    PeerUid(u32),
    /// The TLS handshake failed: a certificate of another name, of no known authority, or ours is refused.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// It took too long.
    #[error("no connection within {} s", CONNECT_LIMIT.as_secs())]
    TimedOut,
}

impl ConnectError {
    /// The name in metrics and logs.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Io(_) => "connect",
            Self::PeerUid(_) => "peer_uid",
            Self::Tls(_) => "tls",
            Self::TimedOut => "connect_timeout",
        }
    }

    /// Whether somebody answers who may not be the validator: trying again soon will not help.
    pub(super) const fn is_refusal(&self) -> bool {
        match self {
            Self::PeerUid(_) | Self::Tls(_) => true,
            Self::Io(_) | Self::TimedOut => false,
        }
    }
}

/// Connects, and checks who answers.
pub(super) async fn connect(settings: &ValidatorSettings) -> Result<Box<dyn Wire>, ConnectError> {
    let connecting = async {
        match &settings.address {
            ValidatorAddress::Unix(path) => unix(path, settings.peer_uid).await,
            ValidatorAddress::Tcp(address) => tcp(address, settings).await,
        }
    };
    timeout(CONNECT_LIMIT, connecting)
        .await
        .unwrap_or(Err(ConnectError::TimedOut))
}

async fn unix(path: &Path, peer_uid: Option<u32>) -> Result<Box<dyn Wire>, ConnectError> {
    let stream = UnixStream::connect(path).await?;
    let uid = stream.peer_cred()?.uid();
    let is_trusted = match peer_uid {
        Some(wanted) => uid == wanted,
        None => uid == 0 || uid == rustix::process::geteuid().as_raw(),
    };
    if is_trusted {
        Ok(Box::new(stream))
    } else {
        Err(ConnectError::PeerUid(uid))
    }
}

async fn tcp(address: &HostPort, settings: &ValidatorSettings) -> Result<Box<dyn Wire>, ConnectError> {
    let stream = match address {
        HostPort::Address(address) => TcpStream::connect(address).await?,
        HostPort::Name { host, port } => TcpStream::connect((host.as_str(), *port)).await?,
    };
    // Acknowledgements are small and waited for.
    stream.set_nodelay(true)?;
    let Some(tls) = &settings.tls else {
        return Ok(Box::new(stream));
    };
    let connector = TlsConnector::from(tls.config.clone());
    let secured = connector.connect(tls.server_name.clone(), stream).await;
    Ok(Box::new(secured.map_err(ConnectError::Tls)?))
}
