//! Tickets for the demo: good ones, and ones wrong in a single way each.
//!
//! It verifies nothing; that is the edges' part.

use std::time::{Duration, SystemTime};

use tollgate_contract::{E164, KeyState, MacCoverage, Secret, TicketAlg, TicketKey};
use tollgate_ticket::{Grant, issue};

/// One company's ticket key.
#[derive(Debug)]
pub(super) struct Issuer {
    key: TicketKey,
    hex: String,
    domain: &'static str,
}

/// What is wrong with the ticket of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// There is none.
    Missing,
    /// It is for another number of the same company.
    OtherNumber,
    /// It was granted to another domain.
    OtherDomain,
    /// It ended an hour ago.
    Expired,
    /// It starts in an hour.
    NotYetValid,
    /// One character of its MAC is another.
    BrokenMac,
}

impl Flaw {
    pub(super) const ALL: [Self; 6] = [
        Self::Missing,
        Self::OtherNumber,
        Self::OtherDomain,
        Self::Expired,
        Self::NotYetValid,
        Self::BrokenMac,
    ];

    /// As the table names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Missing => "no ticket",
            Self::OtherNumber => "ticket for another number",
            Self::OtherDomain => "ticket for another domain",
            Self::Expired => "ticket ended an hour ago",
            Self::NotYetValid => "ticket starts in an hour",
            Self::BrokenMac => "ticket with a broken MAC",
        }
    }
}

impl Issuer {
    /// An issuer with a fresh key of epoch 1.
    pub(super) fn new(domain: &'static str) -> Self {
        let secret: [u8; 32] = rand::random();
        Self {
            hex: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
            key: TicketKey {
                epoch: 1,
                alg: TicketAlg::V2HmacSha256,
                secret: Secret::new(secret.to_vec()),
                not_before: Duration::ZERO,
                accept_until: Duration::MAX,
                state: KeyState::Live,
            },
            domain,
        }
    }

    /// The key as a key file holds it.
    pub(super) fn key_file(&self) -> String {
        format!("{}\n", self.hex)
    }

    /// A ticket with which `granted_to` may call `number` for a year from an hour ago.
    ///
    /// # Errors
    /// In words, if the number or a domain is none.
    pub(super) fn good(&self, number: &str, granted_to: &str) -> Result<String, String> {
        let now = unix();
        self.mint(number, granted_to, (now - HOUR, now + YEAR))
    }

    /// The ticket for a call to `number` with this flaw; `None` where it shall have none.
    ///
    /// # Errors
    /// As [`good`](Self::good).
    pub(super) fn flawed(
        &self,
        flaw: Flaw,
        number: &str,
        other_number: &str,
        granted_to: &str,
    ) -> Result<Option<String>, String> {
        let now = unix();
        match flaw {
            Flaw::Missing => return Ok(None),
            Flaw::OtherNumber => self.good(other_number, granted_to),
            Flaw::OtherDomain => self.good(number, OTHER_DOMAIN),
            Flaw::Expired => self.mint(number, granted_to, (now - YEAR, now - HOUR)),
            Flaw::NotYetValid => self.mint(number, granted_to, (now + HOUR, now + YEAR)),
            Flaw::BrokenMac => self.good(number, granted_to).map(|ticket| break_mac(&ticket)),
        }
        .map(Some)
    }

    fn mint(&self, number: &str, granted_to: &str, validity: (Duration, Duration)) -> Result<String, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("no ticket for {number}: {why}");
        let e164: E164 = number.parse().map_err(|why| wrong(&why))?;
        let grant = Grant::new(e164, validity, rand::random(), self.domain, granted_to).map_err(|why| wrong(&why))?;
        let mut uuid: [u8; 16] = rand::random();
        // RFC 4122 §4.4: version 4, variant 1.
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        Ok(issue(
            &self.key,
            MacCoverage::BeforeIntegrity,
            &grant,
            rand::random(),
            uuid,
        ))
    }
}

/// Exchanges a character well inside the MAC, which ends the ticket; its form stays canonical.
fn break_mac(ticket: &str) -> String {
    let at = ticket.len().saturating_sub(12);
    let exchanged = |(index, character): (usize, char)| match character {
        'A' if index == at => 'B',
        _ if index == at => 'A',
        same => same,
    };
    ticket.chars().enumerate().map(exchanged).collect()
}

fn unix() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The domain that tickets for another domain name, and the owner of stolen ones' certificate.
pub(super) const OTHER_DOMAIN: &str = "gamma.example";

const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use tollgate_contract::{Keyring, PeerPolicy, Snapshot, TicketCause, TicketRules};
    use tollgate_ticket::{Request, verify};

    use super::*;

    #[test]
    fn each_flawed_ticket_fails_for_its_own_reason() {
        let issuer = Issuer::new("beta.example");
        let expected = [
            (Flaw::OtherNumber, TicketCause::Number),
            (Flaw::OtherDomain, TicketCause::Domain),
            (Flaw::Expired, TicketCause::Time),
            (Flaw::NotYetValid, TicketCause::Time),
            (Flaw::BrokenMac, TicketCause::Mac),
        ];
        for (flaw, cause) in expected {
            let ticket = issuer.flawed(flaw, NUMBER, OTHER, "alpha.example").unwrap().unwrap();
            assert_eq!(judge(&issuer, &ticket), Err(cause), "{flaw:?}");
        }
        assert_eq!(issuer.flawed(Flaw::Missing, NUMBER, OTHER, "alpha.example"), Ok(None));
        assert_eq!(judge(&issuer, &issuer.good(NUMBER, "alpha.example").unwrap()), Ok(()));
    }

    fn judge(issuer: &Issuer, ticket: &str) -> Result<(), TicketCause> {
        let mut keyring = Keyring::default();
        keyring.add(issuer.key.clone()).unwrap();
        let rules = TicketRules {
            keyring,
            ..Snapshot::without_policy().tickets
        };
        let uri = format!("sip:{NUMBER}@beta.example");
        let request = Request {
            ticket_values: &[ticket.as_bytes()],
            peer_domains: &["alpha.example".to_owned()],
            request_uri: uri.as_bytes(),
        };
        let domains = ["beta.example".to_owned()];
        verify(&rules, &PeerPolicy::default(), &domains, unix(), &request).map(drop)
    }

    const NUMBER: &str = "+12125550140";
    const OTHER: &str = "+12125550100";
}
