//! What the control plane may ask of running threads: are they alive, and which calls do they hold.
//!
//! A thread answers in its own time and never waits for the asker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tollgate_contract::CallView;

/// When a thread last went round its loop.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            last_ms: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The thread is alive at `now`.
    pub(crate) fn beat(&self, now: Instant) {
        let since = now.saturating_duration_since(self.started);
        self.last_ms
            .store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long ago the thread was alive, to the millisecond.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(self.started).saturating_sub(last)
    }
}

/// Where workers publish their calls when asked.
#[derive(Debug)]
pub(crate) struct ViewBoard {
    asked: AtomicU64,
    published: Vec<ArcSwap<Published>>,
}

/// The calls of one worker as they were.
#[derive(Debug, Default)]
struct Published {
    /// The question this answers.
    answer_to: u64,
    views: Vec<CallView>,
}

impl ViewBoard {
    pub(crate) fn new(workers: usize) -> Self {
        let published = (0..workers)
            .map(|_| ArcSwap::from_pointee(Published::default()))
            .collect();
        Self {
            asked: AtomicU64::new(0),
            published,
        }
    }

    /// Asks every worker; the answers bear the number returned or a later one.
    pub(crate) fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The number of the question that `worker` has not answered yet.
    pub(crate) fn pending(&self, worker: usize) -> Option<u64> {
        let asked = self.asked.load(Ordering::Acquire);
        let slot = self.published.get(worker)?;
        (slot.load().answer_to < asked).then_some(asked)
    }

    /// A worker answers.
    pub(crate) fn answer(&self, worker: usize, answer_to: u64, views: Vec<CallView>) {
        if let Some(slot) = self.published.get(worker) {
            slot.store(Arc::new(Published { answer_to, views }));
        }
    }

    /// Whether every worker has answered.
    pub(crate) fn is_answered(&self, question: u64) -> bool {
        self.published.iter().all(|slot| slot.load().answer_to >= question)
    }

    /// What the workers published last.
    pub(crate) fn collect(&self) -> Vec<CallView> {
        self.published
            .iter()
            .flat_map(|slot| slot.load().views.clone())
            .collect()
    }
}
