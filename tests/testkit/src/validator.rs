//! A stand-in for a validator: it serves facts over the native feed or VAP on a Unix socket, well or as badly as told.
//!
//! It proves no number, joins no ring and keeps nothing on disk. The sessions are those of `tollgate_validator`; what is
//! bad is done to their bytes here. Threads of the standard library, one a connection.

mod feed;
mod published;
mod vap;

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tollgate_contract::Now;
use tollgate_control::learned::FactsDocument;
use tollgate_validator::InstanceId;
use tollgate_validator::facts::UpFact;
use tollgate_validator::feed::RingState;
use tollgate_validator::vap::session::ServerConfig;

use published::Published;

/// How often a thread looks whether there is something to do.
const TURN: Duration = Duration::from_millis(5);

/// A control plane that takes nothing for so long is left.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Things told that are remembered; later ones are not.
const MAX_TOLD: usize = 10_000;

/// What it does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mischief {
    /// Nothing.
    #[default]
    None,
    /// The digest of every snapshot is wrong.
    WrongDigest,
    /// It closes in the middle of every snapshot.
    HalfSnapshot,
    /// It answers the greeting and then says nothing.
    Silence,
    /// It tells new routes without end, as fast as they are taken; over VAP, a Notify without end.
    Flood,
    /// It sends frames that are no messages, without end.
    Garbage,
    /// It announces a frame of 4 GiB.
    EndlessFrame,
    /// The MAC of everything it asks over VAP is wrong.
    WrongMac,
}

impl Mischief {
    /// Every mischief with its name on the command line.
    pub const NAMED: [(&'static str, Self); 8] = [
        ("none", Self::None),
        ("wrong-digest", Self::WrongDigest),
        ("half-snapshot", Self::HalfSnapshot),
        ("silence", Self::Silence),
        ("flood", Self::Flood),
        ("garbage", Self::Garbage),
        ("endless-frame", Self::EndlessFrame),
        ("wrong-mac", Self::WrongMac),
    ];
}

/// What it speaks.
#[derive(Clone, Debug)]
pub enum Face {
    /// The native feed.
    Feed,
    /// VAP, with the user and the VServices it knows.
    Vap(ServerConfig),
}

/// What a stand-in is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; a socket left there is removed.
    pub socket: PathBuf,
    /// What it speaks.
    pub face: Face,
    /// The validator it plays.
    pub instance: InstanceId,
    /// Its generation.
    pub generation: u64,
    /// What it does wrong from the start.
    pub mischief: Mischief,
}

impl Settings {
    /// A well-behaved validator with the native feed.
    #[must_use]
    pub fn feed(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            face: Face::Feed,
            instance: InstanceId([1; 16]),
            generation: 1,
            mischief: Mischief::None,
        }
    }
}

/// A running stand-in; it stops when it is dropped.
pub struct StandIn {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

/// What the threads share.
struct Shared {
    settings: Settings,
    published: Mutex<Published>,
    told: Mutex<Vec<UpFact>>,
    mischief: Mutex<Mischief>,
    ring: Mutex<RingState>,
    connections: AtomicU64,
    snapshots: AtomicU64,
    /// The connections now, by number, to be cut off.
    open: Mutex<BTreeMap<u64, UnixStream>>,
    is_over: AtomicBool,
}

impl StandIn {
    /// Begins to listen.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let _ = std::fs::remove_file(&settings.socket);
        let listener = UnixListener::bind(&settings.socket)?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            published: Mutex::new(Published::new(settings.instance, settings.generation, now().unix)),
            told: Mutex::default(),
            mischief: Mutex::new(settings.mischief),
            ring: Mutex::new(RingState::Up),
            connections: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            open: Mutex::default(),
            is_over: AtomicBool::new(false),
            settings,
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self {
            shared,
            accepting: Some(accepting),
        })
    }

    /// Publishes a document in place of the one before: what is new or changed is told, what is gone withdrawn.
    ///
    /// # Errors
    /// What is wrong with it, in words; nothing has changed then.
    pub fn publish(&self, document: FactsDocument) -> Result<(), String> {
        lock(&self.shared.published).replace(document, now().unix)
    }

    /// The last revision published.
    #[must_use]
    pub fn revision(&self) -> u64 {
        lock(&self.shared.published).source.revision()
    }

    /// Does this wrong from now on.
    pub fn set_mischief(&self, mischief: Mischief) {
        *lock(&self.shared.mischief) = mischief;
    }

    /// Says with the next heartbeat whether it reaches the others.
    pub fn set_ring(&self, ring: RingState) {
        *lock(&self.shared.ring) = ring;
    }

    /// Closes all connections; new ones are taken.
    pub fn hang_up(&self) {
        for stream in lock(&self.shared.open).values() {
            // One that is closed already is as it should be.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Connections taken so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Snapshots begun so far, on all connections.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        self.shared.snapshots.load(Ordering::SeqCst)
    }

    /// What control planes have told.
    #[must_use]
    pub fn told(&self) -> Vec<UpFact> {
        lock(&self.shared.told).clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.hang_up();
        if let Some(accepting) = self.accepting.take() {
            // A thread that panicked has said so.
            let _ = accepting.join();
        }
        let _ = std::fs::remove_file(&self.shared.settings.socket);
    }
}

impl Shared {
    fn mischief(&self) -> Mischief {
        *lock(&self.mischief)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn remember(&self, fact: UpFact) {
        let mut told = lock(&self.told);
        if told.len() < MAX_TOLD {
            told.push(fact);
        }
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    while !shared.is_over() {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(TURN);
            continue;
        };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        connections.retain(|connection: &JoinHandle<()>| !connection.is_finished());
        connections.push(thread::spawn(move || {
            // The control plane has gone, or takes nothing.
            let _ = serve(stream, &shared, number);
            lock(&shared.open).remove(&number);
        }));
    }
    connections.into_iter().for_each(|connection| drop(connection.join()));
}

fn serve(stream: UnixStream, shared: &Shared, number: u64) -> io::Result<()> {
    lock(&shared.open).insert(number, stream.try_clone()?);
    if shared.is_over() {
        return Ok(());
    }
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TURN))?;
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    match &shared.settings.face {
        Face::Feed => feed::serve(stream, shared),
        Face::Vap(config) => vap::serve(stream, shared, config),
    }
}

/// What was read within one turn: `None` at the end of the stream.
fn read(mut stream: &UnixStream, chunk: &mut [u8]) -> io::Result<Option<usize>> {
    use std::io::{ErrorKind, Read};
    match stream.read(chunk) {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(Some(0)),
        Err(why) => Err(why),
    }
}

fn now() -> Now {
    Now {
        instant: Instant::now(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
