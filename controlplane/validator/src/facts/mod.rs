//! The vocabulary of what a validator tells, and of what it is told.
//!
//! Values only: a [`Fact`] has passed its checks, whatever its source; how it came is not in it. Source: vap.md 11.

mod local;
mod mapping;
mod routes;
mod tickets;
mod upward;

pub use local::{DomainMode, DomainPolicy, InvalidRange, LocalNumbers, LocalService, NumberRange};
pub use mapping::{GlobalEnd, InsideEnd, Mapping, MappingWithdraw};
pub use routes::{Evidence, LearnedRoute, RouteRef, RouteTarget, RouteWithdraw, TargetHost, WithdrawReason};
pub use tickets::{LearnedKey, LearnedKeyState, RevokedTickets, TicketRevoke};
pub use upward::{FallbackEvent, FallbackMetrics, RouteFeedback, RouteOutcome, TrunkClass, VcrReport};

/// One thing a validator says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A route was learned or renewed; it replaces the one of the same id.
    RouteUpsert(Box<LearnedRoute>),
    /// A route is over.
    RouteWithdraw(RouteWithdraw),
    /// A ticket key; it replaces the one of the same epoch.
    TicketKey(LearnedKey),
    /// Tickets are taken back.
    TicketRevoke(TicketRevoke),
    /// Which domains routes may lead to; it replaces the former policy.
    DomainPolicy(DomainPolicy),
    /// Numbers enrolled here; it replaces the former ones of the same VService.
    LocalNumbers(LocalNumbers),
    /// A domain of ours and its edges; it replaces the former one of the same VService.
    LocalService(LocalService),
    /// A far address gets an inside one; it replaces the mapping of the same id.
    MappingUpsert(Mapping),
    /// A mapping is over.
    MappingWithdraw(MappingWithdraw),
}

/// One thing a validator is told.
#[derive(Clone, Debug, PartialEq)]
pub enum UpFact {
    /// A call over the PSTN ended.
    Vcr(VcrReport),
    /// What calls over a route came to.
    Feedback(RouteFeedback),
    /// A call went back to the PSTN.
    Fallback(FallbackEvent),
}
