//! What a session tells its shell besides facts: for counters, alarms and the log.
//!
//! No report holds a number, a ticket, a key or any text of the peer's.

use crate::InstanceId;
use crate::feed::message::{Counts, Kind, NackCode};
use crate::feed::record::FactFault;

/// Something a shell counts or logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Hello was answered.
    Established {
        /// The validator.
        instance: InstanceId,
        /// Its generation.
        generation: u64,
        /// Its minor version.
        minor: u16,
    },
    /// Another validator answers than the one the facts are of; a snapshot has to come.
    InstanceChanged {
        /// The new one.
        instance: InstanceId,
    },
    /// A snapshot was taken.
    SnapshotApplied {
        /// Its revision.
        revision: u64,
        /// Records kept.
        kept: Counts,
        /// Records refused one by one.
        refused: u64,
    },
    /// A snapshot was refused whole; the facts held before stand. An alarm.
    SnapshotRefused {
        /// Its revision.
        revision: u64,
        /// Why.
        code: NackCode,
        /// Why, in a word.
        why: &'static str,
    },
    /// A snapshot was begun and never ended.
    SnapshotAbandoned {
        /// Its revision.
        revision: u64,
    },
    /// A record was refused.
    RecordRefused {
        /// Its kind.
        kind: Kind,
        /// Why.
        fault: FactFault,
    },
    /// No room for a record. An alarm.
    TableFull {
        /// Its kind.
        kind: Kind,
    },
    /// A record or snapshot of a stale generation or revision.
    Stale {
        /// The kind.
        kind: Kind,
    },
    /// A message came again and was answered as before.
    Repeated {
        /// The kind.
        kind: Kind,
    },
    /// A frame that is no message.
    Malformed {
        /// `json`, `unknown_kind` or `fields`.
        why: &'static str,
    },
    /// A message that may not come now, or not from this end.
    OutOfPlace {
        /// The kind.
        kind: Kind,
    },
    /// The validator reaches the others again, or no longer. Down is an alarm.
    Ring {
        /// Whether it does.
        is_up: bool,
    },
    /// The wall clocks of the two ends differ by more than allowed. An alarm, once until they agree again.
    ClocksApart {
        /// The peer's less ours, in milliseconds.
        offset_ms: i64,
    },
    /// The validator's heartbeat names a revision that never came. An alarm.
    Behind {
        /// Its revision.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// The peer refused something of ours.
    Refused {
        /// Its code.
        code: NackCode,
    },
}

/// Why a session ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// No Hello or HelloAck in time.
    HelloTimeout,
    /// The first message was another one.
    HelloExpected,
    /// The major versions differ.
    Version,
    /// Nothing was heard for too long.
    HeartbeatTimeout,
    /// A snapshot did not end in time.
    SnapshotTimeout,
    /// A frame over 64 KiB.
    FrameTooLong,
    /// Too many frames that are no messages, or messages out of place.
    TooManyFaults,
    /// The validator has gone back to an earlier generation or revision.
    Stale,
}

impl CloseReason {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HelloTimeout => "hello_timeout",
            Self::HelloExpected => "hello_expected",
            Self::Version => "version",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::SnapshotTimeout => "snapshot_timeout",
            Self::FrameTooLong => "frame_too_long",
            Self::TooManyFaults => "too_many_faults",
            Self::Stale => "stale",
        }
    }
}
