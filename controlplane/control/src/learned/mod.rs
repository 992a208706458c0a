//! Facts learned while running, from every source: routes, revocations, ticket keys, mappings, domain policies.
//!
//! Nothing here opens a socket or a file, and time is an argument; the store, the file and the API stand beside it.
//! Source: vap.md 11.
//!
//! # Which of several facts holds
//!
//! For one number: **the policy's own route, else the best source's, in the order API, file, feed, VAP; within a source
//! the highest revision, and of equals the first id.** A fact that loses is kept and takes over when the winner ends or
//! is withdrawn. A route to a domain that a source denies, or that is not on a source's list of allowed ones, is kept
//! and not used. Only a number's own routes compete: a route of the policy for a prefix is a default, and a learned
//! number is more specific.
//!
//! The same order decides between two keys of one epoch and two mappings of one address. Revocations and denied domains
//! never compete: what any source takes back is taken back.

mod apply;
mod batch;
mod book;
mod domains;
mod entries;
mod file;
mod intern;
mod journal;
mod kept;
mod ledger;
mod pages;
mod refusal;
mod requests;
mod source;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod view;

pub use batch::{Batch, Changes, MappingChange, Mark, Outcome, Scope, Tolerance};
pub use book::{HeldRoute, ROUTES_PER_NUMBER_MAX};
pub use domains::DomainRules;
pub use entries::{EntryFault, FactsDocument, MappingEntry, RevocationEntry, RouteEntry, TargetEntry};
pub use file::watch;
pub use journal::{Journal, Op};
pub use kept::{Kept, Name};
pub use ledger::{Ledger, LedgerSettings};
pub use refusal::{Cause, REFUSED_LISTED_MAX, Refused};
pub use requests::{Answer, LearnedRequest, Question, Removal, RouteFilter};
pub use source::{InvalidSource, Source};
pub use stats::{Stats, StoreStats, expose};
pub use table::{Bounds, LearnedRoutes};
pub use view::{LearnedView, add_learned};
