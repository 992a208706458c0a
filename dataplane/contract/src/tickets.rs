//! Ticket keys and what has been taken back (ticket.md 6 and 9).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::{E164, Secret};

/// Most keys a ring holds; a further one is refused, never evicts (ticket.md 9).
pub const MAX_KEYS: usize = 16;

/// The epoch number of a key, 1 to 2^32-1.
pub type KeyId = u32;

/// The MAC an epoch's tickets carry; the keyring decides, not the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketAlg {
    /// HMAC-SHA1 in TLV 0x0009 (draft-petithuguenin-vipr-sip-antispam).
    ViprHmacSha1,
    /// HMAC-SHA-256 in TLV 0x8009 (Tollgate's v2).
    V2HmacSha256,
}

/// Whether an entry verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyState {
    /// Verifies until `accept_until`.
    #[default]
    Live,
    /// Taken back by the operator.
    Revoked,
}

/// One entry of the ring.
#[derive(Clone, Debug)]
pub struct TicketKey {
    /// The epoch that selects this key.
    pub epoch: KeyId,
    /// Its one algorithm.
    pub alg: TicketAlg,
    /// The secret P.
    pub secret: Secret,
    /// Nothing is verified before this time, since 1970.
    pub not_before: Duration,
    /// Nothing is verified from this time on, since 1970.
    pub accept_until: Duration,
    /// Live or revoked.
    pub state: KeyState,
}

/// The keys a verifier knows, at most [`MAX_KEYS`].
#[derive(Clone, Debug, Default)]
pub struct Keyring(Vec<TicketKey>);

/// The ring holds [`MAX_KEYS`] keys already, or the epoch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyringFull;

impl Keyring {
    /// Adds a key.
    ///
    /// # Errors
    /// [`KeyringFull`] if there are 16 keys or one of this epoch.
    pub fn add(&mut self, key: TicketKey) -> Result<(), KeyringFull> {
        if self.0.len() >= MAX_KEYS || self.0.iter().any(|known| known.epoch == key.epoch) {
            return Err(KeyringFull);
        }
        self.0.push(key);
        Ok(())
    }

    /// The key of an epoch if it verifies at this time since 1970.
    #[must_use]
    pub fn verifying(&self, epoch: KeyId, unix: Duration) -> Option<&TicketKey> {
        self.0.iter().find(|key| {
            key.epoch == epoch && key.state == KeyState::Live && key.not_before <= unix && unix < key.accept_until
        })
    }

    /// Every key.
    pub fn iter(&self) -> impl Iterator<Item = &TicketKey> {
        self.0.iter()
    }
}

/// How the MAC treats the Integrity TLV's own type and length (ticket.md 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MacCoverage {
    /// The MAC covers the bytes before the Integrity TLV.
    #[default]
    BeforeIntegrity,
    /// It covers the Integrity TLV's four header bytes too.
    WithIntegrityHeader,
}

/// The header field a ticket travels in (ticket.md 2). All four are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TicketHeader {
    /// `X-Cisco-UC-IME-Ticket`, the default name sent.
    #[default]
    CiscoUcIme,
    /// `X-Cisco-ViPR-Ticket`.
    CiscoVipr,
    /// `Ticket`.
    Ticket,
    /// `ViPR-Ticket`.
    Vipr,
}

impl TicketHeader {
    /// Every accepted name.
    pub const ALL: [Self; 4] = [Self::CiscoUcIme, Self::CiscoVipr, Self::Ticket, Self::Vipr];

    /// The field name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CiscoUcIme => "X-Cisco-UC-IME-Ticket",
            Self::CiscoVipr => "X-Cisco-ViPR-Ticket",
            Self::Ticket => "Ticket",
            Self::Vipr => "ViPR-Ticket",
        }
    }
}

/// Tickets taken back before their end.
#[derive(Clone, Debug, Default)]
pub struct DeniedTickets {
    /// By ticket unique ID.
    pub uuids: BTreeSet<[u8; 16]>,
    /// By number.
    pub numbers: BTreeSet<E164>,
    /// By granted-to domain, lower case.
    pub domains: BTreeSet<String>,
    /// By epoch.
    pub epochs: BTreeSet<KeyId>,
}

/// Why a ticket was refused (ticket.md 6). On the wire every one looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TicketCause {
    /// The connection has no usable certificate name.
    NoPeerIdentity,
    /// No ticket header.
    Missing,
    /// More than one ticket header, over all accepted names.
    Duplicate,
    /// Not a well-formed ticket.
    Syntax,
    /// No verifying key of that epoch.
    Epoch,
    /// The MAC is wrong, or of the other algorithm.
    Mac,
    /// Before its start or after its end.
    Time,
    /// Granted by a domain that is not ours.
    GrantingDomain,
    /// On a revocation list.
    Revoked,
    /// Granted to a domain the peer's certificate does not name.
    Domain,
    /// The Request-URI is not `sip:+E.164@…`.
    Ruri,
    /// For another number.
    Number,
    /// The number is not enrolled here.
    NotEnrolled,
}

impl TicketCause {
    /// Every cause; the position is the counter's index.
    pub const ALL: [Self; 13] = [
        Self::NoPeerIdentity,
        Self::Missing,
        Self::Duplicate,
        Self::Syntax,
        Self::Epoch,
        Self::Mac,
        Self::Time,
        Self::GrantingDomain,
        Self::Revoked,
        Self::Domain,
        Self::Ruri,
        Self::Number,
        Self::NotEnrolled,
    ];

    /// The name in metrics, logs and vectors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoPeerIdentity => "no_peer_identity",
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
            Self::Syntax => "syntax",
            Self::Epoch => "epoch",
            Self::Mac => "mac",
            Self::Time => "time",
            Self::GrantingDomain => "granting_domain",
            Self::Revoked => "revoked",
            Self::Domain => "domain",
            Self::Ruri => "ruri",
            Self::Number => "number",
            Self::NotEnrolled => "not_enrolled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seventeenth_key_and_a_second_of_one_epoch_are_refused() {
        let mut ring = Keyring::default();
        for epoch in 1..=16 {
            ring.add(key(epoch)).unwrap();
        }
        assert_eq!(ring.add(key(17)), Err(KeyringFull));
        assert_eq!(ring.add(key(3)), Err(KeyringFull));
    }

    #[test]
    fn a_key_verifies_from_not_before_until_accept_until_unless_revoked() {
        let mut ring = Keyring::default();
        ring.add(key(1)).unwrap();
        ring.add(TicketKey {
            state: KeyState::Revoked,
            ..key(2)
        })
        .unwrap();
        let at = |epoch, seconds| ring.verifying(epoch, Duration::from_secs(seconds)).is_some();
        assert!(!at(1, 99) && at(1, 100) && at(1, 199) && !at(1, 200));
        assert!(!at(2, 150) && !at(3, 150));
    }

    fn key(epoch: KeyId) -> TicketKey {
        TicketKey {
            epoch,
            alg: TicketAlg::V2HmacSha256,
            secret: Secret::new(vec![7; 32]),
            not_before: Duration::from_secs(100),
            accept_until: Duration::from_secs(200),
            state: KeyState::Live,
        }
    }
}
