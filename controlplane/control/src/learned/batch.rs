//! What a source tells in one go, and what came of it.
//!
//! Values only; [`LearnedRoutes`](super::LearnedRoutes) applies them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate_contract::RouteChange;
use tollgate_validator::facts::{Fact, Mapping};
use tollgate_validator::feed::session;
use tollgate_validator::{InstanceId, MappingId};

use super::{Name, Refused, Source};

/// Facts that are applied together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What of the source it replaces.
    pub scope: Scope,
    /// What to do about a bad entry.
    pub tolerance: Tolerance,
    /// Where the source stands after it, if it counts what it says: then its words are believed in their order, whatever
    /// revision a route names.
    pub mark: Option<Mark>,
    /// The facts, in order.
    pub facts: Vec<Fact>,
}

/// How much of what its source told before a batch replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: it adds to it.
    Delta,
    /// Everything.
    All,
    /// Routes.
    Routes,
    /// Mappings.
    Mappings,
    /// Revocations.
    Revocations,
}

impl Scope {
    pub(super) const fn has_routes(self) -> bool {
        matches!(self, Self::All | Self::Routes)
    }

    pub(super) const fn has(self, name: &Name) -> bool {
        match self {
            Self::Delta | Self::Routes => false,
            Self::All => true,
            Self::Mappings => matches!(name, Name::Mapping(_)),
            Self::Revocations => matches!(name, Name::Revocation(_)),
        }
    }
}

/// What one bad entry does to its batch. A table that would overflow refuses every batch whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// The batch is refused whole.
    None,
    /// The entry is refused, and what it names stays as it was.
    SkipBad,
}

/// Where a source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which run of the source it is, if it tells.
    pub instance: Option<u128>,
    /// Its generation.
    pub generation: u64,
    /// Its revision.
    pub revision: u64,
}

impl Mark {
    /// As the feed says it in its Hello; `None` for a source that tells no instance.
    #[must_use]
    pub fn position(self) -> Option<session::Position> {
        Some(session::Position {
            instance: InstanceId(self.instance?.to_be_bytes()),
            generation: self.generation,
            revision: self.revision,
        })
    }
}

impl From<session::Batch> for Batch {
    /// What the feed hands on was checked and answered there, and the later of two words rules.
    fn from(batch: session::Batch) -> Self {
        Self {
            scope: if batch.replaces_all { Scope::All } else { Scope::Delta },
            tolerance: Tolerance::SkipBad,
            mark: Some(Mark {
                instance: Some(u128::from_be_bytes(batch.position.instance.0)),
                generation: batch.position.generation,
                revision: batch.position.revision,
            }),
            facts: batch.facts,
        }
    }
}

/// What a snapshot needs to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes of the route table, in order; the last of a pattern's holds.
    pub routes: Vec<RouteChange>,
    /// Changes of mappings, in order, for whoever hands out inside addresses.
    pub mappings: Vec<MappingChange>,
    /// Whether anything changed that [`add_learned`](super::add_learned) adds to a snapshot.
    pub has_additions: bool,
}

/// A learned mapping is there, or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingChange {
    /// Who told it.
    pub source: Source,
    /// Its name there.
    pub id: MappingId,
    /// What it says from now on; `None` if it is over, its drain included.
    pub mapping: Option<Arc<Mapping>>,
}

impl Changes {
    /// Whether a snapshot may stay as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.mappings.is_empty() && !self.has_additions
    }

    /// Adds later changes.
    pub fn extend(&mut self, later: Self) {
        self.routes.extend(later.routes);
        self.mappings.extend(later.mappings);
        self.has_additions |= later.has_additions;
    }
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether its good entries are in force.
    pub is_applied: bool,
    /// The first [`REFUSED_LISTED_MAX`](super::REFUSED_LISTED_MAX) refused entries.
    pub refused: Vec<Refused>,
    /// How many were refused.
    pub refused_count: usize,
    /// What changed, expiry included.
    pub changes: Changes,
}
