//! Ticket keys with their whole life, and tickets taken back.
//!
//! Source: ticket.md 9, vap.md 11.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_contract::{E164, KeyState, Secret, TicketAlg, TicketKey};

use crate::{Domain, TicketUuid, wire};

/// A ticket key with its whole life (ticket.md 9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearnedKey {
    /// The epoch that selects it, 1 to 2^32-1.
    pub epoch: u32,
    /// Its one algorithm.
    #[serde(with = "alg")]
    pub alg: TicketAlg,
    /// The secret P.
    #[serde(rename = "key", with = "wire::secret")]
    pub secret: Secret,
    /// Neither issues nor verifies before this time since 1970.
    #[serde(rename = "not_before_ms", with = "wire::millis")]
    pub not_before: Duration,
    /// Issues no more from this time since 1970.
    #[serde(rename = "issue_until_ms", with = "wire::millis")]
    pub issue_until: Duration,
    /// Verifies no more from this time since 1970.
    #[serde(rename = "accept_until_ms", with = "wire::millis")]
    pub accept_until: Duration,
    /// Where it stands.
    pub state: LearnedKeyState,
}

/// Where a ticket key stands (ticket.md 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearnedKeyState {
    /// Waits for `not_before`.
    Pending,
    /// Issues and verifies.
    Issuing,
    /// Verifies only.
    Accepting,
    /// Does neither any more.
    Retired,
    /// Taken back by the operator.
    Revoked,
}

impl LearnedKey {
    /// The key as a verifier holds it; `None` once it is retired.
    #[must_use]
    pub fn for_verifying(&self) -> Option<TicketKey> {
        let state = match self.state {
            LearnedKeyState::Pending | LearnedKeyState::Issuing | LearnedKeyState::Accepting => KeyState::Live,
            LearnedKeyState::Revoked => KeyState::Revoked,
            LearnedKeyState::Retired => return None,
        };
        Some(TicketKey {
            epoch: self.epoch,
            alg: self.alg,
            secret: self.secret.clone(),
            not_before: self.not_before,
            accept_until: self.accept_until,
            state,
        })
    }
}

/// Takes tickets back before their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRevoke {
    /// Which ones.
    #[serde(flatten)]
    pub which: RevokedTickets,
    /// When the entry may be forgotten, since 1970.
    #[serde(rename = "until_ms", with = "wire::millis")]
    pub until: Duration,
}

/// The tickets a revocation names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RevokedTickets {
    /// One ticket by its unique ID.
    #[serde(rename = "ticket_uuid", with = "wire::text")]
    Uuid(TicketUuid),
    /// All granted to a domain.
    #[serde(rename = "granted_to", with = "wire::text")]
    GrantedTo(Domain),
    /// All for a number.
    #[serde(rename = "number", with = "wire::text")]
    Number(E164),
}

/// `vipr-hmac-sha1` or `v2-hmac-sha256`.
mod alg {
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;
    use serde::{Deserialize, Serialize};
    use tollgate_contract::TicketAlg;

    #[derive(Serialize, Deserialize)]
    enum Name {
        #[serde(rename = "vipr-hmac-sha1")]
        ViprHmacSha1,
        #[serde(rename = "v2-hmac-sha256")]
        V2HmacSha256,
    }

    pub(super) fn serialize<S: Serializer>(alg: &TicketAlg, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match alg {
            TicketAlg::ViprHmacSha1 => Name::ViprHmacSha1,
            TicketAlg::V2HmacSha256 => Name::V2HmacSha256,
        };
        name.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TicketAlg, D::Error> {
        let name = Name::deserialize(deserializer).map_err(|_| D::Error::custom("unknown alg"))?;
        Ok(match name {
            Name::ViprHmacSha1 => TicketAlg::ViprHmacSha1,
            Name::V2HmacSha256 => TicketAlg::V2HmacSha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_key_verifies_nothing_and_a_revoked_one_stays_known() {
        let key = |state| LearnedKey {
            epoch: 1,
            alg: TicketAlg::V2HmacSha256,
            secret: Secret::new(vec![7; 32]),
            not_before: Duration::ZERO,
            issue_until: Duration::from_secs(1),
            accept_until: Duration::from_secs(2),
            state,
        };
        assert_eq!(
            key(LearnedKeyState::Accepting).for_verifying().unwrap().state,
            KeyState::Live
        );
        assert_eq!(
            key(LearnedKeyState::Revoked).for_verifying().unwrap().state,
            KeyState::Revoked
        );
        assert!(key(LearnedKeyState::Retired).for_verifying().is_none());
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = LearnedKey {
            epoch: 1,
            alg: TicketAlg::ViprHmacSha1,
            secret: Secret::new(b"hunter2".to_vec()),
            not_before: Duration::ZERO,
            issue_until: Duration::ZERO,
            accept_until: Duration::ZERO,
            state: LearnedKeyState::Issuing,
        };
        let shown = format!("{key:?}");
        assert!(!shown.contains("hunter") && !shown.contains("104, 117"), "{shown}");
    }
}
