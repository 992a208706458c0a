//! `[inside]` and `[outside]`: listeners, the call agent, certificates.
//!
//! Checks each side by itself; what touches both is checked in `cross`.

use std::net::SocketAddr;

use crate::forms;
use crate::policy::{Agent, CertificateFiles, Inside, InsideListener, InsideTls, Outside, OutsideListener, Transport};
use crate::raw::Section;

pub(crate) fn inside(root: &Section<'_>) -> Option<Inside> {
    let section = root.section("inside");
    let sections = section.sections("listeners");
    let listeners: Vec<Option<InsideListener>> = sections.iter().map(inside_listener).collect();
    let agent = agent(&section.section("agent"));
    let tls_section = section.section("tls");
    let tls = tls_section.is_present().then(|| inside_tls(&tls_section));
    let listeners = listeners.into_iter().collect::<Option<Vec<_>>>();
    require_tls(
        &section,
        &tls_section,
        listeners.as_deref().unwrap_or_default(),
        agent.as_ref(),
    );
    let tls = match tls {
        Some(tls) => Some(tls?),
        None => None,
    };
    Some(Inside {
        listeners: listeners?,
        agent: agent?,
        tls,
    })
}

pub(crate) fn outside(root: &Section<'_>) -> Option<Outside> {
    let section = root.section("outside");
    let listeners: Vec<Option<OutsideListener>> = section.sections("listeners").iter().map(outside_listener).collect();
    let tls = certificate_files(&section.section("tls"));
    Some(Outside {
        listeners: listeners.into_iter().collect::<Option<Vec<_>>>()?,
        tls: tls?,
    })
}

fn inside_listener(section: &Section<'_>) -> Option<InsideListener> {
    let transport = transport(section);
    let (bind, advertised) = bound_and_advertised(section)?;
    Some(InsideListener {
        transport: transport?,
        bind,
        advertised,
    })
}

fn outside_listener(section: &Section<'_>) -> Option<OutsideListener> {
    let (bind, advertised) = bound_and_advertised(section)?;
    Some(OutsideListener { bind, advertised })
}

/// The socket's address and the one told to others, which must be of one family and reachable.
fn bound_and_advertised(section: &Section<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let bind = section.parsed("bind", forms::address);
    let advertised = section.parsed("advertised", forms::reachable);
    let bind = bind?;
    if advertised.is_none() && !section.has("advertised") && bind.ip().is_unspecified() {
        let problem = format!("is missing, and {bind} cannot be told to others");
        section.fault(
            "advertised",
            problem,
            "add the address at which others reach this listener",
        );
    }
    let advertised = advertised.unwrap_or(bind);
    if advertised.is_ipv4() != bind.is_ipv4() {
        let problem = format!("{advertised} is of another address family than bind {bind}");
        section.fault("advertised", problem, "use IPv4 for both or IPv6 for both");
    }
    Some((bind, advertised))
}

fn agent(section: &Section<'_>) -> Option<Agent> {
    let address = section.parsed("address", forms::reachable);
    let transport = transport(section);
    let mut allow_from = section.list("allow_from", forms::host_ip);
    let address = address?;
    if !allow_from.contains(&address.ip()) {
        allow_from.push(address.ip());
    }
    Some(Agent {
        address,
        transport: transport?,
        allow_from,
    })
}

fn transport(section: &Section<'_>) -> Option<Transport> {
    section.choice(
        "transport",
        &[
            ("udp", Transport::Udp),
            ("tcp", Transport::Tcp),
            ("tls", Transport::Tls),
        ],
    )
}

fn inside_tls(section: &Section<'_>) -> Option<InsideTls> {
    let server_name = section.parsed("server_name", forms::domain);
    Some(InsideTls {
        files: certificate_files(section)?,
        server_name,
    })
}

pub(crate) fn certificate_files(section: &Section<'_>) -> Option<CertificateFiles> {
    let [certificate, private_key, trust_roots] =
        ["certificate", "private_key", "trust_roots"].map(|key| section.file(key));
    Some(CertificateFiles {
        certificate: certificate?,
        private_key: private_key?,
        trust_roots: trust_roots?,
    })
}

/// Whoever uses TLS inside needs certificates, and the agent a name to be known by; UDP needs a socket of ours.
fn require_tls(inside: &Section<'_>, tls: &Section<'_>, listeners: &[InsideListener], agent: Option<&Agent>) {
    let has = |transport| listeners.iter().any(|listener| listener.transport == transport);
    let agent_uses = |transport| agent.is_some_and(|agent| agent.transport == transport);
    if (has(Transport::Tls) || agent_uses(Transport::Tls)) && !tls.is_present() {
        let who = if has(Transport::Tls) { "a listener" } else { "the agent" };
        let mend = "add [inside.tls] with certificate, private_key and trust_roots";
        inside.fault("tls", format!("is missing, and {who} uses TLS"), mend);
    }
    if agent_uses(Transport::Tls) && tls.is_present() && !tls.has("server_name") {
        tls.fault(
            "server_name",
            "is missing, and the agent uses TLS",
            "add the name in the agent's certificate",
        );
    }
    if agent_uses(Transport::Udp) && !listeners.is_empty() && !has(Transport::Udp) {
        let problem = "there is none for UDP, and the agent is reached by UDP";
        inside.fault("listeners", problem, "add a listener with transport = \"udp\"");
    }
}
