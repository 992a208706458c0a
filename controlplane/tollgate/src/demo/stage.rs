//! The stage: files, two edges, their call agents and the network between.
//!
//! It places no call.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use tollgate_peers::agent::{AgentConfig, CallAgent};
use tollgate_peers::certs::{Authority, Identity};
use tollgate_peers::payload::PayloadBook;
use tollgate_peers::relay::{Relay, RelayConfig, RelayEdge};

use super::calls::GOOD_EACH_WAY;
use super::company::{self, Company, FIRST_PORT, Line, PORT_COUNT};
use super::edge::Edge;
use super::policy::{self, RouteEntry};
use super::tickets::{Flaw, Issuer, OTHER_DOMAIN};

/// Everything that runs. Dropping it ends it all.
#[derive(Debug)]
pub(super) struct Stage {
    /// The edges, alpha's first.
    edges: [Edge; 2],
    /// The enterprises, alpha first.
    pub(super) companies: [Company; 2],
    /// Their call agents.
    pub(super) agents: [Arc<CallAgent>; 2],
    /// The network between the edges; it counts alpha as edge 0.
    pub(super) relay: Relay,
    /// Every payload sent.
    pub(super) book: PayloadBook,
    /// The loopback network all addresses are in: 127.network.x.y.
    pub(super) network: u8,
    /// What the files were made of.
    pub(super) papers: Papers,
}

/// Certificates and tickets for who comes without an edge.
#[derive(Debug)]
pub(super) struct Papers {
    /// The certificate of the authority both companies trust.
    pub(super) ca_pem: String,
    /// Alpha's identity, the same its edge has.
    pub(super) alpha: Identity,
    /// The identity of a third company.
    pub(super) stranger: Identity,
    /// A ticket with which alpha may call the first of beta's numbers.
    pub(super) alphas_ticket: String,
}

impl Stage {
    /// Writes the files, binds the network and the agents, and starts the edges.
    ///
    /// # Errors
    /// In words: what could not be written, bound or started.
    pub(super) async fn set_up(folder: &Path) -> Result<Self, String> {
        let (companies, network) = company::on_a_free_network()?;
        let papers = write_files(folder, &companies, &Flaw::ALL)?;
        let book = PayloadBook::new();
        let relay = start_relay(&companies, &book, &papers.alphas_ticket).await?;
        let [alpha, beta] = &companies;
        let agents = [bind_agent(alpha, &book).await?, bind_agent(beta, &book).await?];
        let mut edges = [Edge::start(alpha, folder)?, Edge::start(beta, folder)?];
        for edge in &mut edges {
            edge.ready().await?;
        }
        Ok(Self {
            edges,
            companies,
            agents,
            relay,
            book,
            network,
            papers,
        })
    }

    /// The edges that have ended, in words.
    pub(super) fn dead_edges(&mut self) -> Vec<String> {
        self.edges.iter_mut().filter_map(Edge::death).collect()
    }
}

/// Writes certificates, keys, tickets and both policies, with a route for each of these flaws besides the good ones.
///
/// # Errors
/// In words, if something cannot be made or written.
pub(super) fn write_files(folder: &Path, companies: &[Company; 2], flaws: &[Flaw]) -> Result<Papers, String> {
    for name in ["tls", "keys", "tickets"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    let authority = Authority::new("Tollgate demo authority");
    write(folder, "tls/ca.pem", authority.ca_pem())?;
    let [alpha, beta] = companies;
    let identities = [alpha, beta].map(|company| authority.issue(&[company.domain], &[]));
    for (company, identity) in companies.iter().zip(&identities) {
        write(folder, &format!("tls/{}.pem", company.name), &identity.cert_pem)?;
        write(folder, &format!("tls/{}.key", company.name), &identity.key_pem)?;
    }
    let issuers = [alpha, beta].map(|company| Issuer::new(company.domain));
    let [issuer_alpha, issuer_beta] = &issuers;
    for (own, issuer) in companies.iter().zip(&issuers) {
        write(folder, &format!("keys/{}-epoch-1.key", own.name), &issuer.key_file())?;
    }
    write_policy(folder, alpha, (beta, issuer_beta), flaws)?;
    write_policy(folder, beta, (alpha, issuer_alpha), flaws)?;
    let [identity, _] = identities;
    Ok(Papers {
        ca_pem: authority.ca_pem().to_owned(),
        alpha: identity,
        stranger: authority.issue(&[OTHER_DOMAIN], &[]),
        alphas_ticket: issuer_beta.good(&beta.number(Line::Good(0)), alpha.domain)?,
    })
}

/// What a user does with the files written.
pub(super) fn how_to_go_on(folder: &Path, companies: &[Company; 2]) -> String {
    let mut text = format!(
        "Two policies with certificates, keys and tickets are in {}.\n",
        folder.display()
    );
    for (own, peer) in [(0, 1), (1, 0)].map(|(own, peer)| (&companies[own], &companies[peer])) {
        text.push_str(&format!(
            "\n{}: tollgate run --policy {}\n    its call agent is awaited at {} over TCP, and finds the edge at {} (UDP or TCP)\n    \
             it may call {} to {}; live state: tollgate show calls --admin {}\n",
            own.domain,
            own.policy_path(folder).display(),
            own.agent,
            own.inside,
            peer.number(Line::Good(0)),
            peer.number(Line::Good(GOOD_EACH_WAY - 1)),
            own.admin,
        ));
    }
    text
}

fn write_policy(
    folder: &Path,
    own: &Company,
    (peer, issuer): (&Company, &Issuer),
    flaws: &[Flaw],
) -> Result<(), String> {
    let mut routes = Vec::new();
    let good = (0..GOOD_EACH_WAY).map(Line::Good).chain([Line::Hold, Line::Fallback]);
    for number in good.map(|line| peer.number(line)) {
        let ticket = issuer.good(&number, own.domain)?;
        routes.push(write_route(folder, number, Some(ticket))?);
    }
    let other = peer.number(Line::Good(0));
    for (index, flaw) in (0..).zip(flaws) {
        let number = peer.number(Line::Refused(index));
        let ticket = issuer.flawed(*flaw, &number, &other, own.domain)?;
        routes.push(write_route(folder, number, ticket)?);
    }
    let records = format!("{}-calls.jsonl", own.name);
    let text = policy::text(own, peer, &routes, &records);
    write(folder, &format!("{}.toml", own.name), &text)
}

fn write_route(folder: &Path, number: String, ticket: Option<String>) -> Result<RouteEntry, String> {
    let name = format!("tickets/{}.ticket", number.trim_start_matches('+'));
    let ticket_file = match ticket {
        Some(ticket) => {
            write(folder, &name, &format!("{ticket}\n"))?;
            Some(name)
        }
        None => None,
    };
    Ok(RouteEntry { number, ticket_file })
}

/// Writes a file that only its owner may read: some hold keys.
fn write(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    let open = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path);
    open.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|why| format!("{}: {why}", path.display()))
}

async fn start_relay(companies: &[Company; 2], book: &PayloadBook, ticket: &str) -> Result<Relay, String> {
    let edges = companies.iter().map(|company| RelayEdge {
        advertised_sip: company.advertised,
        bound_sip: company.outside,
        advertised_media: company.advertised.ip(),
        bound_media: company.outside.ip(),
        first_port: FIRST_PORT,
        port_count: PORT_COUNT,
    });
    let stems = companies.iter().map(|company| company.stem().to_owned());
    let config = RelayConfig {
        edges: edges.collect(),
        book: book.clone(),
        texts: stems.chain(["SIP/2.0".to_owned(), ticket.to_owned()]).collect(),
        seed: rand::random(),
    };
    let relay = Relay::start(config).await;
    relay.map_err(|why| format!("the network between the edges cannot be bound: {why}"))
}

async fn bind_agent(company: &Company, book: &PayloadBook) -> Result<Arc<CallAgent>, String> {
    let agent = CallAgent::bind(AgentConfig {
        name: company.own_number(),
        domain: company.domain.to_owned(),
        listen: company.agent,
        edge: company.inside,
        edge_transport: company.transport,
        media_ip: company.agent.ip(),
        book: book.clone(),
    });
    let agent = agent.await.map(Arc::new);
    agent.map_err(|why| {
        format!(
            "{}'s call agent cannot be bound to {}: {why}",
            company.name, company.agent
        )
    })
}
