//! What a client does with the server's requests: Notify becomes routes, PublishRevoke means that the ring is down.
//!
//! VAP gives routes neither id nor revision nor end, so all three are made here. Source: draft-jennings-vipr-vap-02
//! §8.9, §8.10; vap.md 10.

use sha2::{Digest as _, Sha256};
use tollgate_contract::{Now, Pii};

use super::client::{Client, State};
use super::code;
use super::output::Report;
use crate::checks::{ClaimedRoute, ClaimedTarget, LearnedUri, RouteFault};
use crate::facts::Fact;
use crate::valinfo::{self, ValInfo};
use crate::vap::codec::{Message, Method, Read};
use crate::{VServiceId, hex};

impl Client {
    /// Checks in the order of vap.md 3: syntax, USERNAME, MAC, method.
    pub(super) fn on_request(&mut self, now: Now, read: Read) {
        let of = (read.method, read.transaction);
        let Ok(parsed) = read.parsed else {
            self.report(Report::Malformed { method: read.method });
            return self.answer(of, Err(code::BAD_REQUEST));
        };
        if parsed.message.username() != Some(self.config.username.as_str()) {
            self.report(Report::BadMac { method: read.method });
            return self.answer(of, Err(code::UNKNOWN_USERNAME));
        }
        if !parsed.is_authentic(&self.key) {
            self.report(Report::BadMac { method: read.method });
            return self.answer(of, Err(code::INTEGRITY_CHECK_FAILURE));
        }
        let answer = match read.method {
            Method::Notify => self.on_notify(now, &parsed.message),
            Method::PublishRevoke => self.on_publish_revoke(&parsed.message),
            Method::Register
            | Method::Unregister
            | Method::Publish
            | Method::Unpublish
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::UploadVcr
            | Method::ValExchange
            | Method::Unknown(_) => {
                self.report(Report::Malformed { method: read.method });
                Err(code::BAD_REQUEST)
            }
        };
        self.answer(of, answer);
    }

    fn on_publish_revoke(&mut self, message: &Message) -> Result<(), u16> {
        if !message.service().is_some_and(|identity| identity.is_vservice()) {
            return Err(code::BAD_REQUEST);
        }
        self.set_ring(false);
        Ok(())
    }

    fn on_notify(&mut self, now: Now, message: &Message) -> Result<(), u16> {
        let subscribed = match (&self.state, message.subscription()) {
            (State::Registered(link), Some(id)) => link.subscriptions.get(&id).copied(),
            _ => None,
        };
        let Some(vservice) = subscribed else {
            self.report(Report::UnknownSubscription);
            return Err(code::UNKNOWN_SUBSCRIPTION);
        };
        let is_of = |vservice| {
            message
                .service()
                .filter(|identity| identity.is_number() && identity.vservice_id == vservice)
        };
        let (Some(_), Some(content)) = (is_of(vservice), message.content()) else {
            self.report(Report::Malformed { method: Method::Notify });
            return Err(code::BAD_REQUEST);
        };
        let groups = valinfo::parse(content).map_err(|fault| {
            self.report(Report::ValInfoRefused { fault });
            code::BAD_REQUEST
        })?;
        self.set_ring(true);
        let facts = groups
            .iter()
            .filter_map(|group| self.learn(now, vservice, group))
            .collect();
        self.apply(facts);
        Ok(())
    }

    /// One group as a route, if it passes its checks and there is room.
    fn learn(&mut self, now: Now, vservice: VServiceId, group: &ValInfo) -> Option<Fact> {
        // Revisions rise over restarts too, since they begin at the clock.
        let millis = u64::try_from(now.unix.as_millis()).unwrap_or(u64::MAX);
        self.revision = millis.max(self.revision.saturating_add(1));
        let claimed = claim(
            group,
            vservice,
            self.revision,
            (now.unix, now.unix + self.config.route_life),
        );
        let route = match claimed.and_then(|claimed| self.config.rules.check(&claimed, now.unix)) {
            Ok(route) => route,
            Err(fault) => {
                self.report(Report::RouteRefused { fault });
                return None;
            }
        };
        let bytes = group.ticket.0.len() + group.uris.iter().map(String::len).sum::<usize>();
        let fact = Fact::RouteUpsert(Box::new(route));
        if self
            .table
            .note(&fact, ((), bytes), &self.config.bounds, now.unix)
            .is_err()
        {
            self.report(Report::TableFull);
            return None;
        }
        Some(fact)
    }
}

/// A group as a claimed route; its domain is that of its first URI, with which the others must agree.
fn claim(
    group: &ValInfo,
    vservice_id: VServiceId,
    revision: u64,
    (learned_at, expires_at): (std::time::Duration, std::time::Duration),
) -> Result<ClaimedRoute, RouteFault> {
    let first = group.uris.first().ok_or(RouteFault::NoTargets)?;
    let domain = LearnedUri::parse(first)?.domain.to_string();
    let priorities = 0..;
    let targets = group.uris.iter().zip(priorities).map(|(uri, priority)| ClaimedTarget {
        uri: uri.clone(),
        priority,
        ..ClaimedTarget::default()
    });
    Ok(ClaimedRoute {
        route_id: route_id(vservice_id, &group.number, &domain),
        revision,
        number: group.number.clone(),
        targets: targets.collect(),
        domain,
        ticket: group.ticket.clone(),
        learned_at,
        expires_at,
        vservice_id,
        peer: None,
        evidence: None,
    })
}

/// The same number at the same domain is the same route. A digest, since ids are shown and numbers are people.
fn route_id(vservice_id: VServiceId, number: &Pii<String>, domain: &str) -> String {
    let digest = Sha256::digest(format!("{vservice_id} {} {domain}", number.0));
    format!("vap-{}", hex::encode(digest.get(..16).unwrap_or_default()))
}
