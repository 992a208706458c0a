//! Peers that speak raw TLS to an edge's outside listener: a client that may send anything, and a recording server.
//!
//! The client composes nothing and keeps no state, so a test decides every byte. RFC 5246 and RFC 8446 by `rustls`.

mod peer_server;
mod srtp_end;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certs::Identity;
use crate::framing::StreamFramer;
use crate::message::SipText;
use crate::tls::client_config;
pub use peer_server::{PeerAnswer, PeerServer, PeerServerConfig};
pub use srtp_end::{SdesKey, SrtpEnd, SrtpEndReport};

/// A TLS connection to an edge.
#[derive(Debug)]
pub struct RawClient {
    stream: TlsStream<TcpStream>,
    framer: StreamFramer,
}

/// What came of waiting for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A whole message, as it came.
    Message(Vec<u8>),
    /// The far side closed or broke the connection.
    Closed,
    /// Nothing whole in time.
    Silence,
}

/// Whom to connect to, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct RawTarget<'a> {
    /// The far side's address.
    pub address: SocketAddr,
    /// The domain its certificate must name.
    pub server_name: &'a str,
    /// The authority its certificate must come from.
    pub ca_pem: &'a str,
    /// The source address; `None` leaves it to the system.
    pub source: Option<SocketAddr>,
}

impl RawClient {
    /// Connects and completes the handshake, with a client certificate if an identity is given.
    ///
    /// With TLS 1.3 a refused client certificate shows only when reading.
    ///
    /// # Errors
    /// When the connection, either certificate or the handshake fails.
    pub async fn connect(target: RawTarget<'_>, identity: Option<&Identity>) -> io::Result<Self> {
        let config = client_config(target.ca_pem, identity)?;
        let name = ServerName::try_from(target.server_name.to_owned()).map_err(io::Error::other)?;
        let stream = match target.source {
            None => TcpStream::connect(target.address).await?,
            Some(source) => {
                let socket = if source.is_ipv4() {
                    TcpSocket::new_v4()?
                } else {
                    TcpSocket::new_v6()?
                };
                socket.bind(source)?;
                socket.connect(target.address).await?
            }
        };
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Self {
            stream,
            framer: StreamFramer::default(),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Waits for the next whole message, closure, or the end of `within`.
    pub async fn next_reply(&mut self, within: Duration) -> Reply {
        let deadline = Instant::now() + within;
        let mut buffer = vec![0; 16_384];
        loop {
            match self.framer.next_message() {
                Ok(Some(message)) => return Reply::Message(message),
                Ok(None) => {}
                Err(_) => return Reply::Closed,
            }
            match timeout_at(deadline, self.stream.read(&mut buffer)).await {
                Err(_) => return Reply::Silence,
                Ok(Ok(len @ 1..)) => self.framer.push(&buffer[..len]),
                Ok(Ok(0) | Err(_)) => return Reply::Closed,
            }
        }
    }

    /// Waits for the next response with a final status, passing over all else.
    pub async fn final_response(&mut self, within: Duration) -> Option<SipText> {
        let deadline = Instant::now() + within;
        loop {
            let Reply::Message(bytes) = self.next_reply(deadline - Instant::now()).await else {
                return None;
            };
            let message = SipText::parse(&bytes)?;
            if message.status().is_some_and(|status| status >= 200) {
                return Some(message);
            }
        }
    }
}

#[cfg(test)]
mod tests;
