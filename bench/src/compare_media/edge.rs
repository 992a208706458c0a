//! Tollgate itself, started as an operator starts it: `tollgate run --policy`, one company and its policy.
//!
//! The policy is the default one but for addresses, the number of calls and the rate of new calls.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollgate_contract::{KeyState, MacCoverage, Secret, TicketAlg, TicketKey};
use tollgate_peers::certs::Authority;
use tollgate_ticket::{Grant, issue};

use super::call::{END, Ends, FIRST_PORT, Relayed};
use super::process::Process;
use super::relay::{Place, Relay, Terms};
use super::sip::{Both, Far};

/// A running edge and whoever places calls through it.
pub(crate) struct Edge {
    process: Process,
    both: Both,
}

/// The addresses of one edge and those around it.
struct Addresses {
    inside: SocketAddr,
    agent: SocketAddr,
    outside: SocketAddr,
    admin: SocketAddr,
}

impl Edge {
    /// Writes its files, starts it, and connects to it as a peer's edge does.
    ///
    /// # Errors
    /// In words, when any of that fails.
    pub(crate) fn start(place: &Place, terms: Terms, wait_us: u32) -> Result<Self, String> {
        let network = place.network;
        let addresses = Addresses {
            inside: SocketAddr::new(network.inside(1), 5060),
            agent: SocketAddr::new(network.inside(END), 5060),
            outside: SocketAddr::new(network.outside(1), 5061),
            admin: SocketAddr::new(network.inside(1), 9090),
        };
        let authority = Authority::new("Bench CA");
        let folder = &place.folder;
        write_files(folder, &authority, &policy(&addresses, terms, wait_us))
            .map_err(|why| format!("{}: {why}", folder.display()))?;
        let mut command = Command::new(&place.tollgate);
        command.args(["run", "--policy"]).arg(folder.join("edge.toml"));
        let mut process = Process::start(&mut command, &folder.join("edge.log"), place.cores)?;
        process.wait_ready(|| is_ready(addresses.admin))?;
        let both = Both::connect(Far {
            edge: addresses.outside,
            agent: addresses.agent,
            edge_domain: DOMAIN,
            peer_domain: PEER_DOMAIN,
            ca_pem: authority.ca_pem(),
            identity: &authority.issue(&[PEER_DOMAIN], &[]),
            number: NUMBER,
            ticket: ticket()?,
        })?;
        Ok(Self { process, both })
    }
}

impl Relay for Edge {
    fn process(&self) -> &Process {
        &self.process
    }

    /// One call from the peer's side to the agent's.
    fn set_up(&mut self, ends: &Ends) -> Result<Relayed, String> {
        self.both.place(ends)
    }
}

fn write_files(folder: &Path, authority: &Authority, policy: &str) -> std::io::Result<()> {
    let identity = authority.issue(&[DOMAIN], &[]);
    let key: String = TICKET_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, text) in [
        ("ca.pem", authority.ca_pem()),
        ("edge.pem", &identity.cert_pem),
        ("edge.key", &identity.key_pem),
        ("epoch-1.key", &key),
        ("edge.toml", policy),
    ] {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn policy(addresses: &Addresses, terms: Terms, wait_us: u32) -> String {
    let Addresses {
        inside,
        agent,
        outside,
        admin,
    } = addresses;
    let (inside_ip, outside_ip, calls) = (inside.ip(), outside.ip(), terms.calls);
    let ports = format!("{FIRST_PORT}-{}", FIRST_PORT + 2 * calls - 1);
    let suite = terms.suite.name();
    format!(
        "mode = \"trunk\"\ndomain = \"{DOMAIN}\"\n\
         [[inside.listeners]]\ntransport = \"udp\"\nbind = \"{inside}\"\n\
         [inside.agent]\naddress = \"{agent}\"\ntransport = \"udp\"\n\
         [[outside.listeners]]\nbind = \"{outside}\"\n\
         [outside.tls]\ncertificate = \"edge.pem\"\nprivate_key = \"edge.key\"\ntrust_roots = \"ca.pem\"\n\
         [media]\nmax_calls = {calls}\nsuites = [\"{suite}\"]\nwait_us = {wait_us}\n\
         [[media.inside]]\nbind = \"{inside_ip}\"\nports = \"{ports}\"\n\
         [[media.outside]]\nbind = \"{outside_ip}\"\nports = \"{ports}\"\n\
         [[tickets.keys]]\nepoch = 1\nalg = \"v2-hmac-sha256\"\nkey_file = \"epoch-1.key\"\n\
         [calls]\ncalls_per_second_per_peer = 100000\n\
         [admin]\nlisten = \"{admin}\"\n\
         [logging]\nlevel = \"warn\"\ncall_records = \"off\"\n"
    )
}

/// A ticket of the edge for its one number, for a day.
fn ticket() -> Result<String, String> {
    let key = TicketKey {
        epoch: 1,
        alg: TicketAlg::V2HmacSha256,
        secret: Secret::new(TICKET_KEY.to_vec()),
        not_before: Duration::ZERO,
        accept_until: Duration::MAX,
        state: KeyState::Live,
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|why| why.to_string())?;
    let validity = (now.saturating_sub(MINUTE), now + DAY);
    let number = NUMBER.parse().map_err(|_| "the number is no number".to_owned())?;
    let grant = Grant::new(number, validity, [7; 16], DOMAIN, PEER_DOMAIN).map_err(|why| format!("{why}"))?;
    Ok(issue(
        &key,
        MacCoverage::BeforeIntegrity,
        &grant,
        rand::random(),
        rand::random(),
    ))
}

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    };
    ask().is_ok_and(|page| page.starts_with("HTTP/1.1 200"))
}

/// The edge's company.
const DOMAIN: &str = "edge.example";

/// The company that calls.
const PEER_DOMAIN: &str = "peer.example";

/// The number that is called.
const NUMBER: &str = "+12125550123";

/// Any 32 bytes.
const TICKET_KEY: [u8; 32] = [0x5a; 32];

const MINUTE: Duration = Duration::from_secs(60);

const DAY: Duration = Duration::from_secs(86_400);
