//! One mapping and those that want it.
//!
//! Knows no other mapping and no port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tollgate_contract::Mapping;

use super::{MappingKey, Source};

/// One mapping, as seen by others.
#[derive(Clone, Copy, Debug)]
pub struct LeaseView<'l> {
    /// The inside address.
    pub mapped: SocketAddr,
    /// What it stands for.
    pub key: &'l MappingKey,
    /// The host that stands outside.
    pub host: &'l str,
    /// Since it was made.
    pub age: Duration,
    /// Since it was last asked for or used.
    pub idle: Duration,
    /// When it ends unless it is asked for or used; `None` if never.
    pub remaining: Option<Duration>,
    /// The first snapshot that held it; `None` until one does.
    pub generation: Option<u64>,
    pub(super) holds: &'l BTreeMap<Source, Hold>,
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) key: MappingKey,
    pub(super) host: String,
    pub(super) made: Instant,
    pub(super) used: Instant,
    pub(super) generation: Option<u64>,
    /// Never empty.
    pub(super) holds: BTreeMap<Source, Hold>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) asked: Instant,
    /// Of facts alone.
    pub(super) expires: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Rest {
    pub(super) key: MappingKey,
    pub(super) until: Instant,
    pub(super) charged: Option<IpAddr>,
}

impl LeaseView<'_> {
    /// Who wants it.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.holds.keys()
    }
}

impl Lease {
    /// As the data plane sees it. A client's mapping has no end there: it ends when a snapshot lacks it, so that no
    /// refresh needs a new snapshot. A fact's end is in force even if the control plane is late.
    pub(super) fn mapping(&self) -> Mapping {
        Mapping {
            global: self.key.global,
            global_host: self.host.clone(),
            transport: self.key.transport,
            domain: self.key.domain.as_str().to_owned(),
            expires: self.end(),
        }
    }

    /// When the last fact that wants it ends, since 1970; `None` while it has no such end.
    pub(super) fn end(&self) -> Option<Duration> {
        latest(self.holds.values().map(|hold| hold.expires))
    }
}

/// The latest of several ends; `None`, which is no end, is later than all.
pub(super) fn latest(ends: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    ends.reduce(|former, next| Some(former?.max(next?))).flatten()
}
