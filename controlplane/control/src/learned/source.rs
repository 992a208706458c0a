//! Where a learned fact comes from, and how sources rank.
//!
//! It says nothing about how a source is connected.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A source of learned facts. The order is the rank: an earlier one wins over a later one. The operator's policy stands
/// above all of them and is no source of learned facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The admin address.
    Api,
    /// The file of `learned.file`.
    File,
    /// Tollgate's native feed.
    Feed,
    /// An IME validator over VAP.
    Vap,
}

impl Source {
    /// Every source, best first; the position is [`Source::index`].
    pub const ALL: [Self; 4] = [Self::Api, Self::File, Self::Feed, Self::Vap];

    /// Its place in [`Source::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in JSON, metrics and the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::File => "file",
            Self::Feed => "feed",
            Self::Vap => "vap",
        }
    }

    /// Whether a person writes it: then the last word holds, whatever revision it names.
    #[must_use]
    pub const fn is_operator(self) -> bool {
        matches!(self, Self::Api | Self::File)
    }
}

/// Not the name of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a source: api, file, feed or vap")]
pub struct InvalidSource;

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        Self::ALL
            .into_iter()
            .find(|source| source.name() == text)
            .ok_or(InvalidSource)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
