//! A TLS peer that records every byte of SIP it is given and lets no call come about.
//!
//! It reads no more of a message than an answer repeats (RFC 3261 §8.2.6); an INVITE gets 603, all else 200.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wire::cut;
use crate::judge::Judged;

/// The running peer; dropping it ends it.
#[derive(Debug)]
pub(super) struct Recorder {
    address: SocketAddr,
    records: Arc<Records>,
}

#[derive(Debug, Default)]
struct Records {
    messages: Mutex<Vec<Vec<u8>>>,
    more: Condvar,
    is_over: AtomicBool,
}

impl Recorder {
    /// Binds and begins to serve.
    pub(super) fn start(listen: SocketAddr, tls: ServerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let (address, records) = (listener.local_addr()?, Arc::new(Records::default()));
        let (shared, tls) = (Arc::clone(&records), Arc::new(tls));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::Acquire) {
                    return;
                }
                let (tls, shared) = (Arc::clone(&tls), Arc::clone(&shared));
                thread::spawn(move || serve(stream, tls, &shared));
            }
        });
        Ok(Self { address, records })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many messages were recorded.
    pub(super) fn len(&self) -> usize {
        let messages = self.records.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.len()
    }

    /// The messages from a place in the record up to the one with this Subject, that one left out; `None` if it does not
    /// come in time.
    pub(super) fn wait(&self, from: usize, subject: &str, within: Duration) -> Option<Vec<Vec<u8>>> {
        let is_marker = |message: &Vec<u8>| {
            Judged::of(message).is_some_and(|message| message.value("subject") == Some(subject.as_bytes()))
        };
        let messages = self.records.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing = |messages: &mut Vec<Vec<u8>>| !messages.iter().skip(from).any(is_marker);
        let (messages, _) = self
            .records
            .more
            .wait_timeout_while(messages, within, is_missing)
            .unwrap_or_else(PoisonError::into_inner);
        let new = messages.get(from..)?;
        let marker = new.iter().position(is_marker)?;
        Some(new[..marker].to_vec())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.records.is_over.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: TcpStream, tls: Arc<ServerConfig>, records: &Records) {
    let Ok(connection) = ServerConnection::new(tls) else {
        return;
    };
    let mut stream = StreamOwned::new(connection, stream);
    let (mut held, mut room) = (Vec::new(), vec![0; 16_384]);
    while let Ok(len @ 1..) = stream.read(&mut room) {
        held.extend_from_slice(&room[..len]);
        while let Some(message) = cut(&mut held) {
            let answer = answer(&message);
            let mut messages = records.messages.lock().unwrap_or_else(PoisonError::into_inner);
            messages.push(message);
            drop(messages);
            records.more.notify_all();
            if answer.is_some_and(|answer| stream.write_all(&answer).is_err()) {
                return;
            }
        }
    }
}

/// The final answer to a request; none to an ACK or a response.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let request = Judged::of(message)?;
    let status = match request.name() {
        "ACK" => return None,
        "INVITE" => "603 Decline",
        name if name.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        _ => "200 OK",
    };
    let mut out = format!("SIP/2.0 {status}\r\n").into_bytes();
    for name in ["via", "from", "to", "call-id", "cseq"] {
        for value in request.values(name) {
            let tag: &[u8] = if name == "to" && !value.windows(5).any(|five| five == b";tag=") {
                b";tag=recorder"
            } else {
                b""
            };
            out.extend_from_slice(&[name.as_bytes(), b": ", value, tag, b"\r\n"].concat());
        }
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    Some(out)
}
