//! The messages of the feed and their JSON.
//!
//! Reads and writes; whether a message may come now, and whether a route is good, is judged elsewhere. Unknown fields
//! are ignored, so that a newer minor version can add some. Source: docs/validator-feed.md.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::digest::Digest;
use super::frame::{Frame, FrameTooLong};
use super::record::Record;
use crate::facts::{Fact, UpFact};
use crate::{InstanceId, wire};

/// Major version: ends with different ones do not understand each other.
pub const MAJOR: u16 = 1;

/// Minor version: rises with each compatible addition.
pub const MINOR: u16 = 0;

/// What an end may say in Hello that it can or wants to do.
pub mod capability {
    /// The control plane verifies tickets and wants the keys.
    pub const TICKET_KEYS: &str = "ticket_keys";
    /// The control plane takes mappings.
    pub const MAPPINGS: &str = "mappings";
    /// VcrReport is sent or understood.
    pub const VCR: &str = "vcr";
    /// RouteFeedback and FallbackEvent are sent or understood.
    pub const FEEDBACK: &str = "feedback";
}

/// Most capabilities read, and the longest name of one; more are cut off, since unknown ones mean nothing.
const MAX_CAPABILITIES: usize = 32;
const MAX_CAPABILITY_LEN: usize = 64;

/// The kind of a message, its `type` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is documented at its message")]
pub enum Kind {
    Hello,
    HelloAck,
    Heartbeat,
    SnapshotBegin,
    SnapshotEnd,
    RouteUpsert,
    RouteWithdraw,
    TicketKey,
    TicketRevoke,
    DomainPolicy,
    LocalNumbers,
    LocalService,
    MappingUpsert,
    MappingWithdraw,
    Ack,
    Nack,
    VcrReport,
    RouteFeedback,
    FallbackEvent,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::Hello,
        Self::HelloAck,
        Self::Heartbeat,
        Self::SnapshotBegin,
        Self::SnapshotEnd,
        Self::RouteUpsert,
        Self::RouteWithdraw,
        Self::TicketKey,
        Self::TicketRevoke,
        Self::DomainPolicy,
        Self::LocalNumbers,
        Self::LocalService,
        Self::MappingUpsert,
        Self::MappingWithdraw,
        Self::Ack,
        Self::Nack,
        Self::VcrReport,
        Self::RouteFeedback,
        Self::FallbackEvent,
    ];

    /// The text of the `type` field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "Hello",
            Self::HelloAck => "HelloAck",
            Self::Heartbeat => "Heartbeat",
            Self::SnapshotBegin => "SnapshotBegin",
            Self::SnapshotEnd => "SnapshotEnd",
            Self::RouteUpsert => "RouteUpsert",
            Self::RouteWithdraw => "RouteWithdraw",
            Self::TicketKey => "TicketKey",
            Self::TicketRevoke => "TicketRevoke",
            Self::DomainPolicy => "DomainPolicy",
            Self::LocalNumbers => "LocalNumbers",
            Self::LocalService => "LocalService",
            Self::MappingUpsert => "MappingUpsert",
            Self::MappingWithdraw => "MappingWithdraw",
            Self::Ack => "Ack",
            Self::Nack => "Nack",
            Self::VcrReport => "VcrReport",
            Self::RouteFeedback => "RouteFeedback",
            Self::FallbackEvent => "FallbackEvent",
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The control plane's first message.
    Hello(Hello),
    /// The validator's answer to Hello.
    HelloAck(Hello),
    /// A sign of life, either way.
    Heartbeat(Heartbeat),
    /// The validator begins to tell everything.
    SnapshotBegin(SnapshotBegin),
    /// It has told everything.
    SnapshotEnd(SnapshotEnd),
    /// A fact, within a snapshot or as a delta.
    Record {
        /// Of the delta; within a snapshot, of the record's last change.
        revision: u64,
        /// What it says.
        record: Record,
    },
    /// What the control plane tells.
    Up(UpFact),
    /// Taken.
    Ack(Ack),
    /// Refused.
    Nack(Nack),
}

/// Hello or HelloAck: who speaks, and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
    /// The end that speaks.
    #[serde(with = "wire::text")]
    pub instance: InstanceId,
    /// From the control plane: the validator instance its facts are of, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "wire::optional")]
    pub seen_instance: Option<InstanceId>,
    /// The generation of the facts it has; 0 for none.
    pub generation: u64,
    /// The last revision of that generation it has seen; 0 for none.
    pub revision: u64,
    /// What it can or wants to do; unknown ones mean nothing.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

impl Hello {
    /// Whether a capability is named.
    #[must_use]
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|named| named == capability)
    }

    fn bounded(mut self) -> Self {
        self.capabilities.retain(|name| name.len() <= MAX_CAPABILITY_LEN);
        self.capabilities.truncate(MAX_CAPABILITIES);
        self
    }
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The validator's current revision, or the last one the control plane has seen.
    pub revision: u64,
    /// The sender's wall clock, since 1970.
    #[serde(rename = "clock_ms", with = "wire::millis")]
    pub clock: Duration,
    /// From the validator: whether it reaches the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingState>,
}

/// Whether a validator reaches the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RingState {
    /// It does.
    Up,
    /// It does not: no number is published or proven; learned routes stay good.
    Down,
}

/// How many records a snapshot has of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// RouteUpsert.
    pub routes: u64,
    /// TicketKey.
    pub ticket_keys: u64,
    /// TicketRevoke.
    pub ticket_revokes: u64,
    /// DomainPolicy.
    pub domain_policies: u64,
    /// LocalNumbers.
    pub local_numbers: u64,
    /// LocalService.
    pub local_services: u64,
    /// MappingUpsert.
    pub mappings: u64,
}

impl Counts {
    /// The count of a kind; `None` for kinds that snapshots do not have.
    #[must_use]
    pub fn of(&mut self, kind: Kind) -> Option<&mut u64> {
        match kind {
            Kind::RouteUpsert => Some(&mut self.routes),
            Kind::TicketKey => Some(&mut self.ticket_keys),
            Kind::TicketRevoke => Some(&mut self.ticket_revokes),
            Kind::DomainPolicy => Some(&mut self.domain_policies),
            Kind::LocalNumbers => Some(&mut self.local_numbers),
            Kind::LocalService => Some(&mut self.local_services),
            Kind::MappingUpsert => Some(&mut self.mappings),
            Kind::Hello
            | Kind::HelloAck
            | Kind::Heartbeat
            | Kind::SnapshotBegin
            | Kind::SnapshotEnd
            | Kind::RouteWithdraw
            | Kind::MappingWithdraw
            | Kind::Ack
            | Kind::Nack
            | Kind::VcrReport
            | Kind::RouteFeedback
            | Kind::FallbackEvent => None,
        }
    }
}

/// The validator begins to tell everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotBegin {
    /// The generation, as in HelloAck.
    pub generation: u64,
    /// The revision the snapshot is of.
    pub revision: u64,
    /// How many records will follow.
    pub counts: Counts,
}

/// The validator has told everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEnd {
    /// As in SnapshotBegin.
    pub generation: u64,
    /// As in SnapshotBegin.
    pub revision: u64,
    /// As in SnapshotBegin.
    pub counts: Counts,
    /// Of the frames between, heartbeats left out.
    #[serde(with = "wire::text")]
    pub digest: Digest,
}

/// Taken, or taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The revision of the delta or the snapshot.
    pub revision: u64,
}

/// Refused. The facts held before stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// The revision refused; absent when it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Why.
    pub code: NackCode,
    /// Why, in a word of a closed set; never anything of the message.
    pub text: String,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub enum NackCode {
    /// 400: not read, of an unknown kind, or out of place.
    Syntax,
    /// 403: a policy of ours forbids it.
    Policy,
    /// 409: of a stale generation or revision.
    Stale,
    /// 422: read, and found wrong.
    Verify,
    /// 507: no room.
    Full,
}

impl NackCode {
    /// Every code.
    pub const ALL: [Self; 5] = [Self::Syntax, Self::Policy, Self::Stale, Self::Verify, Self::Full];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Syntax => 400,
            Self::Policy => 403,
            Self::Stale => 409,
            Self::Verify => 422,
            Self::Full => 507,
        }
    }
}

impl From<NackCode> for u16 {
    fn from(code: NackCode) -> Self {
        code.number()
    }
}

impl TryFrom<u16> for NackCode {
    type Error = &'static str;

    fn try_from(number: u16) -> Result<Self, &'static str> {
        let found = Self::ALL.into_iter().find(|code| code.number() == number);
        found.ok_or("unknown code")
    }
}

/// A frame that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not a JSON object with a `type`.
    Json,
    /// A `type` that is not known.
    UnknownKind {
        /// Its revision, if it has one.
        revision: Option<u64>,
    },
    /// A known `type` whose fields are missing or wrong.
    Fields {
        /// The kind.
        kind: Kind,
        /// Its revision, if that could be read.
        revision: Option<u64>,
    },
}

impl Malformed {
    /// The revision to answer with.
    #[must_use]
    pub const fn revision(self) -> Option<u64> {
        match self {
            Self::Json => None,
            Self::UnknownKind { revision } | Self::Fields { revision, .. } => revision,
        }
    }

    /// The word in the answer.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::UnknownKind { .. } => "unknown_kind",
            Self::Fields { .. } => "fields",
        }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    revision: Option<u64>,
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(flatten)]
    body: &'a T,
}

impl Message {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`Malformed`] if it is no message.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|_| Malformed::Json)?;
        let revision = envelope.revision;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == envelope.kind);
        let kind = kind.ok_or(Malformed::UnknownKind { revision })?;
        let wrong = Malformed::Fields { kind, revision };
        Self::of_kind(kind, revision, body).ok_or(wrong)
    }

    fn of_kind(kind: Kind, revision: Option<u64>, body: &[u8]) -> Option<Self> {
        let record = |record: Record| revision.map(|revision| Self::Record { revision, record });
        match kind {
            Kind::Hello => read(body).map(|hello: Hello| Self::Hello(hello.bounded())),
            Kind::HelloAck => read(body).map(|hello: Hello| Self::HelloAck(hello.bounded())),
            Kind::Heartbeat => read(body).map(Self::Heartbeat),
            Kind::SnapshotBegin => read(body).map(Self::SnapshotBegin),
            Kind::SnapshotEnd => read(body).map(Self::SnapshotEnd),
            Kind::RouteUpsert => record(Record::Claim(read(body)?)),
            Kind::RouteWithdraw => record(Record::Fact(Fact::RouteWithdraw(read(body)?))),
            Kind::TicketKey => record(Record::Fact(Fact::TicketKey(read(body)?))),
            Kind::TicketRevoke => record(Record::Fact(Fact::TicketRevoke(read(body)?))),
            Kind::DomainPolicy => record(Record::Fact(Fact::DomainPolicy(read(body)?))),
            Kind::LocalNumbers => record(Record::Fact(Fact::LocalNumbers(read(body)?))),
            Kind::LocalService => record(Record::Fact(Fact::LocalService(read(body)?))),
            Kind::MappingUpsert => record(Record::Fact(Fact::MappingUpsert(read(body)?))),
            Kind::MappingWithdraw => record(Record::Fact(Fact::MappingWithdraw(read(body)?))),
            Kind::Ack => read(body).map(Self::Ack),
            Kind::Nack => read(body).map(Self::Nack),
            Kind::VcrReport => read(body).map(|vcr| Self::Up(UpFact::Vcr(vcr))),
            Kind::RouteFeedback => read(body).map(|feedback| Self::Up(UpFact::Feedback(feedback))),
            Kind::FallbackEvent => read(body).map(|event| Self::Up(UpFact::Fallback(event))),
        }
    }

    /// The message's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::HelloAck(_) => Kind::HelloAck,
            Self::Heartbeat(_) => Kind::Heartbeat,
            Self::SnapshotBegin(_) => Kind::SnapshotBegin,
            Self::SnapshotEnd(_) => Kind::SnapshotEnd,
            Self::Record { record, .. } => record.kind(),
            Self::Up(UpFact::Vcr(_)) => Kind::VcrReport,
            Self::Up(UpFact::Feedback(_)) => Kind::RouteFeedback,
            Self::Up(UpFact::Fallback(_)) => Kind::FallbackEvent,
            Self::Ack(_) => Kind::Ack,
            Self::Nack(_) => Kind::Nack,
        }
    }

    /// The frame of the message.
    ///
    /// # Errors
    /// [`FrameTooLong`] if it does not fit a frame.
    pub fn encode(&self) -> Result<Frame, FrameTooLong> {
        let kind = self.kind();
        match self {
            Self::Hello(body) | Self::HelloAck(body) => frame(kind, None, body),
            Self::Heartbeat(body) => frame(kind, None, body),
            Self::SnapshotBegin(body) => frame(kind, None, body),
            Self::SnapshotEnd(body) => frame(kind, None, body),
            Self::Record { revision, record } => record.encode(*revision),
            Self::Up(UpFact::Vcr(body)) => frame(kind, None, body),
            Self::Up(UpFact::Feedback(body)) => frame(kind, None, body),
            Self::Up(UpFact::Fallback(body)) => frame(kind, None, body),
            Self::Ack(body) => frame(kind, None, body),
            Self::Nack(body) => frame(kind, None, body),
        }
    }
}

fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// A body with its kind and, for records, its revision in front.
pub(super) fn frame<T: Serialize>(kind: Kind, revision: Option<u64>, body: &T) -> Result<Frame, FrameTooLong> {
    let tagged = Tagged {
        kind: kind.name(),
        revision,
        body,
    };
    let text = serde_json::to_vec(&tagged).expect("messages hold text, numbers, lists and maps keyed by text");
    Frame::new(&Zeroizing::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::claim;

    #[test]
    fn debug_output_shows_neither_key_nor_ticket_nor_number() {
        let key = r#"{"type":"TicketKey","revision":1,"epoch":1,"alg":"vipr-hmac-sha1","key":"68756e74657232313131","not_before_ms":0,"issue_until_ms":1,"accept_until_ms":1,"state":"issuing"}"#;
        let key = Message::parse(key.as_bytes()).unwrap();
        let record = Record::Claim(Box::new(claim("r1", 1)));
        let shown = format!("{key:?} {:?}", Message::Record { revision: 1, record });
        for secret in ["68756e", "104, 117", "AAEAEGun", "4085550001"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn every_kind_and_code_is_found_by_its_name() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            let body = format!(r#"{{"type":"{}","revision":7}}"#, kind.name());
            let parsed = Message::parse(body.as_bytes());
            let wanted = Malformed::Fields {
                kind,
                revision: Some(7),
            };
            assert!(
                parsed == Err(wanted) || parsed == Ok(Message::Ack(Ack { revision: 7 })),
                "{body}"
            );
        }
        for code in NackCode::ALL {
            assert_eq!(NackCode::try_from(code.number()), Ok(code));
        }
    }

    #[test]
    fn capabilities_are_bounded() {
        let names = format!("\"{}\",\"y\"", "x".repeat(65));
        let many = vec!["\"z\""; 100].join(",");
        let hello = format!(
            r#"{{"type":"Hello","major":1,"minor":0,"instance":"{}","generation":0,"revision":0,"capabilities":[{names},{many}]}}"#,
            "01".repeat(16)
        );
        let Ok(Message::Hello(hello)) = Message::parse(hello.as_bytes()) else {
            panic!("no Hello")
        };
        assert_eq!(hello.capabilities.len(), 32);
        assert!(hello.has("y") && hello.has("z"));
    }
}
