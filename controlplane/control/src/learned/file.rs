//! The facts file of `learned.file`: read at start and whenever it changes, whole or not at all.
//!
//! It is looked at every two seconds; a bad file is told and leaves the facts of the good one before it in force.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Answer, FactsDocument, LearnedRequest, Scope, Source};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Most bytes of the file: a million routes with long tickets.
const MAX_BYTES: u64 = 1 << 30;

/// What tells one state of the file from another: a writer that keeps size and time still changes its inode or ctime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn of(data: &Metadata) -> Self {
        Self {
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

/// Watches a file for as long as the ledger listens, and says what came of each of its states.
pub async fn watch<C: From<LearnedRequest>>(path: PathBuf, ledger: mpsc::Sender<C>, tell: impl Fn(Result<(), String>)) {
    let mut seen = None;
    let mut unreadable = None;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (at, known) = (path.clone(), seen);
        let looked = tokio::task::spawn_blocking(move || look(&at, known)).await;
        let document = match looked.unwrap_or_else(|_| Err("reading it failed".to_owned())) {
            Ok(None) => continue,
            Ok(Some((state, document))) => {
                seen = Some(state);
                unreadable = None;
                document
            }
            Err(why) => {
                // A file that is missing for days is told once.
                if unreadable.as_ref() != Some(&why) {
                    tell(Err(format!("learned.file: {}: {why}", path.display())));
                }
                (seen, unreadable) = (None, Some(why));
                continue;
            }
        };
        let document = match document {
            Ok(document) => document,
            Err(why) => {
                tell(Err(format!(
                    "learned.file: {}: {why}; the facts before it stay in force",
                    path.display()
                )));
                continue;
            }
        };
        let (reply, answer) = oneshot::channel();
        let request = LearnedRequest::Put {
            source: Source::File,
            scope: Scope::All,
            document,
            reply,
        };
        if ledger.send(C::from(request)).await.is_err() {
            return;
        }
        match answer.await {
            Ok(answer) if answer.status == 200 => tell(Ok(())),
            Ok(answer) => tell(Err(format!("learned.file: {}: {}", path.display(), words(&answer)))),
            Err(_) => return,
        }
    }
}

/// A state of the file and what it says, or why that is nothing.
type Looked = (Look, Result<FactsDocument, String>);

/// The file's state and document, unless the state was seen before.
fn look(path: &Path, seen: Option<Look>) -> Result<Option<Looked>, String> {
    let unreadable = |why: io::Error| format!("cannot be read: {why}");
    let file = fs::File::open(path).map_err(unreadable)?;
    let now = Look::of(&file.metadata().map_err(unreadable)?);
    if seen == Some(now) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let document = match bytes.len() as u64 > MAX_BYTES {
        true => Err(format!("has more than {MAX_BYTES} bytes")),
        false => serde_json::from_slice(&bytes).map_err(|why| format!("is not JSON as it should be: {why}")),
    };
    Ok(Some((now, document)))
}

/// The first refused entries of an answer, in words.
fn words(answer: &Answer) -> String {
    const SHOWN: usize = 5;
    let refused = answer.body["refused"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = refused.iter().take(SHOWN).map(|entry| {
        let text = entry["text"].as_str().unwrap_or_default();
        format!("entry {}: {text}", entry["index"])
    });
    let shown: Vec<String> = shown.collect();
    let error = answer.body["error"].as_str().unwrap_or("refused");
    format!("{error}; {}; the facts before it stay in force", shown.join("; "))
}
