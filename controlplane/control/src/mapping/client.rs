//! The client's half of the mapping service's protocol, for the command line and for scripts.
//!
//! One question at a time, blocking; it keeps no mapping alive by itself. Source: docs/mapping-service.md.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::codec::{
    Answer, Greeting, Item, LIST_PAGE, LineDecoder, MAX_LINE, Method, Request, Response, Target, VERSION, Version,
};

/// Longest wait for any line. The service answers within its own limits, which together are shorter.
const LINE_LIMIT: Duration = Duration::from_secs(12);

/// A connection to a mapping service.
#[derive(Debug)]
pub struct MappingClient {
    stream: TcpStream,
    decoder: LineDecoder,
    last_id: u32,
    greeting: Greeting,
}

/// An inside address, and how long it stands for what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The inside address.
    pub address: SocketAddr,
    /// Its life, unless it is used or asked for again.
    pub lifetime: Duration,
}

/// Why there is no answer of the kind that was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection failed or ended.
    #[error("no mapping service answers: {0}")]
    Io(#[from] io::Error),
    /// What answers does not speak the protocol.
    #[error("what answers is not a mapping service")]
    NotUnderstood,
    /// The service speaks another major version.
    #[error("the mapping service speaks version {0}, and this is {VERSION}")]
    Version(Version),
    /// The service said no.
    #[error("refused ({cause}): {text}")]
    Refused {
        /// A name of [`Cause`](super::Cause), or of one that a later version added.
        cause: String,
        /// In words.
        text: String,
    },
}

impl MappingClient {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// Any [`ClientError`]; a service that does not let this client in refuses here or at the first question.
    pub fn connect(service: SocketAddr, limit: Duration) -> Result<Self, ClientError> {
        let mut stream = TcpStream::connect_timeout(&service, limit)?;
        stream.set_write_timeout(Some(LINE_LIMIT))?;
        let mut decoder = LineDecoder::default();
        let first = read_line(&mut stream, &mut decoder)?;
        let Ok(greeting) = Greeting::decode(&first) else {
            return Err(not_greeted(&first));
        };
        if greeting.version.major != VERSION.major {
            return Err(ClientError::Version(greeting.version));
        }
        Ok(Self {
            stream,
            decoder,
            last_id: 0,
            greeting,
        })
    }

    /// What the service said first.
    #[must_use]
    pub const fn greeting(&self) -> Greeting {
        self.greeting
    }

    /// Asks for the inside address that stands for a target; asking again begins its life anew.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn map(&mut self, target: &Target) -> Result<Mapped, ClientError> {
        let answer = self.ask(Method::Map(target.clone()))?;
        let Answer::Mapped { mapped, lifetime } = answer else {
            return Err(unexpected(answer));
        };
        Ok(Mapped {
            address: mapped,
            lifetime,
        })
    }

    /// Gives a mapping up.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn unmap(&mut self, mapped: SocketAddr) -> Result<(), ClientError> {
        let answer = self.ask(Method::Unmap(mapped))?;
        if answer == Answer::Unmapped {
            Ok(())
        } else {
            Err(unexpected(answer))
        }
    }

    /// This client's mappings, by port.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn list(&mut self) -> Result<Vec<Item>, ClientError> {
        let mut items: Vec<Item> = Vec::new();
        loop {
            let after = items.last().map_or(0, |item| item.mapped.port());
            let id = self.send(Method::List { after })?;
            let held = items.len();
            let more = loop {
                match self.receive(id)? {
                    Answer::Item(item) if items.len() < held + LIST_PAGE => items.push(item),
                    Answer::Listed { more, .. } => break more,
                    answer @ (Answer::Item(_)
                    | Answer::Mapped { .. }
                    | Answer::Unmapped
                    | Answer::Pong
                    | Answer::Refused { .. }) => return Err(unexpected(answer)),
                }
            };
            // Ports rise from page to page, so the pages of any service end.
            if !more || items.last().is_none_or(|item| item.mapped.port() <= after) {
                return Ok(items);
            }
        }
    }

    /// Keeps the connection from being idle.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn ping(&mut self) -> Result<(), ClientError> {
        let answer = self.ask(Method::Ping)?;
        if answer == Answer::Pong {
            Ok(())
        } else {
            Err(unexpected(answer))
        }
    }

    fn ask(&mut self, method: Method) -> Result<Answer, ClientError> {
        let id = self.send(method)?;
        self.receive(id)
    }

    fn send(&mut self, method: Method) -> Result<u32, ClientError> {
        self.last_id = self.last_id.wrapping_add(1);
        let request = Request {
            id: self.last_id,
            method,
        };
        self.stream.write_all(request.encode().as_bytes())?;
        Ok(request.id)
    }

    /// The next line of the answer to a request. A refusal without id ends the connection.
    fn receive(&mut self, id: u32) -> Result<Answer, ClientError> {
        let line = read_line(&mut self.stream, &mut self.decoder)?;
        let response = Response::decode(&line).map_err(|_| ClientError::NotUnderstood)?;
        if response.id.is_some_and(|answered| answered != id) {
            return Err(ClientError::NotUnderstood);
        }
        Ok(response.answer)
    }
}

/// A first line that is no greeting: a refusal, or another protocol.
fn not_greeted(line: &[u8]) -> ClientError {
    Response::decode(line).map_or(ClientError::NotUnderstood, |response| unexpected(response.answer))
}

fn unexpected(answer: Answer) -> ClientError {
    match answer {
        Answer::Refused { cause, text } => ClientError::Refused { cause, text },
        Answer::Mapped { .. } | Answer::Unmapped | Answer::Item(_) | Answer::Listed { .. } | Answer::Pong => {
            ClientError::NotUnderstood
        }
    }
}

fn read_line(stream: &mut TcpStream, decoder: &mut LineDecoder) -> Result<Vec<u8>, ClientError> {
    let deadline = Instant::now() + LINE_LIMIT;
    let mut chunk = [0; MAX_LINE];
    loop {
        if let Some(line) = decoder.next_line().map_err(|_| ClientError::NotUnderstood)? {
            return Ok(line);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => _ = decoder.extend(chunk.get(..count).unwrap_or_default()),
        }
    }
}
