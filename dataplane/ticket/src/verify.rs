//! Whether a request's ticket lets it in: cheap checks first, the MAC in constant time, one cause out.
//!
//! Does not know dialogs or transactions, and answers nothing: the caller decides which requests need a ticket and
//! what a peer is told. Source: draft-petithuguenin-vipr-sip-antispam-02 §3; the order and the checks of granting
//! domain, revocation and enrolment are Tollgate's.

use std::slice;
use std::time::Duration;

use tollgate_contract::{E164, PeerPolicy, TicketCause, TicketRules};

use crate::codec::Ticket;
use crate::text::decode;
use crate::uri::number_of_request_uri;
use crate::{domain, time};

/// What the check has to know of a request and its connection.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Values of all ticket header fields, over all accepted names, without surrounding white space.
    pub ticket_values: &'a [&'a [u8]],
    /// Domains of the peer's certificate, lower case; none without TLS.
    pub peer_domains: &'a [String],
    /// The Request-URI as received.
    pub request_uri: &'a [u8],
}

/// What a good ticket stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The ticket's unique ID.
    pub uuid: [u8; 16],
    /// The domain it was granted to, lower case; one of the peer's.
    pub granted_to: String,
    /// The number it is for, which is the one called.
    pub number: E164,
}

/// Checks the ticket of a request that needs one, at a time since 1970.
///
/// # Errors
/// The first [`TicketCause`] in the order of that enum's variants.
pub fn verify(
    rules: &TicketRules,
    peers: &PeerPolicy,
    local_domains: &[String],
    now_unix: Duration,
    request: &Request<'_>,
) -> Result<Verified, TicketCause> {
    ensure(!request.peer_domains.is_empty(), TicketCause::NoPeerIdentity)?;
    let text = exactly_one(request.ticket_values)?;
    let decoded = decode(text, rules.salt_max)?;
    let ticket = &decoded.ticket;
    let key = rules
        .keyring
        .verifying(ticket.epoch, now_unix)
        .ok_or(TicketCause::Epoch)?;
    ensure(decoded.is_authentic(key, rules.mac_covers), TicketCause::Mac)?;
    ensure(is_in_time(ticket, rules, now_unix), TicketCause::Time)?;
    ensure(
        domain::is_among(&ticket.granting_domain, local_domains),
        TicketCause::GrantingDomain,
    )?;
    ensure(
        !is_revoked(ticket, rules, peers) && !peers.denies(request.peer_domains),
        TicketCause::Revoked,
    )?;
    ensure(
        domain::is_among(&ticket.granted_to, request.peer_domains),
        TicketCause::Domain,
    )?;
    let number = number_of_request_uri(request.request_uri).ok_or(TicketCause::Ruri)?;
    ensure(number == ticket.number, TicketCause::Number)?;
    ensure(is_enrolled(number, rules), TicketCause::NotEnrolled)?;
    Ok(Verified {
        uuid: ticket.uuid,
        granted_to: decoded.ticket.granted_to,
        number,
    })
}

/// Whether now lies within the ticket's validity.
pub(crate) fn is_in_time(ticket: &Ticket, rules: &TicketRules, now_unix: Duration) -> bool {
    time::is_within(ticket.start, ticket.end, now_unix, rules.clock_skew)
}

/// Whether the ticket, its number, its epoch or the domain it was granted to has been taken back.
pub(crate) fn is_revoked(ticket: &Ticket, rules: &TicketRules, peers: &PeerPolicy) -> bool {
    let denied = &rules.denied;
    denied.uuids.contains(&ticket.uuid)
        || denied.numbers.contains(&ticket.number)
        || denied.epochs.contains(&ticket.epoch)
        || denied.domains.contains(&ticket.granted_to)
        || peers.denies(slice::from_ref(&ticket.granted_to))
}

/// Whether the number is enrolled here; true when enrolment is not known.
pub(crate) fn is_enrolled(number: E164, rules: &TicketRules) -> bool {
    rules
        .enrolled
        .as_ref()
        .is_none_or(|enrolled| enrolled.contains(&number))
}

fn exactly_one<'a>(values: &[&'a [u8]]) -> Result<&'a [u8], TicketCause> {
    match values {
        [] => Err(TicketCause::Missing),
        [value] => Ok(value),
        [_, _, ..] => Err(TicketCause::Duplicate),
    }
}

fn ensure(holds: bool, otherwise: TicketCause) -> Result<(), TicketCause> {
    if holds { Ok(()) } else { Err(otherwise) }
}

#[cfg(test)]
mod tests {
    use tollgate_contract::{KeyState, MacCoverage, TicketAlg, TicketKey};

    use super::*;
    use crate::vectors::{self, Case};

    #[test]
    fn a_good_ticket_passes_and_says_whom_it_is_for() {
        for alg in [TicketAlg::ViprHmacSha1, TicketAlg::V2HmacSha256] {
            let verified = Case::good(alg).run().unwrap();
            assert_eq!(verified.granted_to, "example.com");
            assert_eq!(verified.number.to_string(), "+14085555432");
            assert_eq!(verified.uuid[..4], [0x6b, 0xa7, 0xb8, 0x10]);
        }
    }

    #[test]
    fn a_connection_without_peer_domains_is_refused_before_all_else() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.peer_domains.clear();
        case.tickets.clear();
        assert_eq!(case.run(), Err(TicketCause::NoPeerIdentity));
    }

    #[test]
    fn no_ticket_is_missing_and_two_are_a_duplicate() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.tickets.push(case.tickets[0].clone());
        assert_eq!(case.run(), Err(TicketCause::Duplicate));
        case.tickets.clear();
        assert_eq!(case.run(), Err(TicketCause::Missing));
    }

    #[test]
    fn two_tickets_joined_by_a_comma_are_bad_syntax() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.tickets[0] = format!("{0}, {0}", case.tickets[0]);
        assert_eq!(case.run(), Err(TicketCause::Syntax));
    }

    #[test]
    fn a_salt_longer_than_allowed_is_bad_syntax() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.tickets[0] = vectors::with_salt(&[1; 8]);
        assert_eq!(case.run(), Err(TicketCause::Syntax));
        case.rules.salt_max = 8;
        assert!(case.run().is_ok());
    }

    #[test]
    fn a_ticket_of_an_epoch_that_does_not_verify_is_refused() {
        let key = vectors::key(TicketAlg::ViprHmacSha1);
        let now = Case::good(key.alg).now_unix;
        for ring in [
            vec![],
            vec![TicketKey {
                epoch: 2,
                ..key.clone()
            }],
            vec![TicketKey {
                state: KeyState::Revoked,
                ..key.clone()
            }],
            vec![TicketKey {
                accept_until: now,
                ..key.clone()
            }],
            vec![TicketKey {
                not_before: now + Duration::from_secs(1),
                ..key.clone()
            }],
        ] {
            let mut case = Case::good(key.alg);
            case.rules.keyring = vectors::ring(ring);
            assert_eq!(case.run(), Err(TicketCause::Epoch));
        }
    }

    #[test]
    fn ticket_past_its_epochs_accept_until_is_refused_though_valid_itself() {
        let mut case = Case::good(TicketAlg::V2HmacSha256);
        let accept_until = case.now_unix + Duration::from_secs(1);
        let key = TicketKey {
            accept_until,
            ..vectors::key(TicketAlg::V2HmacSha256)
        };
        case.rules.keyring = vectors::ring(vec![key]);
        assert!(case.run().is_ok());
        case.now_unix = accept_until;
        assert_eq!(case.run(), Err(TicketCause::Epoch));
    }

    #[test]
    fn a_mac_of_the_epochs_other_algorithm_is_a_wrong_mac() {
        for (ticket, ring) in [
            (TicketAlg::ViprHmacSha1, TicketAlg::V2HmacSha256),
            (TicketAlg::V2HmacSha256, TicketAlg::ViprHmacSha1),
        ] {
            let mut case = Case::good(ticket);
            case.rules.keyring = vectors::ring(vec![TicketKey {
                alg: ring,
                ..vectors::key(ticket)
            }]);
            assert_eq!(case.run(), Err(TicketCause::Mac));
        }
    }

    #[test]
    fn a_mac_over_other_bytes_is_a_wrong_mac() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.rules.mac_covers = MacCoverage::WithIntegrityHeader;
        assert_eq!(case.run(), Err(TicketCause::Mac));
    }

    #[test]
    fn no_single_bit_can_change_without_refusal() {
        for alg in [TicketAlg::ViprHmacSha1, TicketAlg::V2HmacSha256] {
            let good = vectors::bytes_of(&Case::good(alg).tickets[0]);
            for bit in 0..good.len() * 8 {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let mut case = Case::good(alg);
                case.tickets[0] = crate::text::to_text(&bytes);
                let cause = case.run().unwrap_err();
                assert!(
                    [TicketCause::Syntax, TicketCause::Epoch, TicketCause::Mac].contains(&cause),
                    "bit {bit}: {cause:?}"
                );
            }
        }
    }

    #[test]
    fn a_ticket_outside_its_validity_is_refused_but_for_the_skew() {
        let (start, end) = vectors::validity();
        let second = Duration::from_secs(1);
        for (now_unix, skew_s, refused) in [
            (start - second, 0, true),
            (start - second, 1, false),
            (start, 0, false),
            (end, 0, false),
            (end + second, 0, true),
            (end + second, 1, false),
        ] {
            let mut case = Case::good(TicketAlg::ViprHmacSha1);
            case.now_unix = now_unix;
            case.rules.clock_skew = Duration::from_secs(skew_s);
            assert_eq!(case.run() == Err(TicketCause::Time), refused, "{now_unix:?} {skew_s}");
            assert_eq!(case.run().is_ok(), !refused);
        }
    }

    #[test]
    fn a_ticket_of_a_foreign_granting_domain_is_refused() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.local_domains = vec!["example.org".to_owned()];
        assert_eq!(case.run(), Err(TicketCause::GrantingDomain));
    }

    #[test]
    fn whatever_was_taken_back_is_revoked() {
        let revocations: [fn(&mut Case); 6] = [
            |case| assert!(case.rules.denied.uuids.insert(vectors::uuid())),
            |case| assert!(case.rules.denied.numbers.insert("+14085555432".parse().unwrap())),
            |case| assert!(case.rules.denied.epochs.insert(1)),
            |case| assert!(case.rules.denied.domains.insert("example.com".to_owned())),
            |case| case.peers.denied.push("example.com".to_owned()),
            |case| {
                case.peers.denied.push("other.example.com".to_owned());
                case.peer_domains.push("other.example.com".to_owned());
            },
        ];
        for revoke in revocations {
            let mut case = Case::good(TicketAlg::ViprHmacSha1);
            revoke(&mut case);
            assert_eq!(case.run(), Err(TicketCause::Revoked));
        }
    }

    #[test]
    fn a_ticket_granted_to_somebody_else_is_refused_and_a_wildcard_does_not_help() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.peer_domains = vec![
            "example.org".to_owned(),
            "*.com".to_owned(),
            "sub.example.com".to_owned(),
        ];
        assert_eq!(case.run(), Err(TicketCause::Domain));
        case.peer_domains.push("example.com".to_owned());
        assert!(case.run().is_ok());
    }

    #[test]
    fn a_request_uri_without_an_international_number_is_refused() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.request_uri = "sips:+14085555432@example.net".to_owned();
        assert_eq!(case.run(), Err(TicketCause::Ruri));
    }

    #[test]
    fn a_ticket_for_another_number_is_refused() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.request_uri = "sip:+14085555433@example.net".to_owned();
        assert_eq!(case.run(), Err(TicketCause::Number));
    }

    #[test]
    fn a_number_that_is_not_enrolled_is_refused_when_enrolment_is_known() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.rules.enrolled = Some(["+14085555433".parse().unwrap()].into());
        assert_eq!(case.run(), Err(TicketCause::NotEnrolled));
        case.rules.enrolled = Some(["+14085555432".parse().unwrap()].into());
        assert!(case.run().is_ok());
    }

    /// The cause that must be found after the change.
    type Spoiler = (TicketCause, fn(&mut Case));

    /// Spoils one thing after the other, from the last check to the first: each new cause must hide those before it.
    #[test]
    fn causes_are_found_in_their_order() {
        let spoilers: [Spoiler; 13] = [
            (TicketCause::NotEnrolled, |case| case.rules.enrolled = Some([].into())),
            (TicketCause::Number, |case| {
                case.request_uri = "sip:+1@example.net".to_owned()
            }),
            (TicketCause::Ruri, |case| {
                case.request_uri = "sip:x@example.net".to_owned()
            }),
            (TicketCause::Domain, |case| {
                case.peer_domains = vec!["example.org".to_owned()]
            }),
            (TicketCause::Revoked, |case| assert!(case.rules.denied.epochs.insert(1))),
            (TicketCause::GrantingDomain, |case| case.local_domains.clear()),
            (TicketCause::Time, |case| case.now_unix = Duration::from_secs(1)),
            (TicketCause::Mac, |case| {
                case.rules.mac_covers = MacCoverage::WithIntegrityHeader
            }),
            (TicketCause::Epoch, |case| case.rules.keyring = vectors::ring(vec![])),
            (TicketCause::Syntax, |case| case.tickets[0].push('.')),
            (TicketCause::Duplicate, |case| case.tickets.push(String::new())),
            (TicketCause::Missing, |case| case.tickets.clear()),
            (TicketCause::NoPeerIdentity, |case| case.peer_domains.clear()),
        ];
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        for (cause, spoil) in spoilers {
            spoil(&mut case);
            assert_eq!(case.run(), Err(cause));
        }
    }
}
