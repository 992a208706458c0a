//! Why a question is refused: a closed set, each with its name on the wire, its words, and its counter.
//!
//! Decides nothing. Source: docs/mapping-service.md.

/// Why the mapping service refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The line is not a request: no JSON object, no id, more than one method, or a value of the wrong kind.
    BadRequest,
    /// The line is longer than the protocol allows; the connection is closed.
    TooLong,
    /// The line was begun and not ended in time; the connection is closed.
    SlowLine,
    /// The request names no method that this version knows.
    UnknownMethod,
    /// The client's address is not among the call agent's; the connection is closed.
    NotAllowed,
    /// The client, or all clients together, have too many connections; the connection is closed.
    TooManyConnections,
    /// The host is neither an address nor a name.
    BadHost,
    /// The expected TLS domain is no domain name.
    BadDomain,
    /// The far address is private, loopback, link-local, multicast, unspecified, reserved or our own.
    PrivateTarget,
    /// The name has no address, or none was found in time.
    Unresolved,
    /// The client holds as many mappings as one client may.
    Quota,
    /// Every mapped port is in use or resting.
    TableFull,
    /// The data plane did not take the mapping in time.
    NotReady,
    /// The client holds no mapping at that address.
    NotFound,
}

impl Cause {
    /// Every cause, in the order of its index.
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::TooLong,
        Self::SlowLine,
        Self::UnknownMethod,
        Self::NotAllowed,
        Self::TooManyConnections,
        Self::BadHost,
        Self::BadDomain,
        Self::PrivateTarget,
        Self::Unresolved,
        Self::Quota,
        Self::TableFull,
        Self::NotReady,
        Self::NotFound,
    ];

    /// As on the wire and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::TooLong => "too_long",
            Self::SlowLine => "slow_line",
            Self::UnknownMethod => "unknown_method",
            Self::NotAllowed => "not_allowed",
            Self::TooManyConnections => "too_many_connections",
            Self::BadHost => "bad_host",
            Self::BadDomain => "bad_domain",
            Self::PrivateTarget => "private_target",
            Self::Unresolved => "unresolved",
            Self::Quota => "quota",
            Self::TableFull => "table_full",
            Self::NotReady => "not_ready",
            Self::NotFound => "not_found",
        }
    }

    /// In words, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "the line is not a request of this protocol",
            Self::TooLong => "the line is longer than 1024 bytes",
            Self::SlowLine => "the line was not ended in time",
            Self::UnknownMethod => "no such method in this version",
            Self::NotAllowed => "this address may not ask",
            Self::TooManyConnections => "too many connections",
            Self::BadHost => "the host is neither an address nor a name",
            Self::BadDomain => "the domain is not a domain name",
            Self::PrivateTarget => "the host's address is not a public one, or it is the edge's own",
            Self::Unresolved => "the name has no address",
            Self::Quota => "this client holds as many mappings as one may",
            Self::TableFull => "every mapped port is in use or resting",
            Self::NotReady => "the edge did not put the mapping in force in time",
            Self::NotFound => "this client holds no mapping there",
        }
    }

    /// The cause's place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cause_has_its_own_name_and_index() {
        let names: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Cause::ALL.len());
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), at);
        }
    }

    #[test]
    fn the_manual_names_every_cause() {
        let manual = include_str!("../../../../docs/mapping-service.md");
        for cause in Cause::ALL {
            assert!(manual.contains(&format!("| `{}` |", cause.name())), "{}", cause.name());
        }
    }
}
