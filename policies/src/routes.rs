//! `[[routes]]` and `[[peers]]`.
//!
//! Resolves no name and judges no ticket but by its alphabet and length.

use std::collections::HashSet;

use crate::forms;
use crate::policy::{NumberPattern, Peer, Route};
use crate::raw::Section;
use crate::secret::SecretText;

pub(crate) fn routes(root: &Section<'_>) -> Option<Vec<Route>> {
    let mut seen = HashSet::new();
    let mut routes = Vec::new();
    for section in root.sections("routes") {
        let route = route(&section);
        if let Some(Route { pattern, .. }) = &route
            && !seen.insert(format!("{pattern:?}"))
        {
            let key = if section.has("number") { "number" } else { "prefix" };
            section.fault(
                key,
                "an earlier route has the same",
                "keep one of them; list several edges in `peers`",
            );
        }
        routes.push(route);
    }
    routes.into_iter().collect()
}

pub(crate) fn peers(root: &Section<'_>) -> Option<Vec<Peer>> {
    let mut seen = HashSet::new();
    let mut peers = Vec::new();
    for section in root.sections("peers") {
        let domain = section.parsed("domain", forms::domain);
        let label = section.parsed("label", forms::label);
        let deny = section.flag("deny");
        if domain.as_ref().is_some_and(|domain| !seen.insert(domain.clone())) {
            section.fault("domain", "an earlier peer has the same", "join the two");
        }
        peers.push(domain.map(|domain| Peer { domain, label, deny }));
    }
    peers.into_iter().collect()
}

fn route(section: &Section<'_>) -> Option<Route> {
    let pattern = pattern(section);
    let domain = section.parsed("domain", forms::domain);
    let peers = match (section.has("peer"), section.has("peers")) {
        (true, false) => section.parsed("peer", forms::host_port).into_iter().collect(),
        (false, true) => section.list("peers", forms::host_port),
        (true, true) => fault(section, "peers", "stands beside peer", "keep one of the two"),
        (false, false) => fault(
            section,
            "peer",
            "is missing",
            "add peer = \"host:port\" or a list `peers`",
        ),
    };
    if section.has("peers") && peers.is_empty() && !section.has("peer") {
        section.fault("peers", "names no usable address", "name at least one host and port");
    }
    let ticket = ticket(section);
    Some(Route {
        pattern: pattern?,
        domain: domain?,
        peers,
        ticket: ticket.map(SecretText::new),
    })
}

fn fault<T>(section: &Section<'_>, key: &str, problem: &str, mend: &str) -> Vec<T> {
    section.fault(key, problem, mend);
    Vec::new()
}

fn pattern(section: &Section<'_>) -> Option<NumberPattern> {
    match (section.has("number"), section.has("prefix")) {
        (true, false) => section.parsed("number", forms::e164).map(NumberPattern::Number),
        (false, true) => section.parsed("prefix", |text| match text {
            "" | "+" => Some(NumberPattern::Any),
            digits => forms::e164(digits).map(NumberPattern::Prefix),
        }),
        (true, true) => {
            section.fault("prefix", "stands beside number", "keep one of the two");
            None
        }
        (false, false) => {
            section.fault(
                "",
                "the route is for no number",
                "add number = \"+14085551234\" or prefix = \"+1408\"",
            );
            None
        }
    }
}

fn ticket(section: &Section<'_>) -> Option<String> {
    if section.has("ticket") && section.has("ticket_file") {
        section.fault("ticket_file", "stands beside ticket", "keep one of the two");
        return None;
    }
    if section.has("ticket") {
        let ticket = forms::ticket(section.text("ticket")?);
        if ticket.is_none() {
            section.fault(
                "ticket",
                "is no ticket",
                "write 1 to 1024 letters, digits, '-', '_' and '.'",
            );
        }
        return ticket;
    }
    if !section.has("ticket_file") {
        return None;
    }
    let ticket = forms::ticket(section.contents("ticket_file")?.trim_ascii());
    if ticket.is_none() {
        let mend = "put the ticket there alone: 1 to 1024 letters, digits, '-', '_' and '.'";
        section.fault("ticket_file", "what it holds is no ticket", mend);
    }
    ticket
}
