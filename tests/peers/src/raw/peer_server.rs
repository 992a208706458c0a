//! A recording TLS peer: it takes what an edge sends outside and answers as told.
//!
//! It checks certificates against its authority, and no ticket, dialog or sequence number. RFC 3261 §8.2.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{SdesKey, SrtpEnd, SrtpEndReport};
use crate::certs::Identity;
use crate::framing::StreamFramer;
use crate::message::{Body, SipText, response_to};
use crate::sdp::{Codec, SdpView};
use crate::tls::server_config;

/// How INVITEs are answered. All other requests but ACK get 200.
#[derive(Clone, Debug)]
pub enum PeerAnswer {
    /// This status, 300 to 699.
    Reject(u16),
    /// 180, then 200 with an SRTP end that echoes, under the first offered of these suites.
    Echo(Vec<String>),
    /// 100 and no more.
    Trying,
    /// Nothing at all.
    Silence,
}

/// How the peer is set up.
#[derive(Clone, Debug)]
pub struct PeerServerConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its certificate and key.
    pub identity: Identity,
    /// The authority of the certificates it takes.
    pub ca_pem: String,
    /// The address of its media ports.
    pub media_ip: IpAddr,
    /// How INVITEs are answered at first.
    pub answer: PeerAnswer,
}

/// The running peer; dropping it ends it.
#[derive(Debug)]
pub struct PeerServer {
    records: Arc<Records>,
    local: SocketAddr,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Records {
    media_ip: IpAddr,
    local: SocketAddr,
    answer: Mutex<PeerAnswer>,
    messages: watch::Sender<Vec<Vec<u8>>>,
    ends: Mutex<Vec<SrtpEnd>>,
}

impl PeerServer {
    /// Binds and begins to serve.
    ///
    /// # Errors
    /// When the address or the certificate cannot be used.
    pub async fn bind(config: PeerServerConfig) -> io::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&config.ca_pem, &config.identity)?));
        let listener = TcpListener::bind(config.listen).await?;
        let local = listener.local_addr()?;
        let records = Arc::new(Records {
            media_ip: config.media_ip,
            local,
            answer: Mutex::new(config.answer),
            messages: watch::Sender::default(),
            ends: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&records)));
        Ok(Self {
            records,
            local,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sets how INVITEs that come from now on are answered.
    pub fn on_invite(&self, answer: PeerAnswer) {
        *lock(&self.records.answer) = answer;
    }

    /// Every message that came, byte for byte, in order of arrival.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.records.messages.borrow().clone()
    }

    /// The first message that begins with `start` and is not among the first `skip` messages; `None` if none comes.
    pub async fn wait_message(&self, start: &str, skip: usize, within: Duration) -> Option<Vec<u8>> {
        let choose = |messages: &Vec<Vec<u8>>| {
            messages
                .iter()
                .skip(skip)
                .find(|message| message.starts_with(start.as_bytes()))
                .cloned()
        };
        let mut messages = self.records.messages.subscribe();
        drop(tokio::time::timeout(within, messages.wait_for(|messages| choose(messages).is_some())).await);
        choose(&messages.borrow())
    }

    /// The figures of the SRTP ends made so far, in order of the calls.
    #[must_use]
    pub fn srtp_reports(&self) -> Vec<SrtpEndReport> {
        lock(&self.records.ends).iter().map(SrtpEnd::report).collect()
    }
}

impl Drop for PeerServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Records {
    /// The responses to one message.
    async fn handle_message(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some(message) = SipText::parse(bytes) else {
            return Vec::new();
        };
        match message.method_name().as_deref() {
            None | Some("ACK") => Vec::new(),
            Some("INVITE") => self.answer_invite(&message).await,
            Some(_) => vec![self.respond(&message, 200, &Body::default())],
        }
    }

    async fn answer_invite(&self, invite: &SipText) -> Vec<Vec<u8>> {
        let none = Body::default();
        let answer = lock(&self.answer).clone();
        match answer {
            PeerAnswer::Silence => Vec::new(),
            PeerAnswer::Trying => vec![self.respond(invite, 100, &none)],
            PeerAnswer::Reject(status) => vec![self.respond(invite, status, &none)],
            PeerAnswer::Echo(suites) => match self.open_echo(invite, &suites).await {
                Ok(body) => vec![self.respond(invite, 180, &none), self.respond(invite, 200, &body)],
                Err(_) => vec![self.respond(invite, 488, &none)],
            },
        }
    }

    async fn open_echo(&self, invite: &SipText, suites: &[String]) -> io::Result<Body> {
        let unacceptable = || io::Error::other("nothing acceptable offered");
        let offer = SdpView::parse(invite.body()).ok_or_else(unacceptable)?;
        let offered: Vec<SdesKey> = offer.crypto.iter().filter_map(|value| SdesKey::parse(value)).collect();
        let wanted = |key: &&SdesKey| suites.iter().any(|suite| suite == key.suite_name());
        let chosen = offered.iter().find(wanted).ok_or_else(unacceptable)?;
        let codec = offer.first_codec().unwrap_or(Codec::Pcmu);
        let own = SdesKey::generate(chosen.tag, chosen.suite_name()).ok_or_else(unacceptable)?;
        let mut end = SrtpEnd::bind(self.media_ip, own).await?;
        end.set_remote(offer.rtp, chosen)?;
        end.start_echo();
        let body = Body::sdp(end.sdp(codec));
        lock(&self.ends).push(end);
        Ok(body)
    }

    fn respond(&self, request: &SipText, status: u16, body: &Body) -> Vec<u8> {
        let contact = format!("<sip:peer@{};transport=tls>", self.local);
        // One tag for every response of a call: derived from what all its requests share.
        let tag: u64 = request
            .call_id()
            .bytes()
            .fold(7, |tag, byte| tag.rotate_left(5) ^ u64::from(byte));
        response_to(
            request,
            status,
            &format!("{tag:x}"),
            &[("Contact".to_owned(), contact)],
            body,
        )
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, records: Arc<Records>) {
    // The connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&records)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, records: Arc<Records>) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let mut framer = StreamFramer::default();
    let mut buffer = vec![0; 16_384];
    while let Ok(len @ 1..) = stream.read(&mut buffer).await {
        framer.push(&buffer[..len]);
        while let Ok(Some(bytes)) = framer.next_message() {
            let responses = records.handle_message(&bytes).await;
            records.messages.send_modify(|messages| messages.push(bytes));
            for response in responses {
                if stream.write_all(&response).await.is_err() {
                    return;
                }
            }
        }
        if stream.flush().await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}
