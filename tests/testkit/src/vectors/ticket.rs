//! Tickets with the expected cause, through the verifier with the rules a case tells.
//!
//! Every case is an INVITE that needs a ticket; which requests do is not asked here. Source: ticket.md 6.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tollgate_contract::{
    DeniedTickets, E164, KeyState, Keyring, MacCoverage, PeerPolicy, Secret, TicketAlg, TicketCause,
    TicketFailureAction, TicketHeader, TicketKey, TicketRules,
};
use tollgate_sip::Header;
use tollgate_ticket::{Request, SALT_LEN, verify};

use super::fields::{self, CaseError, Checked, field, list, malformed, mismatch, text};
use super::report::SuiteReport;

/// What a context may set; anything else would be left out of the check without a word.
const SETTINGS: [&str; 8] = [
    "now",
    "peer_domains",
    "local_domains",
    "request_uri",
    "clock_skew_s",
    "header_name",
    "enrolled",
    "ring_accept_until",
];

pub(super) fn run(folder: &Path, report: &mut SuiteReport) {
    fields::run_folder(folder, report, &[("edge-ticket/1", |file| file.each("cases", check))]);
}

fn check(table: &Value, case: &Value) -> Checked {
    let context = Context { table, case };
    context.has_known_settings_only()?;
    let expected = text(case, "expect")?;
    let actual = match judge(&context)? {
        Ok(()) => "PASS",
        Err(cause) => cause.name(),
    };
    if expected.split('|').any(|accepted| accepted == actual) {
        return Ok(());
    }
    mismatch("result", expected, actual)
}

fn judge(context: &Context<'_>) -> Result<Result<(), TicketCause>, CaseError> {
    let values = ticket_values(context.case)?;
    let peer_domains = context.texts("peer_domains")?;
    let request = Request {
        ticket_values: &values,
        peer_domains: &peer_domains,
        request_uri: context.text("request_uri")?.as_bytes(),
    };
    let local_domains = context.texts("local_domains")?;
    let now_unix = unix(context.text("now")?)?;
    let verified = verify(
        &rules(context)?,
        &PeerPolicy::default(),
        &local_domains,
        now_unix,
        &request,
    );
    Ok(verified.map(drop))
}

/// The values of all header fields that carry tickets.
fn ticket_values(case: &Value) -> Result<Vec<&[u8]>, CaseError> {
    let mut values = Vec::new();
    for header in list(case, "headers")? {
        let part = |at: usize| header.get(at).and_then(Value::as_str);
        let (Some(name), Some(value)) = (part(0), part(1)) else {
            return Err(malformed("a header is no pair of name and value"));
        };
        if Header::from_name(name.as_bytes()).is_ticket() {
            values.push(value.as_bytes());
        }
    }
    Ok(values)
}

fn rules(context: &Context<'_>) -> Result<TicketRules, CaseError> {
    let mut enrolled = Vec::new();
    if context.setting("enrolled").is_some() {
        for number in context.texts("enrolled")? {
            let number: Result<E164, _> = number.parse();
            enrolled.push(number.map_err(|_| malformed("enrolled holds no E.164 number"))?);
        }
    }
    let skew_s = context.setting("clock_skew_s").and_then(Value::as_u64);
    Ok(TicketRules {
        keyring: keyring(context)?,
        clock_skew: Duration::from_secs(skew_s.ok_or_else(|| malformed("clock_skew_s is no count"))?),
        salt_max: SALT_LEN,
        mac_covers: MacCoverage::BeforeIntegrity,
        denied: DeniedTickets::default(),
        enrolled: (!enrolled.is_empty()).then(|| enrolled.into_iter().collect()),
        header: header(context.text("header_name")?)?,
        on_failure: TicketFailureAction::Reject,
    })
}

fn header(name: &str) -> Result<TicketHeader, CaseError> {
    let known = TicketHeader::ALL.into_iter().find(|header| header.name() == name);
    known.ok_or_else(|| malformed(format!("{name} is no ticket header")))
}

fn keyring(context: &Context<'_>) -> Result<Keyring, CaseError> {
    let mut ring = Keyring::default();
    for entry in list(context.table, "keyring")? {
        let alg = match text(entry, "alg")? {
            "vipr-hmac-sha1" => TicketAlg::ViprHmacSha1,
            "v2-hmac-sha256" => TicketAlg::V2HmacSha256,
            other => return Err(malformed(format!("{other} is no algorithm"))),
        };
        let accept_until = match context.setting("ring_accept_until") {
            Some(_) => context.text("ring_accept_until")?,
            None => text(entry, "accept_until")?,
        };
        let key = TicketKey {
            epoch: fields::number(entry, "epoch")?,
            alg,
            secret: Secret::new(fields::bytes(entry, "key")?),
            not_before: Duration::ZERO,
            accept_until: unix(accept_until)?,
            state: KeyState::Live,
        };
        ring.add(key)
            .map_err(|_| malformed("keyring is full or has two keys of an epoch"))?;
    }
    Ok(ring)
}

/// A case's settings over those of its table.
struct Context<'a> {
    table: &'a Value,
    case: &'a Value,
}

impl<'a> Context<'a> {
    fn has_known_settings_only(&self) -> Checked {
        let default = field(self.table, "default_context")?;
        let own = self.case.get("context");
        for name in [Some(default), own].into_iter().flatten().filter_map(Value::as_object) {
            if let Some(unknown) = name.keys().find(|name| !SETTINGS.contains(&name.as_str())) {
                return Err(malformed(format!("has the unknown setting {unknown}")));
            }
        }
        Ok(())
    }

    /// The end of validity of the ring may stand beside the context too.
    fn setting(&self, name: &str) -> Option<&'a Value> {
        let own = self.case.get("context").and_then(|context| context.get(name));
        let beside = || self.case.get(name).filter(|_| name == "ring_accept_until");
        let default = || self.table.get("default_context")?.get(name);
        own.or_else(beside).or_else(default)
    }

    fn text(&self, name: &str) -> Result<&'a str, CaseError> {
        let text = self.setting(name).and_then(Value::as_str);
        text.ok_or_else(|| malformed(format!("{name} is no text")))
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, CaseError> {
        let texts = self.setting(name).and_then(Value::as_array);
        let texts = texts.ok_or_else(|| malformed(format!("{name} is no list")))?;
        let text = |text: &Value| text.as_str().map(str::to_owned);
        let texts: Option<Vec<String>> = texts.iter().map(text).collect();
        texts.ok_or_else(|| malformed(format!("{name} holds something else than texts")))
    }
}

/// A UTC time of RFC 3339 to the second, such as `2026-06-01T12:00:00Z`, since 1970.
fn unix(time: &str) -> Result<Duration, CaseError> {
    parse_unix(time).ok_or_else(|| malformed(format!("{time} is no UTC time")))
}

fn parse_unix(time: &str) -> Option<Duration> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = three(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = three(clock, ':', [2, 2, 2])?;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = 28 + u64::from(is_leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month.checked_sub(1)?).ok()?;
    let days_in_month = *months.get(month)?;
    if year < 1970 || day == 0 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let years: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum();
    let days = years + months.iter().take(month).sum::<u64>() + day - 1;
    Some(Duration::from_secs(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

/// Three numbers of so many digits each.
fn three(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let parts: Vec<&str> = text.split(separator).collect();
    let parts: [&str; 3] = parts.try_into().ok()?;
    let fits = |(part, len): (&&str, usize)| part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit());
    if !parts.iter().zip(digits).all(fits) {
        return None;
    }
    let [one, two, three] = parts.map(|part| part.parse().ok());
    Some([one?, two?, three?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_known_values_and_other_forms_are_refused() {
        for (time, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(parse_unix(time), Some(Duration::from_secs(seconds)), "{time}");
        }
        for bad in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-02-29T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-1-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_unix(bad), None, "{bad}");
        }
    }
}
