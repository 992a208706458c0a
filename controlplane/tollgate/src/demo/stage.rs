//! The stage: files, two edges, their call agents and the network between.
//!
//! It places no call.

use std::path::Path;
use std::sync::Arc;

use tollgate_peers::agent::{AgentConfig, CallAgent};
use tollgate_peers::certs::Identity;
use tollgate_peers::payload::PayloadBook;
use tollgate_peers::relay::{Relay, RelayConfig, RelayEdge};

use super::calls::GOOD_EACH_WAY;
use super::company::{self, Company, FIRST_PORT, Line, PORT_COUNT};
use super::credentials::{Credentials, write_private};
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
        let papers = write_files(folder, &companies)?;
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

/// Writes certificates, keys, tickets and both policies, with a route for each flaw besides the good ones.
fn write_files(folder: &Path, companies: &[Company; 2]) -> Result<Papers, String> {
    let [alpha, beta] = companies;
    let made = Credentials::write(folder, [alpha, beta].map(|company| (company.name, company.domain)))?;
    let [issuer_alpha, issuer_beta] = &made.issuers;
    write_policy(folder, alpha, (beta, issuer_beta))?;
    write_policy(folder, beta, (alpha, issuer_alpha))?;
    Ok(Papers {
        ca_pem: made.authority.ca_pem().to_owned(),
        stranger: made.authority.issue(&[OTHER_DOMAIN], &[]),
        alphas_ticket: issuer_beta.good(&beta.number(Line::Good(0)), alpha.domain)?,
        alpha: made
            .identities
            .into_iter()
            .next()
            .expect("one identity for each company"),
    })
}

fn write_policy(folder: &Path, own: &Company, (peer, issuer): (&Company, &Issuer)) -> Result<(), String> {
    let mut routes = Vec::new();
    let good = (0..GOOD_EACH_WAY).map(Line::Good).chain([Line::Hold, Line::Fallback]);
    for number in good.map(|line| peer.number(line)) {
        let ticket = issuer.good(&number, own.domain)?;
        routes.push(write_route(folder, number, Some(ticket))?);
    }
    let other = peer.number(Line::Good(0));
    for (index, flaw) in (0..).zip(Flaw::ALL) {
        let number = peer.number(Line::Refused(index));
        let ticket = issuer.flawed(flaw, &number, &other, own.domain)?;
        routes.push(write_route(folder, number, ticket)?);
    }
    let records = format!("{}-calls.jsonl", own.name);
    let text = policy::text(own, peer, &routes, &records);
    write_private(folder, &format!("{}.toml", own.name), &text)
}

fn write_route(folder: &Path, number: String, ticket: Option<String>) -> Result<RouteEntry, String> {
    let name = format!("tickets/{}.ticket", number.trim_start_matches('+'));
    let ticket_file = match ticket {
        Some(ticket) => {
            write_private(folder, &name, &format!("{ticket}\n"))?;
            Some(name)
        }
        None => None,
    };
    Ok(RouteEntry { number, ticket_file })
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
