//! How a reader behaves, and what its shell has to do.
//!
//! Values only.

use std::time::Duration;

use super::report::{CloseReason, Report};
use super::table::{Bounds, Position};
use crate::InstanceId;
use crate::checks::RouteRules;
use crate::facts::Fact;
use crate::feed::frame::Frame;

/// How a reader behaves.
#[derive(Clone, Debug)]
pub struct ReaderConfig {
    /// This control plane.
    pub instance: InstanceId,
    /// What every route is judged by.
    pub rules: RouteRules,
    /// Most facts held from this source.
    pub bounds: Bounds,
    /// Whether this process verifies tickets: only then it asks for keys and takes any. Default no.
    pub wants_keys: bool,
    /// Until HelloAck. Default 10 s.
    pub hello_timeout: Duration,
    /// Between heartbeats of ours. Default 5 s.
    pub heartbeat_interval: Duration,
    /// Without a byte from the validator. Default 15 s.
    pub heartbeat_timeout: Duration,
    /// From SnapshotBegin to SnapshotEnd. Default 10 min.
    pub snapshot_timeout: Duration,
    /// Most messages read in a second; the rest waits in the socket. Default 20,000.
    pub messages_per_second: u32,
    /// Difference of the wall clocks that raises an alarm. Default 5 s.
    pub clock_tolerance: Duration,
}

impl ReaderConfig {
    /// The defaults for a control plane.
    #[must_use]
    pub fn new(instance: InstanceId) -> Self {
        Self {
            instance,
            rules: RouteRules::default(),
            bounds: Bounds::default(),
            wants_keys: false,
            hello_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(15),
            snapshot_timeout: Duration::from_secs(600),
            messages_per_second: 20_000,
            clock_tolerance: Duration::from_secs(5),
        }
    }
}

/// What the shell has to do, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send these bytes.
    Send(Frame),
    /// Apply these facts, all or none.
    Apply(Batch),
    /// Count or log this.
    Report(Report),
    /// Close the connection once what was queued before is sent; nothing more is read.
    Close(CloseReason),
}

/// Facts to apply together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whether they replace every fact of this source held before.
    pub replaces_all: bool,
    /// The facts, checked. Where two say different things of one id, the later rules.
    pub facts: Vec<Fact>,
    /// Where the source stands then; to be kept with them.
    pub position: Position,
}

/// Why the validator was not told; what was to be told is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTold {
    /// There is no established connection.
    #[error("no established connection to the validator")]
    NotConnected,
    /// The validator has not said that it understands this.
    #[error("the validator does not take such reports")]
    NotWanted,
    /// Too much is under way already.
    #[error("too many requests wait for the validator's answer")]
    Busy,
    /// It does not fit a frame.
    #[error("the report does not fit a frame")]
    TooLong,
}
