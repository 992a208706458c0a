use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use tollgate_contract::Secret;
use tollgate_validator::checks::RouteRules;
use tollgate_validator::facts::{Fact, LearnedKey, LearnedKeyState};

use super::open::{FORMAT_KEY, META, read};
use super::{FILE_NAME, Writer, open};
use crate::learned::{
    Batch, Bounds, FactsDocument, LearnedRoutes, Mark, Op, RouteEntry, Scope, Source, TargetEntry, Tolerance,
};

const NOW: Duration = Duration::from_secs(1_800_000_000);

/// Set in a child process that writes until it is killed.
const CHILD: &str = "TOLLGATE_STORE_TEST_DIR";

/// Routes that always change together.
const TOGETHER: usize = 1_500;

#[test]
fn every_kind_of_fact_is_read_back_and_the_file_is_the_owners_alone() {
    let dir = Dir::new("kinds");
    let mut table = LearnedRoutes::new(Bounds::default());
    let facts = concat!(
        r#"{"revocations":[{"number":"+14085550001"},{"granted_to":"b.example"},"#,
        r#"{"ticket_uuid":"6ba7b810-9dad-41d1-80b4-00c04fd430c8"}],"#,
        r#""mappings":[{"mapping_id":"m1","global":{"ip":"192.0.2.9","port":5061,"transport":"tls"},"#,
        r#""inside":{"ip":"10.0.0.1","port":20001},"expected_tls_domain":"b.example","expires_at_ms":1900000000000}],"#,
        r#""domains":{"mode":"deny","domains":["c.example"]}}"#
    );
    let mut batch = document(facts).batch(Scope::All, &RouteRules::default(), NOW).unwrap();
    batch.facts.push(Fact::TicketKey(key()));
    assert!(table.apply(NOW, Source::Feed, batch).is_applied);
    assert!(table.apply(NOW, Source::Api, state(1, 3)).is_applied);
    write(dir.path(), &mut table);
    let (read, faults) = read_back(dir.path());
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(contents(&read), contents(&table));
    assert_eq!(read.mark(Source::Api), table.mark(Source::Api));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join(FILE_NAME)), 0o600);
    assert_eq!(mode(dir.path()), 0o700);
}

#[test]
fn a_process_killed_at_any_moment_leaves_one_whole_state() {
    for round in 0..8 {
        let dir = Dir::new("killed");
        let name = "store::tests::child_that_writes_until_it_is_killed";
        // This very program, even if another build has replaced its file.
        let mut child = Command::new("/proc/self/exe")
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !dir.path().join("ready").exists() && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(40 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let (table, faults) = read_back(dir.path());
        assert!(faults.is_empty(), "{faults:?}");
        let revision = table.mark(Source::Feed).expect("at least one commit").revision;
        assert!(
            revision > 0 && is_state(&table, revision),
            "round {round}, revision {revision}"
        );
    }
}

/// Not a test of its own: the process that is killed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else {
        return;
    };
    let mut table = LearnedRoutes::new(Bounds::default());
    let mut writer = start(&dir, &mut table);
    for revision in 1.. {
        assert!(table.apply(NOW, Source::Feed, state(revision, TOGETHER)).is_applied);
        // More than the queue takes is among it, so that states are followed and written anew.
        writer.follow(&mut table, NOW + Duration::from_millis(60 * revision));
        if writer.stats().commits > 0 {
            fs::write(dir.join("ready"), "").unwrap();
        }
        if revision % 16 != 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn damaged_bytes_are_found_and_the_file_is_moved_aside() {
    let dir = Dir::new("damaged");
    let mut table = LearnedRoutes::new(Bounds::default());
    table.apply(NOW, Source::Feed, state(7, 400));
    write(dir.path(), &mut table);
    let path = dir.path().join(FILE_NAME);
    let sound = fs::read(&path).unwrap();
    let (mut random, mut moved) = (Random(9), 0);
    for _ in 0..150 {
        let mut bytes = sound.clone();
        // Half of them near the start, where the header and the roots are.
        let at = match random.below(2) {
            0 => random.below(16_384.min(bytes.len())),
            _ => random.below(bytes.len()),
        };
        bytes[at] ^= 1 << random.below(8);
        fs::write(&path, &bytes).unwrap();
        let (read, faults) = read_back(dir.path());
        let is_whole = is_state(&read, 7);
        assert!(
            is_whole || read.is_empty(),
            "byte {at}: {} of 400 routes were believed",
            read.len()
        );
        assert_eq!(is_whole, faults.is_empty(), "byte {at}: {faults:?}");
        let aside = dir.path().join(format!("{FILE_NAME}.corrupt-{}", NOW.as_secs()));
        if faults.iter().any(|fault| fault.is_corrupt) {
            moved += 1;
            assert_eq!(fs::read(&aside).unwrap().len(), bytes.len());
            fs::remove_file(aside).unwrap();
        } else {
            assert!(!aside.exists());
        }
    }
    assert!(moved > 10, "only {moved} of 150 were found");
}

#[test]
fn a_file_cut_short_or_of_something_else_is_moved_aside() {
    for bytes in [b"not a database".to_vec(), vec![0; 8_192], b"redb".to_vec()] {
        let dir = Dir::new("cut");
        fs::create_dir(dir.path()).unwrap();
        fs::write(dir.path().join(FILE_NAME), &bytes).unwrap();
        let (table, faults) = read_back(dir.path());
        assert!(
            table.is_empty() && faults.len() == 1 && faults[0].is_corrupt,
            "{faults:?}"
        );
        let (_, again) = read_back(dir.path());
        assert!(again.is_empty(), "{again:?}");
    }
}

#[test]
fn a_file_of_another_version_is_left_as_it_is() {
    let dir = Dir::new("foreign");
    write(dir.path(), &mut LearnedRoutes::new(Bounds::default()));
    let path = dir.path().join(FILE_NAME);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT_KEY, 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let (_, faults) = read_back(dir.path());
    let text = faults[0].to_string();
    assert!(text.starts_with("state.dir: ") && text.contains("format 99"), "{text}");
    assert!(path.exists() && fs::read_dir(dir.path()).unwrap().count() == 1);
}

#[test]
fn a_folder_that_cannot_be_is_told_with_its_key_and_a_mend() {
    let dir = Dir::new("unwritable");
    fs::write(dir.path(), "a file").unwrap();
    let (table, faults) = read_back(&dir.path().join("below"));
    let text = faults[0].to_string();
    assert!(
        table.is_empty() && text.starts_with("state.dir: ") && text.contains("name another folder"),
        "{text}"
    );
    fs::remove_file(dir.path()).unwrap();
}

#[test]
fn a_second_process_does_not_get_the_file() {
    let dir = Dir::new("busy");
    let opened = open(dir.path(), NOW, &mut |_| {});
    let (_, faults) = read_back(dir.path());
    assert!(
        opened.store.is_some() && faults[0].problem.contains("another process"),
        "{faults:?}"
    );
}

#[test]
fn a_disk_that_fills_at_any_byte_leaves_the_state_before_or_after() {
    let (mut before, mut after) = (0, 0);
    for step in 0..60 {
        let dir = Dir::new("full");
        let mut table = LearnedRoutes::new(Bounds::default());
        table.apply(NOW, Source::Feed, state(1, 200));
        write(dir.path(), &mut table);
        let path = dir.path().join(FILE_NAME);
        let room = Arc::new(AtomicU64::new(u64::MAX));
        let mut table = LearnedRoutes::new(Bounds::default());
        let database = read(disk(&path, &room), &mut |op| restore(&mut table, op)).unwrap();
        let mut writer = Writer::start(path.clone(), Some(database), NOW).unwrap();
        room.store(step * 6_000, Ordering::SeqCst);
        table.apply(NOW, Source::Feed, state(2, 200));
        writer.follow(&mut table, NOW);
        assert!(writer.close(Duration::from_secs(20)));
        let (read, faults) = read_back(dir.path());
        assert!(faults.is_empty(), "{faults:?}");
        let revision = read.mark(Source::Feed).unwrap().revision;
        assert!(is_state(&read, revision), "room {}", step * 6_000);
        if revision == 1 { before += 1 } else { after += 1 }
    }
    assert!(before > 0 && after > 0, "{before} before, {after} after");
}

#[test]
fn a_disk_that_has_room_again_gets_everything_that_was_missed() {
    let dir = Dir::new("again");
    fs::create_dir(dir.path()).unwrap();
    let path = dir.path().join(FILE_NAME);
    let room = Arc::new(AtomicU64::new(u64::MAX));
    let database = read(disk(&path, &room), &mut |_| {}).unwrap();
    let mut writer = Writer::start(path, Some(database), NOW).unwrap();
    let mut table = LearnedRoutes::new(Bounds::default());
    room.store(0, Ordering::SeqCst);
    table.apply(NOW, Source::Feed, state(1, 50));
    writer.follow(&mut table, NOW);
    until(|| writer.stats().failures == 1);
    assert!(!writer.stats().is_up);
    let fault = writer.take_fault().unwrap().to_string();
    assert!(fault.contains("make room on the disk"), "{fault}");
    table.apply(NOW, Source::Feed, state(2, 5_000));
    writer.follow(&mut table, NOW);
    let retry = writer.next_wake(NOW);
    assert!(retry > NOW);
    until(|| {
        writer.follow(&mut table, retry + Duration::from_secs(1));
        writer.stats().is_up
    });
    assert!(writer.close(Duration::from_secs(20)));
    let (read, faults) = read_back(dir.path());
    assert!(
        faults.is_empty() && is_state(&read, 2) && read.len() == 5_000,
        "{faults:?}"
    );
}

#[test]
fn more_than_the_queue_takes_is_written_anew_bit_by_bit() {
    let dir = Dir::new("many");
    let mut table = LearnedRoutes::new(Bounds::default());
    let mut writer = start(dir.path(), &mut table);
    table.apply(NOW, Source::Feed, state(1, 80_000));
    let mut at = NOW;
    writer.follow(&mut table, at);
    // Changes that come while it goes on are not lost.
    table.apply(NOW, Source::Api, state(5, 100));
    until(|| {
        at += Duration::from_secs(1);
        writer.follow(&mut table, at);
        writer.next_wake(at) > at + Duration::from_secs(1) && writer.stats().is_up
    });
    assert!(writer.close(Duration::from_secs(60)));
    let (read, faults) = read_back(dir.path());
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!(contents(&read), contents(&table));
}

/// A batch that makes all of a source's routes ones of a revision.
fn state(revision: u64, routes: usize) -> Batch {
    let entries = (0..routes).map(|at| RouteEntry {
        id: None,
        number: format!("+1408{at:07}"),
        domain: "b.example".to_owned(),
        targets: vec![TargetEntry::Text("192.0.2.4:5061".to_owned())],
        ticket: tollgate_contract::Pii(format!("ticket-{revision}-{at}")),
        revision,
        learned_at_ms: None,
        expires_at_ms: None,
    });
    let document = FactsDocument {
        routes: entries.collect(),
        ..FactsDocument::default()
    };
    let batch = document.batch(Scope::All, &RouteRules::default(), NOW).unwrap();
    Batch {
        tolerance: Tolerance::None,
        mark: Some(Mark {
            instance: Some(u128::MAX - 1),
            generation: 3,
            revision,
        }),
        ..batch
    }
}

fn is_state(table: &LearnedRoutes, revision: u64) -> bool {
    let (routes, _) = table.routes_from(0, usize::MAX);
    let is_of = |op: &Op| matches!(op, Op::PutRoute(held) if held.revision == revision);
    !routes.is_empty() && routes.iter().all(is_of)
}

/// Everything in a table, in an order that does not depend on how it came there.
fn contents(table: &LearnedRoutes) -> Vec<String> {
    let (routes, _) = table.routes_from(0, usize::MAX);
    let all = routes.into_iter().chain(table.all_but_routes());
    let mut all: Vec<String> = all
        .map(|op| {
            let entry = super::code::encode(&op);
            format!("{:?} {:?}", entry.key, entry.value.map(|value| value.to_vec()))
        })
        .collect();
    all.sort();
    all
}

fn key() -> LearnedKey {
    LearnedKey {
        epoch: 4,
        alg: tollgate_contract::TicketAlg::V2HmacSha256,
        secret: Secret::new(vec![9; 32]),
        not_before: NOW,
        issue_until: NOW + Duration::from_secs(10),
        accept_until: NOW + Duration::from_secs(20),
        state: LearnedKeyState::Issuing,
    }
}

fn document(text: &str) -> FactsDocument {
    serde_json::from_str(text).unwrap()
}

fn start(dir: &Path, table: &mut LearnedRoutes) -> Writer {
    let opened = open(dir, NOW, &mut |op| restore(table, op));
    assert!(opened.faults.is_empty(), "{:?}", opened.faults);
    Writer::start(dir.join(FILE_NAME), opened.store, NOW).unwrap()
}

fn restore(table: &mut LearnedRoutes, op: Option<Op>) {
    match op {
        Some(op) => assert!(table.restore(op)),
        None => *table = LearnedRoutes::new(Bounds::default()),
    }
}

fn write(dir: &Path, table: &mut LearnedRoutes) {
    let mut empty = LearnedRoutes::new(Bounds::default());
    let mut writer = start(dir, &mut empty);
    writer.follow(table, NOW);
    assert!(writer.close(Duration::from_secs(20)));
}

fn read_back(dir: &Path) -> (LearnedRoutes, Vec<super::StoreFault>) {
    let mut table = LearnedRoutes::new(Bounds::default());
    let opened = open(dir, NOW, &mut |op| restore(&mut table, op));
    (table, opened.faults)
}

fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn disk(path: &Path, room: &Arc<AtomicU64>) -> Disk {
    let mut options = fs::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    Disk {
        inner: FileBackend::new(file.unwrap()).unwrap(),
        room: room.clone(),
    }
}

/// A file on a disk with room for so many more written bytes.
#[derive(Debug)]
struct Disk {
    inner: FileBackend,
    room: Arc<AtomicU64>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let fits = data.len() as u64;
        let room = self.room.load(Ordering::SeqCst);
        let written = fits.min(room);
        self.room
            .fetch_sub(if room == u64::MAX { 0 } else { written }, Ordering::SeqCst);
        // A full disk takes what it still can.
        self.inner.write(offset, &data[..written as usize])?;
        match written == fits {
            true => Ok(()),
            false => Err(io::Error::from(ErrorKind::StorageFull)),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

/// A folder that goes with its test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::SeqCst);
        Self(std::env::temp_dir().join(format!("tollgate-store-{name}-{}-{next}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A linear congruential generator: the same bytes are damaged in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}
