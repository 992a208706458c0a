//! What a validator publishes: its facts as they stand, and the last changes.
//!
//! One source serves many [`Writer`](super::Writer)s. It keeps nothing on disk: a validator that begins without its
//! former facts takes a higher generation or a new instance.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::table::{Bounds, Table};
use crate::InstanceId;
use crate::facts::Fact;
use crate::feed::digest::RunningDigest;
use crate::feed::frame::Frame;
use crate::feed::message::{Counts, Kind, SnapshotBegin, SnapshotEnd};
use crate::feed::record::Record;

/// The facts of a validator.
#[derive(Debug)]
pub struct Source {
    instance: InstanceId,
    generation: u64,
    revision: u64,
    bounds: Bounds,
    facts: Table<Arc<Frame>>,
    journal: VecDeque<Change>,
    journal_bytes: usize,
}

/// A change that a reader may have missed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) kind: Kind,
    pub(super) frame: Arc<Frame>,
}

/// A fact cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It does not fit a frame.
    #[error("the fact does not fit a frame")]
    TooLong,
    /// There is no room for it.
    #[error("no room for a further fact of this kind")]
    Full,
}

/// Most changes kept, and most bytes of them; a reader that missed more gets a snapshot.
const MAX_CHANGES: usize = 10_000;
const MAX_JOURNAL_BYTES: usize = 16 << 20;

/// All facts of one revision, as frames.
pub(super) struct SnapshotFrames {
    pub(super) begin: SnapshotBegin,
    pub(super) frames: Vec<Arc<Frame>>,
    pub(super) end: SnapshotEnd,
}

impl Source {
    /// A source without facts.
    #[must_use]
    pub fn new(instance: InstanceId, generation: u64, bounds: Bounds) -> Self {
        Self {
            instance,
            generation,
            revision: 0,
            bounds,
            facts: Table::default(),
            journal: VecDeque::new(),
            journal_bytes: 0,
        }
    }

    /// The validator.
    #[must_use]
    pub const fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Its generation.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The revision of the last change; 0 before the first.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Publishes a fact at a time since 1970; returns its revision. The revision inside a route is not used.
    ///
    /// # Errors
    /// [`SourceError`]; then nothing has changed.
    pub fn publish(&mut self, fact: &Fact, unix: Duration) -> Result<u64, SourceError> {
        let revision = self.revision + 1;
        let record = Record::of(fact);
        let frame = Arc::new(record.encode(revision).map_err(|_| SourceError::TooLong)?);
        let payload = (Arc::clone(&frame), frame.body().len());
        let noted = self.facts.note(fact, payload, &self.bounds, unix);
        noted.map_err(|_| SourceError::Full)?;
        self.revision = revision;
        self.keep(Change {
            revision,
            kind: record.kind(),
            frame,
        });
        Ok(revision)
    }

    /// The change after a revision; `None` if there is none or it is no longer kept.
    pub(super) fn change_after(&self, revision: u64) -> Option<&Change> {
        let first = self.journal.front()?.revision;
        let index = revision.checked_add(1)?.checked_sub(first)?;
        self.journal.get(usize::try_from(index).ok()?)
    }

    /// Whether a reader at this revision can be brought up to date by changes alone.
    pub(super) fn reaches_back_to(&self, revision: u64) -> bool {
        revision == self.revision || self.change_after(revision).is_some()
    }

    /// Everything that stands, of the kinds wanted.
    pub(super) fn snapshot(&self, unix: Duration, is_wanted: impl Fn(Kind) -> bool) -> SnapshotFrames {
        let mut counts = Counts::default();
        let mut digest = RunningDigest::default();
        let mut frames = Vec::new();
        for (kind, frame) in self.facts.live(unix).filter(|(kind, _)| is_wanted(*kind)) {
            if let Some(count) = counts.of(kind) {
                *count += 1;
            }
            digest.add(frame.body());
            frames.push(Arc::clone(frame));
        }
        let (generation, revision) = (self.generation, self.revision);
        SnapshotFrames {
            begin: SnapshotBegin {
                generation,
                revision,
                counts,
            },
            frames,
            end: SnapshotEnd {
                generation,
                revision,
                counts,
                digest: digest.finish(),
            },
        }
    }

    fn keep(&mut self, change: Change) {
        self.journal_bytes += change.frame.body().len();
        self.journal.push_back(change);
        while self.journal.len() > MAX_CHANGES || self.journal_bytes > MAX_JOURNAL_BYTES {
            let Some(oldest) = self.journal.pop_front() else {
                return;
            };
            self.journal_bytes -= oldest.frame.body().len();
        }
    }
}
