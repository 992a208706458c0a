//! Facts as people and their programs write them: in the facts file and in requests to the admin address.
//!
//! Texts are read here and judged by the same checks as the feed's; what is absent gets its default. It applies nothing.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_contract::Pii;
use tollgate_validator::VServiceId;
use tollgate_validator::checks::{ClaimedRoute, ClaimedTarget, RouteFault, RouteRules};
use tollgate_validator::facts::{DomainPolicy, Fact, Mapping, RevokedTickets, TicketRevoke};

use super::table::learned_uri;
use super::{Batch, Cause, Refused, Scope, Tolerance};

/// Life of a revocation that names no end: a year, as tickets have.
const DEFAULT_LIFE: Duration = Duration::from_secs(365 * 86_400);

/// The end of a route that names none, the year 9999: it lasts until it is taken back.
pub(super) const NO_END: Duration = Duration::from_secs(253_370_764_800);

/// Everything a source has to say. A request has one of the lists, a file any of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsDocument {
    /// Routes.
    #[serde(default)]
    pub routes: Vec<RouteEntry>,
    /// Tickets taken back.
    #[serde(default)]
    pub revocations: Vec<RevocationEntry>,
    /// Mappings.
    #[serde(default)]
    pub mappings: Vec<MappingEntry>,
    /// Which domains routes may lead to.
    #[serde(default)]
    pub domains: Option<DomainPolicy>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteEntry {
    /// Its name; by default made of the number, so that a number has one route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The number called, `+` and 1 to 15 digits. Where the address of the request names it, it may be absent.
    #[serde(default)]
    pub number: String,
    /// The peer's domain.
    pub domain: String,
    /// Its edges, in order of trial.
    pub targets: Vec<TargetEntry>,
    /// The ticket, in its text form.
    #[serde(with = "personal")]
    pub ticket: Pii<String>,
    /// Of several routes of one number the highest revision's holds.
    #[serde(default)]
    pub revision: u64,
    /// When it was learned, in milliseconds since 1970; now by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_at_ms: Option<u64>,
    /// When it ends, in milliseconds since 1970; when it is taken back by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// An edge of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetEntry {
    /// `192.0.2.4:5061`, `[2001:db8::1]:5061`, or a whole learned SIP URI.
    Text(String),
    /// As the feed tells it.
    Learned(ClaimedTarget),
}

/// Tickets taken back: exactly one of the three names them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationEntry {
    /// One ticket, by the 32 hexadecimal digits of its unique ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_uuid: Option<String>,
    /// All granted to a domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_to: Option<String>,
    /// All for a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// When it may be forgotten, in milliseconds since 1970; in a year by default, the longest a ticket lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// A mapping, read as [`Mapping`] one by one, so that each bad one can be named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MappingEntry(pub Value);

/// Entries that cannot be read, before any is judged.
pub type EntryFault = Refused;

impl FactsDocument {
    /// The batch of a document, at a time since 1970.
    ///
    /// # Errors
    /// Every entry that is refused; the index counts routes first, then revocations, then mappings.
    pub fn batch(self, scope: Scope, rules: &RouteRules, unix: Duration) -> Result<Batch, Vec<EntryFault>> {
        let routes = self.routes.iter().map(|entry| entry.fact(rules, unix));
        let revocations = self.revocations.iter().map(|entry| entry.fact(unix));
        let mappings = self.mappings.into_iter().map(MappingEntry::fact);
        let mut facts = Vec::new();
        let mut refused = Vec::new();
        for (index, fact) in routes.chain(revocations).chain(mappings).enumerate() {
            match fact {
                Ok(fact) => facts.push(fact),
                Err((cause, text)) => refused.push(Refused {
                    text: text.unwrap_or_else(|| Refused::of(index, cause).text),
                    ..Refused::of(index, cause)
                }),
            }
        }
        facts.extend(self.domains.map(Fact::DomainPolicy));
        if !refused.is_empty() {
            return Err(refused);
        }
        Ok(Batch {
            scope,
            tolerance: Tolerance::None,
            mark: None,
            facts,
        })
    }
}

/// Personal text is redacted in Debug alone.
mod personal {
    use serde::{Deserialize, Deserializer, Serializer};
    use tollgate_contract::Pii;

    pub(super) fn serialize<S: Serializer>(value: &Pii<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pii<String>, D::Error> {
        String::deserialize(deserializer).map(Pii)
    }
}

/// Why an entry is no fact, and in which words where the cause's own do not say enough.
type Unfit = (Cause, Option<String>);

impl RouteEntry {
    fn fact(&self, rules: &RouteRules, unix: Duration) -> Result<Fact, Unfit> {
        let refused = |fault| (Cause::Route(fault), None);
        let targets = self
            .targets
            .iter()
            .zip(0..)
            .map(|(target, place)| target.claimed(&self.domain, place));
        let targets: Result<Vec<_>, _> = targets.collect();
        let learned_at = self.learned_at_ms.map_or(unix, Duration::from_millis);
        let expires_at = self.expires_at_ms.map(Duration::from_millis);
        let claimed = ClaimedRoute {
            route_id: self.id.clone().unwrap_or_else(|| default_id(&self.number)),
            revision: self.revision,
            number: Pii(self.number.clone()),
            domain: self.domain.clone(),
            targets: targets.map_err(refused)?,
            ticket: self.ticket.clone(),
            learned_at: learned_at.min(unix),
            expires_at: expires_at.unwrap_or(NO_END),
            vservice_id: VServiceId(0),
            peer: None,
            evidence: None,
        };
        let route = rules.check(&claimed, unix).map_err(refused)?;
        Ok(Fact::RouteUpsert(Box::new(route)))
    }
}

/// The id of a route that is given none: ids have no `+`.
fn default_id(number: &str) -> String {
    format!("n-{}", number.trim_start_matches('+'))
}

impl TargetEntry {
    /// The target as the feed would tell it: an address alone gets the URI that learned routes have.
    fn claimed(&self, domain: &str, place: u16) -> Result<ClaimedTarget, RouteFault> {
        let text = match self {
            Self::Learned(target) => return Ok(target.clone()),
            Self::Text(text) => text,
        };
        let uri = match text.parse::<SocketAddr>() {
            Ok(at) => learned_uri(domain, at),
            Err(_) if text.contains(';') => text.clone(),
            Err(_) => return Err(RouteFault::MaddrSyntax),
        };
        Ok(ClaimedTarget {
            uri,
            priority: place,
            ..ClaimedTarget::default()
        })
    }
}

impl RevocationEntry {
    fn fact(&self, unix: Duration) -> Result<Fact, Unfit> {
        let until = self
            .until_ms
            .map_or_else(|| unix.saturating_add(DEFAULT_LIFE), Duration::from_millis);
        let which = self.which().map_err(|text| (Cause::Syntax, Some(text)))?;
        Ok(Fact::TicketRevoke(TicketRevoke { which, until }))
    }

    /// The tickets it names.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn which(&self) -> Result<RevokedTickets, String> {
        let wrong = |what: &str| format!("{what} is not of its form");
        match (&self.ticket_uuid, &self.granted_to, &self.number) {
            (Some(uuid), None, None) => {
                // A UUID may be written with its four hyphens (RFC 4122 §3).
                let digits = uuid.replace('-', "");
                digits
                    .parse()
                    .map(RevokedTickets::Uuid)
                    .map_err(|_| wrong("ticket_uuid"))
            }
            (None, Some(domain), None) => domain
                .parse()
                .map(RevokedTickets::GrantedTo)
                .map_err(|_| wrong("granted_to")),
            (None, None, Some(number)) => number.parse().map(RevokedTickets::Number).map_err(|_| wrong("number")),
            _ => Err("exactly one of ticket_uuid, granted_to and number names the tickets".to_owned()),
        }
    }
}

impl From<&TicketRevoke> for RevocationEntry {
    fn from(revoke: &TicketRevoke) -> Self {
        let until_ms = u64::try_from(revoke.until.as_millis()).ok();
        let entry = Self {
            until_ms,
            ..Self::default()
        };
        match &revoke.which {
            RevokedTickets::Uuid(uuid) => Self {
                ticket_uuid: Some(uuid.to_string()),
                ..entry
            },
            RevokedTickets::GrantedTo(domain) => Self {
                granted_to: Some(domain.to_string()),
                ..entry
            },
            RevokedTickets::Number(number) => Self {
                number: Some(number.to_string()),
                ..entry
            },
        }
    }
}

impl MappingEntry {
    fn fact(self) -> Result<Fact, Unfit> {
        let mapping: Result<Mapping, _> = serde_json::from_value(self.0);
        mapping
            .map(Fact::MappingUpsert)
            .map_err(|why| (Cause::Syntax, Some(format!("not a mapping: {why}"))))
    }
}
