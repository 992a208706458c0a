//! A ticket explained field by field, for an operator who asks why it was refused.
//!
//! Decides nothing: [`verify`](crate::verify) does, by the same checks. Keys and computed MACs are never shown; the
//! number is, since the operator holds the ticket.

use std::fmt;
use std::time::Duration;

use tollgate_contract::{MacCoverage, PeerPolicy, TicketAlg, TicketCause, TicketRules};

use crate::codec::Decoded;
use crate::text::decode_or_why;
use crate::time::{Ntp64, rfc3339};
use crate::uri::number_of_request_uri;
use crate::{domain, verify};

/// What a ticket is judged against; what is not given is not checked.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Keys, lists and settings.
    pub rules: &'a TicketRules,
    /// Denied peers.
    pub peers: &'a PeerPolicy,
    /// Our domains.
    pub local_domains: &'a [String],
    /// The time to judge by, since 1970.
    pub now_unix: Duration,
    /// Domains of the calling peer's certificate.
    pub peer_domains: Option<&'a [String]>,
    /// The Request-URI of the call.
    pub request_uri: Option<&'a [u8]>,
}

/// One field or check of a ticket, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is looked at.
    pub what: &'static str,
    /// What was found.
    pub says: String,
    /// Whether that is in order.
    pub verdict: Verdict,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In order.
    Passed,
    /// A verifier refuses the ticket for it.
    Failed(TicketCause),
    /// Nothing to check, or not possible.
    NotChecked,
}

/// Explains a ticket: every field and every check, also those after the first that fails.
///
/// A text that is not a ticket has one finding, which says what is wrong with it.
#[must_use]
pub fn inspect(text: &str, context: &Context<'_>) -> Vec<Finding> {
    let decoded = match decode_or_why(text.as_bytes(), context.rules.salt_max) {
        Ok(decoded) => decoded,
        Err(why) => {
            return vec![Finding::of(
                "form",
                why.to_string(),
                Verdict::Failed(TicketCause::Syntax),
            )];
        }
    };
    let form = format!("{} characters, {} bytes, well formed", text.len(), decoded.len());
    let ticket = &decoded.ticket;
    let mut findings = vec![
        Finding::of("form", form, Verdict::Passed),
        Finding::of("unique ID", uuid(ticket.uuid), Verdict::NotChecked),
        Finding::of(
            "granting node",
            format!("{:032x}", u128::from_be_bytes(ticket.granting_node)),
            Verdict::NotChecked,
        ),
        Finding::of("salt", format!("{} bytes", ticket.salt.len()), Verdict::Passed),
        epoch(&decoded, context),
        mac(&decoded, context),
        validity(&decoded, context),
        granting_domain(&decoded, context),
        revocation(&decoded, context),
        granted_to(&decoded, context),
    ];
    findings.extend(number(&decoded, context));
    findings
}

impl Finding {
    fn of(what: &'static str, says: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            what,
            says: says.into(),
            verdict,
        }
    }

    fn judged(what: &'static str, says: impl Into<String>, holds: bool, otherwise: TicketCause) -> Self {
        let verdict = if holds {
            Verdict::Passed
        } else {
            Verdict::Failed(otherwise)
        };
        Self::of(what, says, verdict)
    }
}

fn epoch(decoded: &Decoded, context: &Context<'_>) -> Finding {
    let epoch = decoded.ticket.epoch;
    let known = context.rules.keyring.iter().find(|key| key.epoch == epoch);
    let verifies = context.rules.keyring.verifying(epoch, context.now_unix).is_some();
    let says = match (known, verifies) {
        (None, _) => format!("{epoch}: no key of this epoch is configured; was it changed on one side alone?"),
        (Some(_), true) => format!("{epoch}: its key verifies"),
        (Some(key), false) => format!(
            "{epoch}: its key does not verify at {} ({:?}, from {} until {})",
            rfc3339(context.now_unix),
            key.state,
            rfc3339(key.not_before),
            rfc3339(key.accept_until)
        ),
    };
    Finding::judged("epoch", says, verifies, TicketCause::Epoch)
}

fn mac(decoded: &Decoded, context: &Context<'_>) -> Finding {
    let carried = alg_name(decoded.mac.alg());
    let Some(key) = context
        .rules
        .keyring
        .iter()
        .find(|key| key.epoch == decoded.ticket.epoch)
    else {
        return Finding::of(
            "integrity",
            format!("{carried}, not checked without a key"),
            Verdict::NotChecked,
        );
    };
    let covers = context.rules.mac_covers;
    let other = match covers {
        MacCoverage::BeforeIntegrity => MacCoverage::WithIntegrityHeader,
        MacCoverage::WithIntegrityHeader => MacCoverage::BeforeIntegrity,
    };
    let is_right = decoded.is_authentic(key, covers);
    let says = if is_right {
        format!("{carried}, right under the epoch's key")
    } else if key.alg != decoded.mac.alg() {
        format!("{carried}, but the epoch's algorithm is {}", alg_name(key.alg))
    } else if decoded.is_authentic(key, other) {
        format!("{carried}, right only with the other setting of mac_covers")
    } else {
        format!("{carried}, wrong: another key, or the ticket was changed")
    };
    Finding::judged("integrity", says, is_right, TicketCause::Mac)
}

fn validity(decoded: &Decoded, context: &Context<'_>) -> Finding {
    let shown = |time: Ntp64| {
        time.to_unix(context.now_unix)
            .map_or_else(|| "before 1970".to_owned(), rfc3339)
    };
    let (start, end) = (shown(decoded.ticket.start), shown(decoded.ticket.end));
    let says = format!("from {start} to {end}, judged at {}", rfc3339(context.now_unix));
    Finding::judged(
        "validity",
        says,
        verify::is_in_time(&decoded.ticket, context.rules, context.now_unix),
        TicketCause::Time,
    )
}

fn granting_domain(decoded: &Decoded, context: &Context<'_>) -> Finding {
    let granting = &decoded.ticket.granting_domain;
    let is_ours = domain::is_among(granting, context.local_domains);
    let says = format!("{granting}, {}", if is_ours { "ours" } else { "not one of ours" });
    Finding::judged("granting domain", says, is_ours, TicketCause::GrantingDomain)
}

fn revocation(decoded: &Decoded, context: &Context<'_>) -> Finding {
    let peer_denied = context
        .peer_domains
        .is_some_and(|domains| context.peers.denies(domains));
    let is_revoked = peer_denied || verify::is_revoked(&decoded.ticket, context.rules, context.peers);
    let says = if is_revoked {
        "on a revocation or deny list"
    } else {
        "on no revocation or deny list"
    };
    Finding::judged("revocation", says, !is_revoked, TicketCause::Revoked)
}

fn granted_to(decoded: &Decoded, context: &Context<'_>) -> Finding {
    let granted_to = &decoded.ticket.granted_to;
    match context.peer_domains {
        None => Finding::of(
            "granted to",
            format!("{granted_to}, no peer certificate to compare with"),
            Verdict::NotChecked,
        ),
        Some([]) => {
            let says = format!("{granted_to}, but the peer's certificate names no domain");
            Finding::of("granted to", says, Verdict::Failed(TicketCause::NoPeerIdentity))
        }
        Some(domains) => {
            let is_peer = domain::is_among(granted_to, domains);
            let relation = if is_peer { "named by" } else { "not named by" };
            let says = format!(
                "{granted_to}, {relation} the peer's certificate ({})",
                domains.join(", ")
            );
            Finding::judged("granted to", says, is_peer, TicketCause::Domain)
        }
    }
}

fn number(decoded: &Decoded, context: &Context<'_>) -> Vec<Finding> {
    let number = decoded.ticket.number;
    let called = match context.request_uri.map(number_of_request_uri) {
        None => Finding::of(
            "number",
            format!("{number}, no call to compare with"),
            Verdict::NotChecked,
        ),
        Some(None) => {
            let says = format!("{number}, but the Request-URI is not sip:+number@host");
            Finding::of("number", says, Verdict::Failed(TicketCause::Ruri))
        }
        Some(Some(called)) => {
            let says = format!("{number}, {called} is called");
            Finding::judged("number", says, called == number, TicketCause::Number)
        }
    };
    let enrolment = match &context.rules.enrolled {
        None => Finding::of("enrolment", "enrolled numbers are not configured", Verdict::NotChecked),
        Some(_) if verify::is_enrolled(number, context.rules) => {
            Finding::of("enrolment", "the number is enrolled here", Verdict::Passed)
        }
        Some(_) => {
            let failed = Verdict::Failed(TicketCause::NotEnrolled);
            Finding::of("enrolment", "the number is not enrolled here", failed)
        }
    };
    vec![called, enrolment]
}

const fn alg_name(alg: TicketAlg) -> &'static str {
    match alg {
        TicketAlg::ViprHmacSha1 => "vipr-hmac-sha1",
        TicketAlg::V2HmacSha256 => "v2-hmac-sha256",
    }
}

/// The usual spelling of a UUID (RFC 4122 §3).
fn uuid(bytes: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, says, verdict } = self;
        match verdict {
            Verdict::Passed => write!(f, "ok    {what}: {says}"),
            Verdict::Failed(cause) => write!(f, "FAIL  {what}: {says} [{}]", cause.name()),
            Verdict::NotChecked => write!(f, "-     {what}: {says}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::Case;

    #[test]
    fn a_good_ticket_fails_no_check_and_shows_its_fields() {
        let findings = findings(&Case::good(TicketAlg::ViprHmacSha1));
        assert!(
            findings
                .iter()
                .all(|finding| !matches!(finding.verdict, Verdict::Failed(_))),
            "{findings:?}"
        );
        let shown = findings
            .iter()
            .map(|finding| format!("{finding}\n"))
            .collect::<String>();
        for part in [
            "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
            "from 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z",
            "8e60f5fab753037f64ab6c53947fd532",
            "+14085555432",
            "example.net",
            "example.com",
            "196 characters, 146 bytes",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
    }

    #[test]
    fn every_failing_check_is_named_not_only_the_first() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.now_unix = Duration::from_secs(1);
        case.local_domains.clear();
        case.peer_domains = vec!["example.org".to_owned()];
        case.request_uri = "sip:+1@example.net".to_owned();
        case.rules.enrolled = Some([].into());
        assert_eq!(
            causes(&case),
            [
                TicketCause::Time,
                TicketCause::GrantingDomain,
                TicketCause::Domain,
                TicketCause::Number,
                TicketCause::NotEnrolled
            ]
        );
    }

    #[test]
    fn a_mac_that_covers_more_than_configured_is_recognised() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.rules.mac_covers = MacCoverage::WithIntegrityHeader;
        let findings = findings(&case);
        let mac = findings.iter().find(|finding| finding.what == "integrity").unwrap();
        assert_eq!(mac.verdict, Verdict::Failed(TicketCause::Mac));
        assert!(mac.says.contains("mac_covers"), "{}", mac.says);
    }

    #[test]
    fn what_is_no_ticket_gets_the_reason() {
        let mut case = Case::good(TicketAlg::ViprHmacSha1);
        case.tickets[0] = "AA*A".to_owned();
        let findings = findings(&case);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0].to_string().contains("a character other than"),
            "{}",
            findings[0]
        );
    }

    fn findings(case: &Case) -> Vec<Finding> {
        let context = Context {
            rules: &case.rules,
            peers: &case.peers,
            local_domains: &case.local_domains,
            now_unix: case.now_unix,
            peer_domains: Some(&case.peer_domains),
            request_uri: Some(case.request_uri.as_bytes()),
        };
        inspect(&case.tickets[0], &context)
    }

    fn causes(case: &Case) -> Vec<TicketCause> {
        let failed = |finding: Finding| match finding.verdict {
            Verdict::Failed(cause) => Some(cause),
            Verdict::Passed | Verdict::NotChecked => None,
        };
        findings(case).into_iter().filter_map(failed).collect()
    }
}
