//! The mapping service's protocol: lines of JSON, and what they say.
//!
//! Reads no socket, resolves no name and judges no address. The protocol is ours: docs/mapping-service.md.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tollgate_contract::Transport;
use tollgate_validator::Domain;
use tollgate_validator::facts::TargetHost;

use super::cause::Cause;

mod line;
mod wire;

pub use line::{LineDecoder, TooLong};

/// The protocol's name in the greeting.
pub const PROTOCOL: &str = "tollgate-mapping";

/// The version spoken here.
pub const VERSION: Version = Version { major: 1, minor: 0 };

/// Longest line in bytes, its end included. A request with the longest names there can be has about 600.
pub const MAX_LINE: usize = 1_024;

/// Most mappings that one `list` is answered with; the rest is asked for with `after`.
pub const LIST_PAGE: usize = 32;

/// A protocol version. Another major is another protocol; a higher minor only adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Differs when an old client could not follow.
    pub major: u16,
    /// Rises with each addition.
    pub minor: u16,
}

/// The text is not `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version")]
pub struct InvalidVersion;

/// The first line of a connection, from the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The version it speaks.
    pub version: Version,
    /// A connection without a request for so long is closed. Whole seconds on the wire.
    pub idle: Duration,
}

/// A question with the number its answer will bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client.
    pub id: u32,
    /// What is asked.
    pub method: Method,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// An inside address for a far one.
    Map(Target),
    /// The mapping at this inside address is given up.
    Unmap(SocketAddr),
    /// The client's mappings at ports above this one, lowest first.
    List {
        /// 0 from the start.
        after: u16,
    },
    /// Nothing; keeps the connection from being idle.
    Ping,
}

/// A far address as a client names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An address or a name.
    pub host: TargetHost,
    /// The port.
    pub port: NonZeroU16,
    /// TCP or TLS.
    pub transport: Transport,
    /// The domain that the far end's certificate must name.
    pub domain: Domain,
}

/// A line that is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The request's id, where it could be read.
    pub id: Option<u32>,
    /// What is wrong with it.
    pub cause: Cause,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's id; none where the request's could not be read.
    pub id: Option<u32>,
    /// What it says.
    pub answer: Answer,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The inside address, and how long it lasts unless it is used or asked for again. Whole seconds on the wire.
    Mapped {
        /// Inside address.
        mapped: SocketAddr,
        /// Its life.
        lifetime: Duration,
    },
    /// The mapping is given up.
    Unmapped,
    /// One mapping of a list; [`Listed`](Self::Listed) follows the last.
    Item(Item),
    /// The list is complete.
    Listed {
        /// Items told.
        count: u16,
        /// Whether there are more above the last one's port.
        more: bool,
    },
    /// The answer to a ping.
    Pong,
    /// No.
    Refused {
        /// A name of [`Cause`], or of a cause that a later minor version added.
        cause: String,
        /// The cause in words.
        text: String,
    },
}

/// One mapping of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Inside address.
    pub mapped: SocketAddr,
    /// The host that stands outside where the inside address is written.
    pub host: String,
    /// The far address.
    pub global: SocketAddr,
    /// The transport asked for.
    pub transport: Transport,
    /// The domain that the far end's certificate must name.
    pub domain: Domain,
    /// What is left of its life. Whole seconds on the wire.
    pub lifetime: Duration,
}

/// A line that a client does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of this protocol")]
pub struct NotUnderstood;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let (major, minor) = text.split_once('.').ok_or(InvalidVersion)?;
        let part = |text: &str| -> Result<u16, InvalidVersion> {
            let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = is_digits.then(|| text.parse().ok()).flatten();
            number.ok_or(InvalidVersion)
        };
        Ok(Self {
            major: part(major)?,
            minor: part(minor)?,
        })
    }
}

impl Greeting {
    /// The line, with its end.
    #[must_use]
    pub fn encode(&self) -> String {
        as_line(&json!({
            "service": PROTOCOL,
            "version": self.version.to_string(),
            "idle_s": self.idle.as_secs(),
        }))
    }

    /// Reads the line.
    ///
    /// # Errors
    /// [`NotUnderstood`] if it is not this protocol's greeting, whatever the version.
    pub fn decode(line: &[u8]) -> Result<Self, NotUnderstood> {
        let wire: wire::Greeting = serde_json::from_slice(line).map_err(|_| NotUnderstood)?;
        if wire.service != PROTOCOL {
            return Err(NotUnderstood);
        }
        Ok(Self {
            version: wire.version.parse().map_err(|_| NotUnderstood)?,
            idle: Duration::from_secs(wire.idle_s.unwrap_or_default()),
        })
    }
}

impl Request {
    /// The line, with its end.
    #[must_use]
    pub fn encode(&self) -> String {
        let (name, body) = match &self.method {
            Method::Map(target) => ("map", json!(wire::Target::from(target))),
            Method::Unmap(mapped) => ("unmap", json!(wire::Address::from(*mapped))),
            Method::List { after } => ("list", json!({ "after": after })),
            Method::Ping => ("ping", json!({})),
        };
        as_line(&json!({ "id": self.id, name: body }))
    }

    /// Reads a line. Members it does not know are passed over, so that a later minor version may add some.
    ///
    /// # Errors
    /// [`Malformed`] with the cause to refuse it by.
    pub fn decode(line: &[u8]) -> Result<Self, Malformed> {
        let bad = |id, cause| Malformed { id, cause };
        let members: Map<String, Value> = serde_json::from_slice(line).map_err(|_| bad(None, Cause::BadRequest))?;
        let id = members.get("id").and_then(Value::as_u64);
        let id = id.and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| bad(None, Cause::BadRequest))?;
        let method = method(members).map_err(|cause| bad(Some(id), cause))?;
        Ok(Self { id, method })
    }
}

impl Response {
    /// A refusal.
    #[must_use]
    pub fn refused(id: Option<u32>, cause: Cause) -> Self {
        let (cause, text) = (cause.name().to_owned(), cause.text().to_owned());
        Self {
            id,
            answer: Answer::Refused { cause, text },
        }
    }

    /// The line, with its end.
    #[must_use]
    pub fn encode(&self) -> String {
        let (name, body) = match &self.answer {
            Answer::Mapped { mapped, lifetime } => {
                let (ip, port) = (mapped.ip(), mapped.port());
                (
                    "mapped",
                    json!({ "ip": ip, "port": port, "lifetime_s": lifetime.as_secs() }),
                )
            }
            Answer::Unmapped => ("unmapped", json!({})),
            Answer::Item(item) => ("item", json!(wire::Item::from(item))),
            Answer::Listed { count, more } => ("listed", json!({ "count": count, "more": more })),
            Answer::Pong => ("pong", json!({})),
            Answer::Refused { cause, text } => ("refused", json!({ "cause": cause, "text": text })),
        };
        match self.id {
            Some(id) => as_line(&json!({ "id": id, name: body })),
            None => as_line(&json!({ name: body })),
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`NotUnderstood`] if it is no answer of this protocol.
    pub fn decode(line: &[u8]) -> Result<Self, NotUnderstood> {
        let wire: wire::Response = serde_json::from_slice(line).map_err(|_| NotUnderstood)?;
        let id = wire.id;
        let answer = if let Some(mapped) = wire.mapped {
            Answer::Mapped {
                mapped: SocketAddr::new(mapped.ip, mapped.port.get()),
                lifetime: Duration::from_secs(mapped.lifetime_s),
            }
        } else if wire.unmapped.is_some() {
            Answer::Unmapped
        } else if let Some(item) = wire.item {
            Answer::Item(item.try_into()?)
        } else if let Some(wire::Listed { count, more }) = wire.listed {
            Answer::Listed { count, more }
        } else if wire.pong.is_some() {
            Answer::Pong
        } else if let Some(wire::Refused { cause, text }) = wire.refused {
            Answer::Refused { cause, text }
        } else {
            return Err(NotUnderstood);
        };
        Ok(Self { id, answer })
    }
}

impl Target {
    /// Reads the parts of a target; IPv6 addresses without brackets, an IPv4-mapped one becomes IPv4.
    ///
    /// # Errors
    /// [`Cause::BadHost`], [`Cause::BadDomain`], or [`Cause::BadRequest`] for a transport that cannot be mapped.
    pub fn parse(host: &str, port: NonZeroU16, transport: &str, domain: &str) -> Result<Self, Cause> {
        Ok(Self {
            host: target_host(host).ok_or(Cause::BadHost)?,
            port,
            transport: mappable(transport).ok_or(Cause::BadRequest)?,
            domain: domain.parse().map_err(|_| Cause::BadDomain)?,
        })
    }
}

/// The one method that a request's members name.
fn method(mut members: Map<String, Value>) -> Result<Method, Cause> {
    const NAMES: [&str; 4] = ["map", "unmap", "list", "ping"];
    let mut named = NAMES.into_iter().filter_map(|name| Some((name, members.remove(name)?)));
    let (name, body) = named.next().ok_or(Cause::UnknownMethod)?;
    if named.next().is_some() {
        return Err(Cause::BadRequest);
    }
    match name {
        "map" => {
            let wire: wire::Target = read(body)?;
            Target::parse(&wire.host, wire.port, &wire.transport, &wire.domain).map(Method::Map)
        }
        "unmap" => {
            let wire::Address { ip, port } = read(body)?;
            Ok(Method::Unmap(SocketAddr::new(ip.to_canonical(), port)))
        }
        "list" => {
            let wire::List { after } = read(body)?;
            Ok(Method::List { after })
        }
        _ => {
            let wire::Ping {} = read(body)?;
            Ok(Method::Ping)
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>(body: Value) -> Result<T, Cause> {
    // An array would pass for a struct with its members in order.
    if !body.is_object() {
        return Err(Cause::BadRequest);
    }
    serde_json::from_value(body).map_err(|_| Cause::BadRequest)
}

fn target_host(text: &str) -> Option<TargetHost> {
    let ip = text.parse::<IpAddr>().ok().map(|ip| TargetHost::Ip(ip.to_canonical()));
    ip.or_else(|| text.parse().ok().map(TargetHost::Name))
}

/// Mapped ports are TCP, so a datagram transport has none.
fn mappable(transport: &str) -> Option<Transport> {
    let transport: Transport = transport.parse().ok()?;
    transport.is_reliable().then_some(transport)
}

fn as_line(value: &Value) -> String {
    format!("{value}\n")
}

#[cfg(test)]
mod tests;
