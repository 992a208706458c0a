//! What the admin address and the facts file ask of the [`Ledger`](super::Ledger), and what they are answered.
//!
//! Values only; they travel over a bounded queue to the one place that owns the facts.

use serde_json::Value;
use tokio::sync::oneshot;
use tollgate_contract::E164;
use tollgate_validator::MappingId;
use tollgate_validator::facts::RevokedTickets;

use super::{FactsDocument, Scope, Source};

/// Something asked of the ledger.
#[derive(Debug)]
pub enum LearnedRequest {
    /// To put a document in force, whole or not at all.
    Put {
        /// Who says it.
        source: Source,
        /// What it replaces.
        scope: Scope,
        /// What it says.
        document: FactsDocument,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// To take back what the API told.
    Remove {
        /// What.
        what: Removal,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// To show something.
    Ask {
        /// What.
        question: Question,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
}

/// What is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Every route.
    AllRoutes,
    /// The routes of a number.
    RoutesOf(E164),
    /// Every mapping.
    AllMappings,
    /// A mapping.
    Mapping(MappingId),
    /// Every revocation.
    AllRevocations,
    /// A revocation.
    Revocation(RevokedTickets),
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Routes, by number.
    Routes(RouteFilter),
    /// Every route of one number.
    Route(E164),
    /// Mappings, by name.
    Mappings {
        /// Those after this one.
        after: Option<MappingId>,
        /// Most of them.
        limit: usize,
    },
    /// Revocations, by ticket, domain and number.
    Revocations {
        /// Those after this one.
        after: Option<RevokedTickets>,
        /// Most of them.
        limit: usize,
    },
    /// Ticket keys without their secrets, and how much is taken back.
    Tickets,
}

/// Which routes are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Those of numbers after this one.
    pub after: Option<E164>,
    /// Those of this domain.
    pub domain: Option<String>,
    /// Those of this source.
    pub source: Option<Source>,
    /// About how many; all routes of the last number are shown.
    pub limit: usize,
}

/// An answer as HTTP wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status: 200, 404, 409, 422 or 507.
    pub status: u16,
    /// What is said.
    pub body: Value,
}
