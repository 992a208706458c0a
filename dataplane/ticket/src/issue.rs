//! Making a ticket: what a validator does after a proven call, and what an operator's command does by hand.
//!
//! Draws no random numbers and reads no clock; salt, UUID and times are handed in. Whether the key may issue is the
//! caller's question. Source: draft-petithuguenin-vipr-pvp-02 §8.2.

use std::fmt;
use std::time::Duration;

use tollgate_contract::{E164, MacCoverage, TicketKey};

use crate::codec::{self, SALT_LEN, Ticket};
use crate::domain;
use crate::key::Mac;
use crate::text::to_text;
use crate::time::Ntp64;

/// Who may call which number, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    number: E164,
    start: Ntp64,
    end: Ntp64,
    granting_node: [u8; 16],
    granting_domain: String,
    granted_to: String,
}

/// Why a grant cannot be put into a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidGrant {
    /// The end is not after the start.
    Validity,
    /// The granting domain is not made of LDH labels.
    GrantingDomain,
    /// The granted-to domain is not made of LDH labels.
    GrantedTo,
}

impl Grant {
    /// A grant to `granted_to` by `granting_domain` to call `number` from `start` to `end`, both since 1970.
    ///
    /// `granting_node` is any Node-ID of the granting server; it is never checked.
    ///
    /// # Errors
    /// [`InvalidGrant`] if the end is not after the start, or a domain is no domain.
    pub fn new(
        number: E164,
        (start_unix, end_unix): (Duration, Duration),
        granting_node: [u8; 16],
        granting_domain: &str,
        granted_to: &str,
    ) -> Result<Self, InvalidGrant> {
        // Times half an era apart would be read in the wrong order.
        if end_unix <= start_unix || end_unix - start_unix >= MAX_VALIDITY {
            return Err(InvalidGrant::Validity);
        }
        Ok(Self {
            number,
            start: Ntp64::from_unix(start_unix),
            end: Ntp64::from_unix(end_unix),
            granting_node,
            granting_domain: domain::normalise(granting_domain.as_bytes()).ok_or(InvalidGrant::GrantingDomain)?,
            granted_to: domain::normalise(granted_to.as_bytes()).ok_or(InvalidGrant::GrantedTo)?,
        })
    }
}

/// Under half of the 68 years in which two NTP timestamps can be put in order.
const MAX_VALIDITY: Duration = Duration::from_secs(30 * 365 * 86_400);

/// Makes a ticket in its text form, under this key and with this random salt and UUID.
///
/// The text has at most 872 characters.
#[must_use]
pub fn issue(key: &TicketKey, covers: MacCoverage, grant: &Grant, salt: [u8; SALT_LEN], uuid: [u8; 16]) -> String {
    let mut bytes = codec::body(&Ticket {
        uuid,
        salt: salt.to_vec(),
        start: grant.start,
        end: grant.end,
        number: grant.number,
        granting_node: grant.granting_node,
        granting_domain: grant.granting_domain.clone(),
        granted_to: grant.granted_to.clone(),
        epoch: key.epoch,
        alg: key.alg,
    });
    let body_len = bytes.len();
    bytes.extend_from_slice(&codec::integrity_header(key.alg));
    let signed = match covers {
        MacCoverage::BeforeIntegrity => &bytes[..body_len],
        MacCoverage::WithIntegrityHeader => &bytes[..],
    };
    let mac = Mac::compute(key.alg, &key.secret, &salt, key.epoch, signed);
    bytes.extend_from_slice(mac.as_bytes());
    to_text(&bytes)
}

impl fmt::Display for InvalidGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validity => "a ticket ends after it starts, and within 30 years of it",
            Self::GrantingDomain => "the granting domain is not a domain name in A-label form",
            Self::GrantedTo => "the granted-to domain is not a domain name in A-label form",
        })
    }
}

impl std::error::Error for InvalidGrant {}

#[cfg(test)]
mod tests {
    use tollgate_contract::TicketAlg;

    use super::*;
    use crate::text::{MAX_TEXT_LEN, decode};
    use crate::vectors;

    #[test]
    fn the_largest_ticket_stays_within_the_limit() {
        let longest = ["a.".repeat(120), "a".repeat(16)].concat();
        let number = "+123456789012345".parse().unwrap();
        let grant = Grant::new(number, vectors::validity(), [0; 16], &longest, &longest).unwrap();
        for (alg, len) in [(TicketAlg::ViprHmacSha1, 856), (TicketAlg::V2HmacSha256, 872)] {
            let text = issue(
                &vectors::key(alg),
                MacCoverage::BeforeIntegrity,
                &grant,
                [0; 4],
                [0; 16],
            );
            assert_eq!(text.len(), len);
            assert!(text.len() <= MAX_TEXT_LEN && decode(&text, 4).is_ok());
        }
    }

    #[test]
    fn an_issued_ticket_says_what_was_granted() {
        let (start, end) = vectors::validity();
        let number = "+0441".parse().unwrap();
        let grant = Grant::new(number, (start, end), [9; 16], "Example.NET.", "example.com").unwrap();
        let key = vectors::key(TicketAlg::V2HmacSha256);
        let text = issue(&key, MacCoverage::WithIntegrityHeader, &grant, [5; 4], [7; 16]);
        let decoded = decode(text, 4).unwrap();
        let ticket = &decoded.ticket;
        assert_eq!(
            (ticket.uuid, &ticket.salt[..], ticket.granting_node),
            ([7; 16], &[5; 4][..], [9; 16])
        );
        assert_eq!(
            (ticket.start, ticket.end),
            (Ntp64::from_unix(start), Ntp64::from_unix(end))
        );
        assert_eq!((ticket.number, ticket.epoch), (number, key.epoch));
        assert_eq!(
            (&ticket.granting_domain[..], &ticket.granted_to[..]),
            ("example.net", "example.com")
        );
        assert!(decoded.is_authentic(&key, MacCoverage::WithIntegrityHeader));
        assert!(!decoded.is_authentic(&key, MacCoverage::BeforeIntegrity));
    }

    #[test]
    fn grants_that_make_no_sense_are_refused() {
        let (start, end) = vectors::validity();
        let number = "+1".parse().unwrap();
        let grant = |validity, granting, granted| Grant::new(number, validity, [0; 16], granting, granted).unwrap_err();
        assert_eq!(grant((end, start), "a", "b"), InvalidGrant::Validity);
        assert_eq!(grant((start, start), "a", "b"), InvalidGrant::Validity);
        assert_eq!(grant((Duration::ZERO, end), "a", "b"), InvalidGrant::Validity);
        assert_eq!(grant((start, end), "a b", "b"), InvalidGrant::GrantingDomain);
        assert_eq!(grant((start, end), "a", ""), InvalidGrant::GrantedTo);
    }
}
