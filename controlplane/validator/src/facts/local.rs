//! What is ours: which domains routes may lead to, the numbers enrolled here, and our edges.
//!
//! Source: vap.md 6 and 11.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tollgate_contract::E164;

use crate::{Domain, VServiceId, wire};

/// Which domains routes may lead to. A whole list: it replaces the former one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainPolicy {
    /// How to read the list.
    pub mode: DomainMode,
    /// The domains.
    #[serde(with = "wire::list")]
    pub domains: Vec<Domain>,
}

/// How a list of domains is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainMode {
    /// Only these (the whitelist of VAP).
    Allow,
    /// All but these (the blacklist of VAP).
    Deny,
}

impl DomainPolicy {
    /// Whether a route may lead to the domain.
    #[must_use]
    pub fn permits(&self, domain: &Domain) -> bool {
        let is_listed = self.domains.contains(domain);
        match self.mode {
            DomainMode::Allow => is_listed,
            DomainMode::Deny => !is_listed,
        }
    }
}

/// The numbers enrolled for a VService of ours. A whole list: it replaces the former one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalNumbers {
    /// The VService.
    #[serde(with = "wire::text")]
    pub vservice_id: VServiceId,
    /// The numbers, as ranges; a single number is a range of one.
    pub ranges: Vec<NumberRange>,
}

/// Numbers from first to last, both included and of equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRange")]
pub struct NumberRange {
    #[serde(with = "wire::text")]
    first: E164,
    #[serde(with = "wire::text")]
    last: E164,
}

/// The ends are of different length or in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of numbers: both ends have the same number of digits, the first is not above the last")]
pub struct InvalidRange;

impl NumberRange {
    /// The numbers from `first` to `last`.
    ///
    /// # Errors
    /// [`InvalidRange`] if the lengths differ or `first` is above `last`.
    pub fn new(first: E164, last: E164) -> Result<Self, InvalidRange> {
        if first.digits() != last.digits() || first > last {
            return Err(InvalidRange);
        }
        Ok(Self { first, last })
    }

    /// The lowest number.
    #[must_use]
    pub const fn first(self) -> E164 {
        self.first
    }

    /// The highest number.
    #[must_use]
    pub const fn last(self) -> E164 {
        self.last
    }

    /// Whether the number is in the range.
    #[must_use]
    pub fn contains(self, number: E164) -> bool {
        number.digits() == self.first.digits() && (self.first..=self.last).contains(&number)
    }
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(with = "wire::text")]
    first: E164,
    #[serde(with = "wire::text")]
    last: E164,
}

impl TryFrom<RawRange> for NumberRange {
    type Error = InvalidRange;

    fn try_from(raw: RawRange) -> Result<Self, InvalidRange> {
        Self::new(raw.first, raw.last)
    }
}

/// A domain of ours and where peers reach its edges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalService {
    /// The VService.
    #[serde(with = "wire::text")]
    pub vservice_id: VServiceId,
    /// The domain.
    #[serde(with = "wire::text")]
    pub domain: Domain,
    /// Public addresses of its edges.
    #[serde(with = "wire::list")]
    pub addresses: Vec<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_numbers_of_its_own_length_alone() {
        let number = |text: &str| text.parse::<E164>().unwrap();
        let range = NumberRange::new(number("+14085550100"), number("+14085550199")).unwrap();
        assert!(range.contains(number("+14085550100")) && range.contains(number("+14085550199")));
        assert!(!range.contains(number("+14085550200")) && !range.contains(number("+140855501500")));
        assert_eq!(NumberRange::new(number("+2"), number("+1")), Err(InvalidRange));
        assert_eq!(NumberRange::new(number("+1"), number("+10")), Err(InvalidRange));
    }

    #[test]
    fn domain_policies_allow_or_deny() {
        let listed: Domain = "peer.example".parse().unwrap();
        let other: Domain = "other.example".parse().unwrap();
        let policy = |mode| DomainPolicy {
            mode,
            domains: vec![listed.clone()],
        };
        assert!(policy(DomainMode::Allow).permits(&listed) && !policy(DomainMode::Allow).permits(&other));
        assert!(!policy(DomainMode::Deny).permits(&listed) && policy(DomainMode::Deny).permits(&other));
    }
}
