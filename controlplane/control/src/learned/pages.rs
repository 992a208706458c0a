//! Learned facts as JSON, page by page.
//!
//! Tickets and keys are never shown. A page reads a bounded part of the table, whatever is asked.

use serde_json::{Value, json};
use tollgate_contract::E164;
use tollgate_validator::MappingId;
use tollgate_validator::facts::RevokedTickets;

use super::entries::NO_END;
use super::{Answer, HeldRoute, Kept, LearnedRoutes, Name, Question, RevocationEntry, RouteFilter};

/// Most routes looked at for one page: a filter that few routes pass gives short pages with a `next`.
const ROUTES_READ_MAX: usize = 50_000;

impl LearnedRoutes {
    /// Answers a question.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Routes(filter) => found(self.routes_page(filter)),
            Question::Route(number) => self.route_page(*number),
            Question::Mappings { after, limit } => found(self.mappings_page(after.as_ref(), *limit)),
            Question::Revocations { after, limit } => found(self.revocations_page(after.as_ref(), *limit)),
            Question::Tickets => found(self.tickets_page()),
        }
    }

    fn routes_page(&self, filter: &RouteFilter) -> Value {
        let passes = |held: &HeldRoute| {
            filter.source.is_none_or(|source| held.source == source)
                && filter
                    .domain
                    .as_ref()
                    .is_none_or(|domain| *held.route.domain == **domain)
        };
        let mut routes = Vec::new();
        let mut last = None;
        let mut next = None;
        for (read, held) in self.book.after(filter.after).enumerate() {
            let is_next_number = last.is_some_and(|number| number != held.number);
            if is_next_number && (routes.len() >= filter.limit || read >= ROUTES_READ_MAX) {
                next = last;
                break;
            }
            last = Some(held.number);
            if passes(held) {
                routes.push(self.route(held));
            }
        }
        let next = next.map(|number| number.to_string());
        json!({ "routes": routes, "next": next, "total": self.book.len() })
    }

    fn route_page(&self, number: E164) -> Answer {
        let mut held: Vec<&HeldRoute> = self.book.of_number(number).collect();
        held.sort_by_key(|held| (held.source, std::cmp::Reverse(held.revision), held.id.clone()));
        let routes: Vec<Value> = held.into_iter().map(|held| self.route(held)).collect();
        match routes.is_empty() {
            true => Answer {
                status: 404,
                body: json!({ "error": "no learned route for this number" }),
            },
            false => found(json!({ "routes": routes })),
        }
    }

    fn route(&self, held: &HeldRoute) -> Value {
        let winner = self.in_use(held.number);
        let is_in_use = winner.is_some_and(|winner| winner.source == held.source && winner.id == held.id);
        let why_not = match winner {
            _ if is_in_use => None,
            _ if !self.rules.permits(&held.route.domain) => Some("domain_denied"),
            Some(winner) => Some(winner.source.name()),
            None => Some("policy"),
        };
        json!({
            "number": held.number.to_string(),
            "domain": &*held.route.domain,
            "targets": held.route.targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "has_ticket": held.route.ticket.is_some(),
            "source": held.source.name(),
            "id": &*held.id,
            "revision": held.revision,
            "learned_at_ms": millis(held.learned_at),
            "expires_at_ms": (held.end() < NO_END).then(|| millis(held.end())),
            "in_use": is_in_use,
            "yields_to": why_not,
        })
    }

    fn mappings_page(&self, after: Option<&MappingId>, limit: usize) -> Value {
        let first = Name::Mapping("-".parse().expect("an id of one character"));
        let after = after.map(|id| Name::Mapping(id.clone()));
        let of_kind = |name: &Name| matches!(name, Name::Mapping(_));
        let page = self.page(after.as_ref(), &first, of_kind, limit, |fact, source| {
            let Kept::Mapping(mapping) = fact else { return None };
            let mut entry = json!(**mapping);
            entry["source"] = json!(source);
            Some(entry)
        });
        let (mappings, last) = page;
        let next = last.and_then(|name| match name {
            Name::Mapping(id) => Some(id.to_string()),
            Name::Key(_) | Name::Revocation(_) | Name::Domains | Name::Numbers(_) | Name::Service(_) => None,
        });
        json!({ "mappings": mappings, "next": next, "total": self.stats().mappings })
    }

    fn revocations_page(&self, after: Option<&RevokedTickets>, limit: usize) -> Value {
        let first = Name::Revocation(RevokedTickets::Uuid(tollgate_validator::TicketUuid([0; 16])));
        let after = after.map(|which| Name::Revocation(which.clone()));
        let of_kind = |name: &Name| matches!(name, Name::Revocation(_));
        let page = self.page(after.as_ref(), &first, of_kind, limit, |fact, source| {
            let Kept::Revocation(revoke) = fact else { return None };
            let mut entry = json!(RevocationEntry::from(&**revoke));
            entry["source"] = json!(source);
            Some(entry)
        });
        let (revocations, last) = page;
        let next = last.and_then(|name| match name {
            Name::Revocation(which) => Some(cursor(which)),
            Name::Key(_) | Name::Mapping(_) | Name::Domains | Name::Numbers(_) | Name::Service(_) => None,
        });
        json!({ "revocations": revocations, "next": next, "total": self.stats().revocations })
    }

    /// Entries of one kind from a place on, and the last name shown if others follow. All sources of a name are shown.
    fn page(
        &self,
        after: Option<&Name>,
        first: &Name,
        of_kind: impl Fn(&Name) -> bool,
        limit: usize,
        show: impl Fn(&Kept, &'static str) -> Option<Value>,
    ) -> (Vec<Value>, Option<&Name>) {
        let mut shown = Vec::new();
        let mut last: Option<&Name> = None;
        let facts = self.keep.from(after, first).take_while(|(name, ..)| of_kind(name));
        for (name, source, fact) in facts {
            if shown.len() >= limit && last != Some(name) {
                return (shown, last);
            }
            shown.extend(show(fact, source.name()));
            last = Some(name);
        }
        (shown, None)
    }

    fn tickets_page(&self) -> Value {
        let keys = self.keep.iter().filter_map(|(_, source, fact)| match fact {
            Kept::Key(key) => Some(json!({
                "epoch": key.epoch,
                "alg": match key.alg {
                    tollgate_contract::TicketAlg::ViprHmacSha1 => "vipr-hmac-sha1",
                    tollgate_contract::TicketAlg::V2HmacSha256 => "v2-hmac-sha256",
                },
                "state": key.state,
                "not_before_ms": millis(key.not_before),
                "issue_until_ms": millis(key.issue_until),
                "accept_until_ms": millis(key.accept_until),
                "source": source.name(),
            })),
            Kept::Revocation(_) | Kept::Domains(_) | Kept::Numbers(_) | Kept::Service(_) | Kept::Mapping(_) => None,
        });
        let keys: Vec<Value> = keys.collect();
        let rules = &self.rules;
        json!({
            "keys": keys,
            "revocations": self.stats().revocations,
            "denied_domains": rules.denied.len(),
            "allowed_domains": rules.allowed.as_ref().map(std::collections::BTreeSet::len),
        })
    }
}

/// A revocation's name as a place to go on from, such as `number:+14085551234`.
fn cursor(which: &RevokedTickets) -> String {
    match which {
        RevokedTickets::Uuid(uuid) => format!("ticket_uuid:{uuid}"),
        RevokedTickets::GrantedTo(domain) => format!("granted_to:{domain}"),
        RevokedTickets::Number(number) => format!("number:{number}"),
    }
}

const fn found(body: Value) -> Answer {
    Answer { status: 200, body }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
