//! Why an entry is refused: one name, one answer, one counter.
//!
//! It decides nothing; the status of each cause stands in one place.

use tollgate_validator::checks::RouteFault;

/// Most refused entries that an outcome lists; the number of all is told beside them.
pub const REFUSED_LISTED_MAX: usize = 1_000;

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A route does not pass its checks.
    Route(RouteFault),
    /// It cannot be read at all.
    Syntax,
    /// Its time is over.
    Expired,
    /// The batch names it twice.
    Duplicate,
    /// Its revision or generation is below the one held.
    Stale,
    /// The held one has the same revision and other content.
    Conflict,
    /// The epoch has another key already (ticket.md 9).
    EpochTaken,
    /// This source has as many routes for the number as it may.
    Crowded,
    /// The table is full.
    Full,
}

impl Cause {
    /// The name in answers and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route(fault) => fault.name(),
            Self::Syntax => "syntax",
            Self::Expired => "expired",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::Conflict => "conflict",
            Self::EpochTaken => "epoch_taken",
            Self::Crowded => "crowded",
            Self::Full => "full",
        }
    }

    /// The code of the feed's Nack and of the HTTP answer (vap.md 11).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Syntax => 400,
            Self::Route(fault) if fault.is_policy() => 403,
            Self::Route(_) | Self::Expired | Self::Duplicate => 422,
            Self::Stale | Self::Conflict | Self::EpochTaken => 409,
            Self::Crowded | Self::Full => 507,
        }
    }
}

/// One refused entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Why.
    pub cause: Cause,
    /// What is wrong and how to mend it, in words; no number, ticket or key is in it.
    pub text: String,
}

impl Refused {
    /// A refusal in the cause's own words.
    #[must_use]
    pub fn of(index: usize, cause: Cause) -> Self {
        let text = match cause {
            Cause::Route(fault) => format!("the route is refused: {}", fault.name().replace('_', " ")),
            Cause::Syntax => "it cannot be read".to_owned(),
            Cause::Expired => "its time is over".to_owned(),
            Cause::Duplicate => "the list names it twice".to_owned(),
            Cause::Stale => "a newer revision is held already".to_owned(),
            Cause::Conflict => "the same revision is held with other content: raise the revision".to_owned(),
            Cause::EpochTaken => "the epoch has another key already: use a new epoch".to_owned(),
            Cause::Crowded => "this source has as many routes for the number as it may".to_owned(),
            Cause::Full => "the table is full".to_owned(),
        };
        Self { index, cause, text }
    }
}
