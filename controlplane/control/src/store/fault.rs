//! Why learned facts are not kept on disk, and what mends it.
//!
//! Decides nothing; [`open`](super::open) does.

use std::io;
use std::path::{Path, PathBuf};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

/// What is wrong with the store.
#[derive(Debug, thiserror::Error)]
#[error("state.dir: {}: {problem}; {mend}", path.display())]
pub struct StoreFault {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// What mends it.
    pub mend: &'static str,
    /// Whether the file's content is damaged, as opposed to out of reach.
    pub is_corrupt: bool,
}

/// What redb says about a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Another process has it.
    #[error("another process has it open")]
    Busy,
    /// It was written by another version.
    #[error("it was written by another version of Tollgate (format {0})")]
    Foreign(u64),
    /// The bytes are not what was written.
    #[error("it is damaged ({0})")]
    Corrupt(String),
    /// The system refused.
    #[error("{0}")]
    Io(io::Error),
}

impl Failure {
    pub(super) fn at(self, path: &Path) -> StoreFault {
        let (is_corrupt, mend) = match &self {
            Self::Busy => (false, "end the other process, or give each edge a folder of its own"),
            Self::Foreign(_) => (false, "run that version, or move the file away to begin anew"),
            Self::Corrupt(_) => (true, "it is moved aside; what the sources tell again is learned again"),
            Self::Io(why) if why.kind() == io::ErrorKind::StorageFull => (false, "make room on the disk"),
            Self::Io(_) => (false, "let this user write there, or name another folder"),
        };
        StoreFault {
            path: path.to_owned(),
            problem: self.to_string(),
            mend,
            is_corrupt,
        }
    }
}

impl Failure {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "redb may add errors; those are the system's"
    )]
    fn of(why: redb::Error) -> Self {
        match why {
            // This is how redb tells that the file has not its magic number.
            redb::Error::Io(why) if why.kind() == io::ErrorKind::InvalidData => Self::Corrupt(why.to_string()),
            // A file cut short is read past its end.
            redb::Error::Io(why) if why.kind() == io::ErrorKind::UnexpectedEof => Self::Corrupt(why.to_string()),
            redb::Error::Io(why) => Self::Io(why),
            redb::Error::Corrupted(why) => Self::Corrupt(why),
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::Busy,
            redb::Error::UpgradeRequired(version) => Self::Foreign(u64::from(version)),
            // Tables of a version that never was.
            why @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => Self::Corrupt(why.to_string()),
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(why: $error) -> Self {
                Self::of(why.into())
            }
        }
    )*};
}

from_redb!(StorageError, DatabaseError, TransactionError, TableError, CommitError);

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Self::Io(why)
    }
}
