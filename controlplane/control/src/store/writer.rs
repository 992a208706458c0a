//! The one thread that writes the store, and the queue to it.
//!
//! Changes queued while a commit is under way go into the next one together. A queue that is full, or a disk that
//! refuses, ends the following of single changes: then everything is written anew from memory, in one transaction, as
//! soon as there is room and the disk takes it. What is on disk is always one whole state, if not the newest.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use redb::{Database, Table, WriteTransaction};

use super::code;
use super::fault::{Failure, StoreFault};
use super::open::{FACTS, contained, reopen};
use crate::learned::{LearnedRoutes, Op, StoreStats};

/// Jobs waiting for the disk.
const QUEUE: usize = 64;

/// Most changes in one job.
const OPS_PER_JOB: usize = 1_024;

/// Most jobs in one commit.
const JOBS_PER_COMMIT: usize = 64;

/// How long after the disk refused it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// How soon a full queue is looked at again.
const FULL_PAUSE: Duration = Duration::from_millis(50);

enum Job {
    /// Changes to what is on disk.
    Ops {
        ops: Vec<Op>,
        /// Whether they end what has to be on disk together.
        is_last: bool,
    },
    /// Everything follows, in place of what is on disk.
    Begin,
    /// That was everything.
    End,
}

/// The control loop's end of the store.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<()>,
    state: Arc<State>,
    progress: Progress,
    failures_seen: u64,
    rewrites: u64,
}

/// How the disk stands to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It follows.
    Following,
    /// It waits to be written anew, not before a time since 1970.
    Waiting { until: Duration },
    /// It is being written anew; the next thing to write.
    Rewriting { at: Place },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Kept,
    Routes(usize),
}

/// What the thread tells.
#[derive(Debug, Default)]
struct State {
    is_up: AtomicBool,
    bytes: AtomicU64,
    commits: AtomicU64,
    failures: AtomicU64,
    fault: Mutex<Option<StoreFault>>,
}

impl Writer {
    /// Starts the thread. Without an open store it is opened as soon as the disk takes it.
    pub(crate) fn start(path: PathBuf, store: Option<Database>, unix: Duration) -> Result<Self, StoreFault> {
        let (jobs, queue) = sync_channel(QUEUE);
        let (done_tx, done) = sync_channel(1);
        let state = Arc::new(State::default());
        state.is_up.store(store.is_some(), Relaxed);
        let progress = match &store {
            Some(_) => Progress::Following,
            None => Progress::Waiting { until: unix + RETRY },
        };
        let thread = Thread {
            queue,
            state: state.clone(),
            database: store,
            path: path.clone(),
        };
        let work = move || {
            thread.run();
            let _ = done_tx.try_send(());
        };
        let spawned = std::thread::Builder::new().name("store".into()).spawn(work);
        spawned.map_err(|why| Failure::Io(why).at(&path))?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            state,
            progress,
            failures_seen: 0,
            rewrites: 0,
        })
    }

    /// Takes over what changed in the table since the last time. Returns at once, whatever the disk does.
    pub(crate) fn follow(&mut self, table: &mut LearnedRoutes, unix: Duration) {
        self.notice_failures(unix);
        let changes = table.journal().take();
        match self.progress {
            Progress::Waiting { until } if until > unix => {}
            Progress::Waiting { .. } => self.begin(table, unix),
            Progress::Following | Progress::Rewriting { .. } => {
                let Some(ops) = changes else {
                    return self.begin(table, unix);
                };
                if !self.queue(ops) {
                    self.progress = Progress::Waiting {
                        until: unix + FULL_PAUSE,
                    };
                }
                self.rewrite(table);
            }
        }
    }

    /// When [`Writer::follow`] should be called again even if nothing changes, since 1970.
    pub(crate) fn next_wake(&self, unix: Duration) -> Duration {
        match self.progress {
            // A disk that refused the last change must not wait for the next one to be noticed.
            Progress::Following => unix + RETRY,
            Progress::Waiting { until } => until,
            Progress::Rewriting { .. } => unix + FULL_PAUSE,
        }
    }

    /// The fault of the disk since it was last asked for.
    pub(crate) fn take_fault(&self) -> Option<StoreFault> {
        self.state.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What is counted.
    pub(crate) fn stats(&self) -> StoreStats {
        let is_behind = matches!(self.progress, Progress::Waiting { .. });
        StoreStats {
            is_up: self.state.is_up.load(Relaxed) && !is_behind,
            bytes: self.state.bytes.load(Relaxed),
            commits: self.state.commits.load(Relaxed),
            failures: self.state.failures.load(Relaxed),
            rewrites: self.rewrites,
        }
    }

    /// Lets the thread write what is queued, and waits for it until a limit; `false` if that passed.
    pub(crate) fn close(mut self, limit: Duration) -> bool {
        self.jobs = None;
        !matches!(self.done.recv_timeout(limit), Err(RecvTimeoutError::Timeout))
    }

    fn notice_failures(&mut self, unix: Duration) {
        let failures = self.state.failures.load(Relaxed);
        if failures != self.failures_seen {
            self.failures_seen = failures;
            self.progress = Progress::Waiting { until: unix + RETRY };
        }
    }

    fn begin(&mut self, table: &LearnedRoutes, unix: Duration) {
        if self.send(Job::Begin) {
            self.rewrites += 1;
            self.progress = Progress::Rewriting { at: Place::Kept };
            self.rewrite(table);
        } else {
            self.progress = Progress::Waiting {
                until: unix + FULL_PAUSE,
            };
        }
    }

    /// Queues as much of everything as there is room for. Changes of what was queued before follow it in the queue.
    fn rewrite(&mut self, table: &LearnedRoutes) {
        while let Progress::Rewriting { at } = self.progress {
            let (ops, next) = match at {
                Place::Kept => (table.all_but_routes(), Place::Routes(0)),
                Place::Routes(at) => {
                    let (ops, next) = table.routes_from(at, OPS_PER_JOB);
                    (ops, Place::Routes(next))
                }
            };
            let is_end = ops.is_empty() && at != Place::Kept;
            let job = match is_end {
                true => Job::End,
                false => Job::Ops { ops, is_last: false },
            };
            if !self.send(job) {
                return;
            }
            self.progress = match is_end {
                true => Progress::Following,
                false => Progress::Rewriting { at: next },
            };
        }
    }

    fn queue(&mut self, mut ops: Vec<Op>) -> bool {
        while !ops.is_empty() {
            let rest = ops.split_off(ops.len().min(OPS_PER_JOB));
            let is_last = rest.is_empty();
            if !self.send(Job::Ops { ops, is_last }) {
                return false;
            }
            ops = rest;
        }
        true
    }

    fn send(&self, job: Job) -> bool {
        let Some(jobs) = &self.jobs else {
            return false;
        };
        match jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

/// The thread's own.
struct Thread {
    queue: Receiver<Job>,
    state: Arc<State>,
    /// `None` while the disk refuses; changes are passed over until everything is written anew.
    database: Option<Database>,
    path: PathBuf,
}

impl Thread {
    fn run(mut self) {
        self.measure();
        while let Ok(job) = self.queue.recv() {
            let result = contained(|| match job {
                Job::Begin => self.rewritten(),
                Job::Ops { ops, is_last } => self.followed(ops, is_last),
                Job::End => Ok(()),
            });
            if let Err(why) = result {
                self.fail(why);
            }
        }
    }

    /// One commit: these changes, those that belong to them, and what else is queued by now.
    fn followed(&mut self, ops: Vec<Op>, is_last: bool) -> Result<(), Failure> {
        let Some(database) = &self.database else {
            return Ok(());
        };
        let transaction = begin(database)?;
        let end = {
            let mut facts = transaction.open_table(FACTS)?;
            put(&mut facts, &ops)?;
            self.gather(&mut facts, is_last)?
        };
        if end.is_whole {
            transaction.commit()?;
            self.committed();
        } else {
            transaction.abort()?;
        }
        if end.begins { self.rewritten() } else { Ok(()) }
    }

    /// Adds queued changes until no more belong together with those before, and none waits or the commit is big enough.
    fn gather(&self, facts: &mut Table<'_, &[u8], &[u8]>, mut is_last: bool) -> Result<Gathered, Failure> {
        for gathered in 1.. {
            let job = match is_last {
                true if gathered >= JOBS_PER_COMMIT => break,
                true => self.queue.try_recv().ok(),
                false => self.queue.recv().ok(),
            };
            match job {
                Some(Job::Ops { ops, is_last: ends }) => {
                    put(facts, &ops)?;
                    is_last = ends;
                }
                // Only the start of a rewrite cuts changes that belong together, and it needs none of them.
                Some(Job::Begin) => {
                    return Ok(Gathered {
                        is_whole: is_last,
                        begins: true,
                    });
                }
                Some(Job::End) => {}
                None => break,
            }
        }
        Ok(Gathered {
            is_whole: is_last,
            begins: false,
        })
    }

    /// Everything anew, in one commit; one that is begun again before its end is forgotten.
    fn rewritten(&mut self) -> Result<(), Failure> {
        // A database that failed must be opened anew; one that did not costs nothing to keep.
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let opened = reopen(&self.path, since_1970());
                opened.faults.into_iter().for_each(|fault| self.tell(fault));
                let Some(database) = opened.store else {
                    self.refused();
                    return Ok(());
                };
                database
            }
        };
        loop {
            let transaction = begin(&database)?;
            transaction.delete_table(FACTS)?;
            let end = {
                let mut facts = transaction.open_table(FACTS)?;
                loop {
                    match self.queue.recv() {
                        Ok(Job::Ops { ops, .. }) => put(&mut facts, &ops)?,
                        Ok(Job::End) => break Some(true),
                        Ok(Job::Begin) => break Some(false),
                        Err(_) => break None,
                    }
                }
            };
            match end {
                Some(true) => {
                    transaction.commit()?;
                    self.database = Some(database);
                    self.committed();
                    return Ok(());
                }
                Some(false) => transaction.abort()?,
                // The process ends before everything was told: the old state stays.
                None => return Ok(transaction.abort()?),
            }
        }
    }

    fn committed(&self) {
        self.state.commits.fetch_add(1, Relaxed);
        self.state.is_up.store(true, Relaxed);
        self.measure();
    }

    fn fail(&mut self, why: Failure) {
        // What a failed database holds in memory is not to be trusted.
        self.database = None;
        self.tell(why.at(&self.path));
        self.refused();
    }

    fn tell(&self, fault: StoreFault) {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn refused(&self) {
        self.state.is_up.store(false, Relaxed);
        self.state.failures.fetch_add(1, Relaxed);
    }

    fn measure(&self) {
        let bytes = std::fs::metadata(&self.path).map_or(0, |data| data.len());
        self.state.bytes.store(bytes, Relaxed);
    }
}

/// What was added to a transaction.
struct Gathered {
    /// Whether nothing is missing that belongs to it.
    is_whole: bool,
    /// Whether everything follows anew.
    begins: bool,
}

/// For the name of a damaged file alone.
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn begin(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut transaction = database.begin_write()?;
    // Costs a little more per commit, and spares a start after a kill the walk over the whole file.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

fn put(facts: &mut Table<'_, &[u8], &[u8]>, ops: &[Op]) -> Result<(), Failure> {
    for op in ops {
        let entry = code::encode(op);
        match entry.value {
            Some(value) => drop(facts.insert(entry.key.as_slice(), value.as_slice())?),
            None => drop(facts.remove(entry.key.as_slice())?),
        }
    }
    Ok(())
}
