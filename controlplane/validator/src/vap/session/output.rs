//! What a client tells its shell.
//!
//! No report holds a number, a ticket, a key or any text of the peer's.

use std::time::Duration;

use crate::VServiceId;
use crate::checks::RouteFault;
use crate::facts::Fact;
use crate::valinfo::ValInfoFault;
use crate::vap::{FrameFault, Method};

/// What the shell has to do, in order.
#[derive(Clone, Debug)]
pub enum ClientOutput {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Apply these facts together.
    Apply(Vec<Fact>),
    /// Count or log this.
    Report(Report),
    /// Close the connection; nothing more is read. [`CloseReason::retry`] says when to connect again.
    Close(CloseReason),
}

/// Something a shell counts or logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The server knows us.
    Registered {
        /// How long it keeps that after our last message.
        keepalive: Duration,
    },
    /// It will tell of this VService.
    Subscribed {
        /// The VService.
        vservice_id: VServiceId,
    },
    /// The validator reaches the others again, or no longer. Down is an alarm.
    Ring {
        /// Whether it does.
        is_up: bool,
    },
    /// A route of a Notify was refused.
    RouteRefused {
        /// Why.
        fault: RouteFault,
    },
    /// A Notify's document was refused.
    ValInfoRefused {
        /// Why.
        fault: ValInfoFault,
    },
    /// No room for a route. An alarm.
    TableFull,
    /// A message's MAC is missing or wrong. An alarm.
    BadMac {
        /// Its method.
        method: Method,
    },
    /// A response to nothing we asked.
    UnknownTransaction,
    /// A message that is malformed inside, or of a class that VAP does not use.
    Malformed {
        /// Its method.
        method: Method,
    },
    /// A Notify for no subscription of ours. An alarm.
    UnknownSubscription,
    /// The server refused a request. An alarm.
    Refused {
        /// What was asked.
        method: Method,
        /// ERROR-CODE.
        code: u16,
    },
    /// A request was not answered in time.
    TimedOut {
        /// What was asked.
        method: Method,
    },
}

/// Why a client ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The bytes are no VAP.
    Frame(FrameFault),
    /// Register or its repetition was not answered in time.
    Timeout,
    /// 431: our password is wrong, or somebody is between.
    IntegrityFailure,
    /// 436: our name is not known.
    UnknownUsername,
    /// 471: the server has forgotten us.
    BadHandle,
    /// 477: the server believes us registered already.
    AlreadyRegistered,
    /// 478: the server speaks none of our versions.
    Version,
    /// Register was refused otherwise, or its answer lacks the handle.
    Refused,
    /// We left.
    Unregistered,
}

/// When to connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// At once.
    AtOnce,
    /// After the reconnect interval (120 s on CUCM).
    Later,
    /// Not until the configuration has changed.
    Never,
}

impl CloseReason {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frame(fault) => fault.name(),
            Self::Timeout => "timeout",
            Self::IntegrityFailure => "integrity_failure",
            Self::UnknownUsername => "unknown_username",
            Self::BadHandle => "bad_handle",
            Self::AlreadyRegistered => "already_registered",
            Self::Version => "version",
            Self::Refused => "refused",
            Self::Unregistered => "unregistered",
        }
    }

    /// When to connect again.
    ///
    /// 431 and 436 come without a MAC, so anybody could send them: they must not keep us away for good.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::BadHandle => Retry::AtOnce,
            Self::Frame(_)
            | Self::Timeout
            | Self::IntegrityFailure
            | Self::UnknownUsername
            | Self::AlreadyRegistered => Retry::Later,
            Self::Version | Self::Refused | Self::Unregistered => Retry::Never,
        }
    }
}
