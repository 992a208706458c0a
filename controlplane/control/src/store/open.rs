//! Opening the store and reading it whole.
//!
//! A damaged file is moved aside, never repaired by guessing; a file that is merely out of reach, or another version's,
//! is left as it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::FILE_NAME;
use super::code::{self, FORMAT};
use super::fault::{Failure, StoreFault};
use crate::learned::Op;

/// Every fact, by [`code`]'s keys.
pub(super) const FACTS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("facts");

/// The format's number.
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");

/// The key of [`FORMAT`] in [`META`].
pub(super) const FORMAT_KEY: &str = "format";

/// Memory for pages of the file: what is read once and written in order needs little.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// What opening came to.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The store; `None` if facts are not kept.
    pub(crate) store: Option<Database>,
    /// What went wrong on the way. A damaged file that was moved aside is here, and the new one is open.
    pub(crate) faults: Vec<StoreFault>,
}

/// Who takes in what the store held, in no order; `None` means that everything before it was damaged and is to be
/// forgotten.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(Option<Op>);

/// Opens the store of a folder, which is made if it is not there, and reads it whole. A damaged file is renamed to
/// `learned.redb.corrupt-<seconds since 1970>` and a new one begun.
pub(crate) fn open(dir: &Path, unix: Duration, sink: Sink<'_>) -> Opened {
    let path = dir.join(FILE_NAME);
    mended(dir, unix, || {
        sink(None);
        read(FileBackend::new(file(dir, &path)?)?, sink)
    })
}

/// Opens a store that is only to be written anew.
pub(super) fn reopen(path: &Path, unix: Duration) -> Opened {
    let dir = path.parent().unwrap_or(path);
    mended(dir, unix, || {
        let database = database(FileBackend::new(file(dir, path)?)?)?;
        check_format(&database)?;
        Ok(database)
    })
}

/// Tries, and if the file is damaged moves it aside and tries again.
fn mended(dir: &Path, unix: Duration, mut attempt: impl FnMut() -> Result<Database, Failure>) -> Opened {
    let path = dir.join(FILE_NAME);
    let mut faults = Vec::new();
    let first = match contained(&mut attempt) {
        Ok(store) => {
            return Opened {
                store: Some(store),
                faults,
            };
        }
        Err(why) => why.at(&path),
    };
    let is_corrupt = first.is_corrupt;
    faults.push(first);
    if !is_corrupt {
        return Opened { store: None, faults };
    }
    let aside = dir.join(format!("{FILE_NAME}.corrupt-{}", unix.as_secs()));
    let second = fs::rename(&path, &aside)
        .map_err(Failure::Io)
        .and_then(|()| contained(&mut attempt));
    let store = second.map_err(|why| faults.push(why.at(&path))).ok();
    Opened { store, faults }
}

/// Opens a database and reads everything in it.
pub(super) fn read(backend: impl StorageBackend, sink: Sink<'_>) -> Result<Database, Failure> {
    let database = database(backend)?;
    check_format(&database)?;
    facts(&database, sink)?;
    Ok(database)
}

/// A database library that panics on damaged bytes must not take the edge with it.
pub(super) fn contained<T>(attempt: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let panicked = |_| Err(Failure::Corrupt("its pages contradict each other".to_owned()));
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(panicked)
}

/// The file, readable by its owner alone: it holds ticket keys.
fn file(dir: &Path, path: &Path) -> Result<File, Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn database(backend: impl StorageBackend) -> Result<Database, Failure> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // Bytes that changed on disk are found here, before one of them is believed.
    builder.set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(backend)?)
}

/// A new file gets our format; another's is refused.
fn check_format(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    let is_new = {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get(FORMAT_KEY)?.map(|format| format.value());
        match format {
            Some(FORMAT) => false,
            Some(other) => return Err(Failure::Foreign(other)),
            None => {
                meta.insert(FORMAT_KEY, FORMAT)?;
                transaction.open_table(FACTS)?;
                true
            }
        }
    };
    if is_new {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(())
}

fn facts(database: &Database, sink: Sink<'_>) -> Result<(), Failure> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(FACTS)?;
    for entry in table.iter()? {
        let (key, value) = entry?;
        sink(Some(code::decode(key.value(), value.value())?));
    }
    Ok(())
}
