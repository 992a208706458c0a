//! One writer, many readers, one pointer: how a snapshot reaches the threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};

use crate::Snapshot;

/// The writing end, held by the control plane.
///
/// It keeps each replaced snapshot until every reader has loaded a newer one, so that a large table is freed here and
/// never on a worker.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    seen: Vec<Arc<AtomicU64>>,
    retired: Vec<Arc<Snapshot>>,
}

/// A reading end, one per thread.
#[derive(Debug)]
pub struct Reader {
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    seen: Arc<AtomicU64>,
}

impl Publisher {
    /// Starts with a first snapshot.
    #[must_use]
    pub fn new(first: Snapshot) -> Self {
        Self {
            current: Arc::new(ArcSwap::from_pointee(first)),
            seen: Vec::new(),
            retired: Vec::new(),
        }
    }

    /// A new reading end.
    pub fn reader(&mut self) -> Reader {
        let seen = Arc::new(AtomicU64::new(0));
        self.seen.push(Arc::clone(&seen));
        Reader {
            cache: Cache::new(Arc::clone(&self.current)),
            seen,
        }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a snapshot in force, one generation above the present one, and frees those no reader can still hold.
    pub fn publish(&mut self, mut next: Snapshot) -> u64 {
        let generation = self.current().generation + 1;
        next.generation = generation;
        self.retired.push(self.current.swap(Arc::new(next)));
        self.release_retired();
        generation
    }

    /// Frees replaced snapshots that every reader has left behind.
    pub fn release_retired(&mut self) {
        let oldest = self.oldest_seen();
        self.retired.retain(|snapshot| snapshot.generation >= oldest);
    }

    /// Whether every reader has loaded this generation or a later one: what it brought is then in force everywhere.
    #[must_use]
    pub fn is_seen_by_all(&self, generation: u64) -> bool {
        self.oldest_seen() >= generation
    }

    /// Number of replaced snapshots still kept.
    #[must_use]
    pub fn retired(&self) -> usize {
        self.retired.len()
    }

    fn oldest_seen(&self) -> u64 {
        let seen = self.seen.iter().map(|seen| seen.load(Ordering::Acquire));
        seen.min().unwrap_or(u64::MAX)
    }
}

impl Reader {
    /// The snapshot in force; called once per wake.
    pub fn load(&mut self) -> &Snapshot {
        let snapshot = self.cache.load();
        self.seen.store(snapshot.generation, Ordering::Release);
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_in_force_once_the_slowest_reader_has_loaded_it() {
        let mut publisher = Publisher::new(Snapshot::without_policy());
        let (mut fast, mut slow) = (publisher.reader(), publisher.reader());
        let generation = publisher.publish(Snapshot::without_policy());
        fast.load();
        assert!(!publisher.is_seen_by_all(generation));
        slow.load();
        assert!(publisher.is_seen_by_all(generation));
        assert!(!publisher.is_seen_by_all(generation + 1));
    }

    #[test]
    fn a_replaced_snapshot_is_kept_until_every_reader_has_left_it() {
        let mut publisher = Publisher::new(Snapshot::without_policy());
        let (mut fast, mut slow) = (publisher.reader(), publisher.reader());
        assert_eq!((fast.load().generation, slow.load().generation), (0, 0));
        assert_eq!(publisher.publish(Snapshot::without_policy()), 1);
        assert_eq!(fast.load().generation, 1);
        publisher.release_retired();
        assert_eq!(publisher.retired(), 1, "the slow reader may hold it");
        assert_eq!(slow.load().generation, 1);
        publisher.release_retired();
        assert_eq!(publisher.retired(), 0);
    }
}
