//! How facts are written in the store: a key that names one, and JSON.
//!
//! Checks only that what it reads has the form that it writes; anything else is damage.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tollgate_contract::{E164, Pii, Route};
use tollgate_validator::facts::RevokedTickets;
use zeroize::Zeroizing;

use super::fault::Failure;
use crate::learned::{HeldRoute, Kept, Name, Op, Source};

/// The form described here. A file of another is left alone.
pub(super) const FORMAT: u64 = 1;

/// A change as the file has it: the key, and the value where the fact is there.
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    /// Wiped on drop: it may hold a key.
    pub(super) value: Option<Zeroizing<Vec<u8>>>,
}

/// The first byte of a key.
const MARK: u8 = 0;
const ROUTE: u8 = 1;
const TICKET_KEY: u8 = 2;
const REVOCATION: u8 = 3;
const DOMAINS: u8 = 4;
const NUMBERS: u8 = 5;
const SERVICE: u8 = 6;
const MAPPING: u8 = 7;

/// A route's value. The names are short, since there may be millions.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRoute {
    /// Revision.
    r: u64,
    /// Number.
    n: String,
    /// Domain.
    d: String,
    /// Targets.
    t: Vec<SocketAddr>,
    /// Ticket.
    k: Option<String>,
    /// Learned at, in milliseconds since 1970.
    l: u64,
    /// Expires at, in milliseconds since 1970.
    e: u64,
}

pub(super) fn encode(op: &Op) -> Entry {
    match op {
        Op::PutRoute(held) => Entry {
            key: key(ROUTE, held.source, held.id.as_bytes()),
            value: Some(json(&stored(held))),
        },
        Op::RemoveRoute(source, id) => Entry {
            key: key(ROUTE, *source, id.as_bytes()),
            value: None,
        },
        Op::Put(source, fact) => Entry {
            key: key_of(*source, &fact.name()),
            value: Some(match fact {
                Kept::Key(fact) => json(&**fact),
                Kept::Revocation(fact) => json(&**fact),
                Kept::Domains(fact) => json(&**fact),
                Kept::Numbers(fact) => json(&**fact),
                Kept::Service(fact) => json(&**fact),
                Kept::Mapping(fact) => json(&**fact),
            }),
        },
        Op::Remove(source, name) => Entry {
            key: key_of(*source, name),
            value: None,
        },
        Op::Mark(source, mark) => Entry {
            key: key(MARK, *source, &[]),
            value: Some(json(mark)),
        },
    }
}

/// The fact of an entry.
///
/// # Errors
/// [`Failure::Corrupt`] if this is no entry of [`FORMAT`].
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Op, Failure> {
    let damaged = || Failure::Corrupt("an entry that Tollgate does not write".to_owned());
    let [kind, source, name @ ..] = key else {
        return Err(damaged());
    };
    let source = *Source::ALL.get(usize::from(*source)).ok_or_else(damaged)?;
    let op = match *kind {
        MARK => Op::Mark(source, read(value)?),
        ROUTE => {
            let id = std::str::from_utf8(name).map_err(|_| damaged())?;
            Op::PutRoute(held(source, id, read(value)?).ok_or_else(damaged)?)
        }
        TICKET_KEY => Op::Put(source, Kept::Key(Arc::new(read(value)?))),
        REVOCATION => Op::Put(source, Kept::Revocation(Arc::new(read(value)?))),
        DOMAINS => Op::Put(source, Kept::Domains(Arc::new(read(value)?))),
        NUMBERS => Op::Put(source, Kept::Numbers(Arc::new(read(value)?))),
        SERVICE => Op::Put(source, Kept::Service(Arc::new(read(value)?))),
        MAPPING => Op::Put(
            source,
            Kept::Mapping(Arc::new(read::<tollgate_validator::facts::Mapping>(value)?)),
        ),
        _ => return Err(damaged()),
    };
    let is_its_own = encode(&op).key == key;
    is_its_own.then_some(op).ok_or_else(damaged)
}

fn key(kind: u8, source: Source, name: &[u8]) -> Vec<u8> {
    // There are four sources.
    let source = source.index() as u8;
    [&[kind, source], name].concat()
}

fn key_of(source: Source, name: &Name) -> Vec<u8> {
    match name {
        Name::Key(epoch) => key(TICKET_KEY, source, &epoch.to_be_bytes()),
        Name::Revocation(RevokedTickets::Uuid(uuid)) => key(REVOCATION, source, format!("u{uuid}").as_bytes()),
        Name::Revocation(RevokedTickets::GrantedTo(domain)) => key(REVOCATION, source, format!("d{domain}").as_bytes()),
        Name::Revocation(RevokedTickets::Number(number)) => key(REVOCATION, source, format!("n{number}").as_bytes()),
        Name::Domains => key(DOMAINS, source, &[]),
        Name::Numbers(vservice) => key(NUMBERS, source, &vservice.0.to_be_bytes()),
        Name::Service(vservice) => key(SERVICE, source, &vservice.0.to_be_bytes()),
        Name::Mapping(id) => key(MAPPING, source, id.as_str().as_bytes()),
    }
}

fn json(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Only times beyond 2^64 ms fail, and those were learned as 64-bit milliseconds.
    Zeroizing::new(serde_json::to_vec(value).expect("plain values with text keys"))
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, Failure> {
    // What serde says may quote the value, which may be a key.
    serde_json::from_slice(value).map_err(|why| {
        let (line, column) = (why.line(), why.column());
        Failure::Corrupt(format!("a value that Tollgate does not write, at {line}:{column}"))
    })
}

fn stored(held: &HeldRoute) -> StoredRoute {
    StoredRoute {
        r: held.revision,
        n: held.number.to_string(),
        d: held.route.domain.to_string(),
        t: held.route.targets.to_vec(),
        k: held.route.ticket.as_ref().map(|ticket| ticket.0.clone()),
        l: millis(held.learned_at),
        e: millis(held.end()),
    }
}

fn held(source: Source, id: &str, stored: StoredRoute) -> Option<HeldRoute> {
    let number: E164 = stored.n.parse().ok()?;
    if stored.t.is_empty() || id.is_empty() {
        return None;
    }
    Some(HeldRoute {
        source,
        id: Arc::from(id),
        revision: stored.r,
        number,
        learned_at: Duration::from_millis(stored.l),
        route: Arc::new(Route {
            domain: Arc::from(stored.d),
            targets: Arc::from(stored.t),
            ticket: stored.k.map(Pii),
            expires: Some(Duration::from_millis(stored.e)),
        }),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
