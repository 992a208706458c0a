//! A snapshot as it comes in: nothing of it counts before its end.
//!
//! Bounded like the table it will replace; refused whole when it does not fit or does not add up.

use std::time::{Duration, Instant};

use super::table::{Bounds, Table};
use crate::checks::RouteRules;
use crate::facts::Fact;
use crate::feed::digest::RunningDigest;
use crate::feed::message::{Counts, Kind, SnapshotBegin, SnapshotEnd};
use crate::feed::record::{FactFault, Record};

/// A snapshot between its begin and its end.
#[derive(Default)]
pub(super) struct Staging {
    begin: Option<SnapshotBegin>,
    pub(super) deadline: Option<Instant>,
    facts: Vec<Fact>,
    table: Table,
    told: Counts,
    bytes: usize,
    refused: u64,
    digest: RunningDigest,
    /// It was refused before its end; the rest is read and dropped.
    is_dead: bool,
}

/// Whether what a snapshot announces fits.
pub(super) fn fits(begin: &SnapshotBegin, bounds: &Bounds) -> bool {
    let mut announced = begin.counts;
    Kind::ALL.into_iter().all(|kind| {
        let count = announced.of(kind).map_or(0, |count| *count);
        usize::try_from(count).is_ok_and(|count| count <= bounds.of(kind))
    })
}

/// A snapshot that adds up.
pub(super) struct Complete {
    pub(super) facts: Vec<Fact>,
    pub(super) table: Table,
    pub(super) refused: u64,
}

/// What became of one record of a snapshot.
pub(super) enum Staged {
    /// It is in, or belongs to a snapshot that is refused already.
    Quiet,
    /// It alone is refused.
    Refused(FactFault),
    /// It does not fit, so the snapshot is refused.
    Full,
    /// There are more of its kind than announced, so the snapshot is refused.
    TooMany,
    /// A kind that snapshots do not have.
    OutOfPlace,
}

impl Staging {
    /// One that is welcome.
    pub(super) fn begun(begin: SnapshotBegin, deadline: Instant) -> Self {
        Self {
            begin: Some(begin),
            deadline: Some(deadline),
            ..Self::default()
        }
    }

    /// One that is refused at its begin; its records are read and dropped.
    pub(super) fn dead(begin: SnapshotBegin, deadline: Instant) -> Self {
        Self {
            begin: Some(begin),
            deadline: Some(deadline),
            is_dead: true,
            ..Self::default()
        }
    }

    /// The revision it is of.
    pub(super) fn revision(&self) -> u64 {
        self.begin.map_or(0, |begin| begin.revision)
    }

    /// Adds the frame of anything but a heartbeat to the digest.
    pub(super) fn hash(&mut self, body: &[u8]) {
        if !self.is_dead {
            self.digest.add(body);
        }
    }

    /// Takes one record.
    pub(super) fn add(
        &mut self,
        record: Record,
        bytes: usize,
        (rules, bounds): (&RouteRules, &Bounds),
        unix: Duration,
    ) -> Staged {
        if self.is_dead {
            return Staged::Quiet;
        }
        let kind = record.kind();
        let mut announced = self.begin.map(|begin| begin.counts).unwrap_or_default();
        let (Some(told), Some(announced)) = (self.told.of(kind), announced.of(kind)) else {
            return Staged::OutOfPlace;
        };
        *told += 1;
        // A fact told again and again takes one place in the table, but each time one in the list.
        if told > announced {
            self.kill();
            return Staged::TooMany;
        }
        let fact = match record.check(rules, unix) {
            Ok(fact) => fact,
            Err(fault) => {
                self.refused += 1;
                return Staged::Refused(fault);
            }
        };
        self.bytes += bytes;
        if self.bytes > bounds.bytes || self.table.note(&fact, ((), bytes), bounds, unix).is_err() {
            self.kill();
            return Staged::Full;
        }
        self.facts.push(fact);
        Staged::Quiet
    }

    /// Ends; the facts if everything adds up, `None` if the snapshot was refused before.
    ///
    /// # Errors
    /// What does not add up.
    pub(super) fn end(self, end: &SnapshotEnd) -> Result<Option<Complete>, &'static str> {
        if self.is_dead {
            return Ok(None);
        }
        let begun = self.begin.map(|begin| (begin.generation, begin.revision, begin.counts));
        if begun != Some((end.generation, end.revision, end.counts)) {
            return Err("begin_and_end_differ");
        }
        if self.told != end.counts {
            return Err("counts");
        }
        if self.digest.finish() != end.digest {
            return Err("digest");
        }
        Ok(Some(Complete {
            facts: self.facts,
            table: self.table,
            refused: self.refused,
        }))
    }

    /// Forgets what has come, so that a refused snapshot holds no memory.
    fn kill(&mut self) {
        self.is_dead = true;
        self.facts = Vec::new();
        self.table = Table::default();
    }
}
