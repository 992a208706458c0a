//! The two enterprises: their names, numbers and addresses.
//!
//! It binds nothing but to see whether an address is free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use tollgate_peers::agent::SipTransport;

/// One enterprise.
#[derive(Clone, Debug)]
pub(super) struct Company {
    /// `alpha` or `beta`.
    pub(super) name: &'static str,
    /// The domain of its certificate.
    pub(super) domain: &'static str,
    /// The first digits of its numbers; four more follow.
    stem: &'static str,
    /// The edge's SIP address inside.
    pub(super) inside: SocketAddr,
    /// The call agent's SIP address; its media has the same address.
    pub(super) agent: SocketAddr,
    /// How SIP travels inside.
    pub(super) transport: SipTransport,
    /// The edge's SIP address outside.
    pub(super) outside: SocketAddr,
    /// The one told to peers: the relay's, or the same.
    pub(super) advertised: SocketAddr,
    /// The edge's admin address.
    pub(super) admin: SocketAddr,
}

/// What a number of either company is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// One of the good calls, from 0.
    Good(u16),
    /// The call that is held and resumed.
    Hold,
    /// The call whose path is spoiled.
    Fallback,
    /// One of the calls that must be refused, from 0.
    Refused(u16),
}

impl Company {
    /// The number of a line.
    pub(super) fn number(&self, line: Line) -> String {
        let last = match line {
            Line::Good(index) => 100 + index,
            Line::Hold => 130,
            Line::Fallback => 131,
            Line::Refused(index) => 140 + index,
        };
        format!("{}{last:04}", self.stem)
    }

    /// The number its agent calls from.
    pub(super) fn own_number(&self) -> String {
        format!("{}0199", self.stem)
    }

    pub(super) fn stem(&self) -> &'static str {
        self.stem
    }

    pub(super) fn policy_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.toml", self.name))
    }

    /// Where the edge writes its call records.
    pub(super) fn records_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}-calls.jsonl", self.name))
    }

    pub(super) fn log_path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.log", self.name))
    }

    fn at(name: &'static str, network: u8, first: u8) -> Self {
        let at = |third: u8, host: u8, port| SocketAddr::new(loopback(network, third, host), port);
        let (domain, stem, transport) = match name {
            "alpha" => ("alpha.example", "+1646555", SipTransport::Tcp),
            _ => ("beta.example", "+1212555", SipTransport::Udp),
        };
        Self {
            name,
            domain,
            stem,
            inside: at(first, 1, 5060),
            agent: at(first, 2, 5060),
            transport,
            outside: at(first + 1, 1, 5061),
            advertised: at(first + 2, 1, 5061),
            admin: at(first, 1, 9090),
        }
    }

    fn is_free(&self) -> bool {
        let streams = [self.inside, self.agent, self.outside, self.advertised, self.admin];
        let datagrams = [self.inside, self.agent];
        streams.iter().all(|address| TcpListener::bind(address).is_ok())
            && datagrams.iter().all(|address| UdpSocket::bind(address).is_ok())
    }
}

/// Alpha and beta on a loopback network nobody uses, and that network.
///
/// # Errors
/// In words, if none of many is free.
pub(super) fn on_a_free_network() -> Result<([Company; 2], u8), String> {
    let start = rand::random::<u8>() % NETWORKS;
    for step in 0..NETWORKS {
        let network = FIRST_NETWORK + (start + step) % NETWORKS;
        let pair = [Company::at("alpha", network, 10), Company::at("beta", network, 20)];
        if pair.iter().all(Company::is_free) {
            return Ok((pair, network));
        }
    }
    Err(format!(
        "no free loopback addresses: tried ports 5060, 5061 and 9090 on 127.{FIRST_NETWORK}.x.y to 127.{}.x.y \
         (on systems other than Linux they must be added to the loopback interface first)",
        FIRST_NETWORK + NETWORKS - 1
    ))
}

/// 127.network.third.host.
pub(super) const fn loopback(network: u8, third: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, network, third, host))
}

/// First media port of the edges, below the ephemeral ports.
pub(super) const FIRST_PORT: u16 = 20_000;

/// Media ports of an edge on each side: two for each of up to 64 calls.
pub(super) const PORT_COUNT: u16 = 128;

/// Networks 127.64.x.y to 127.191.x.y are tried, away from what other programs use.
const FIRST_NETWORK: u8 = 64;

/// How many networks are tried.
const NETWORKS: u8 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lines_share_a_number() {
        let ([alpha, beta], _) = on_a_free_network().unwrap();
        let lines = (0..20)
            .map(Line::Good)
            .chain((0..20).map(Line::Refused))
            .chain([Line::Hold, Line::Fallback]);
        let mut numbers: Vec<String> = lines.flat_map(|line| [alpha.number(line), beta.number(line)]).collect();
        numbers.extend([alpha.own_number(), beta.own_number()]);
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }

    #[test]
    fn a_network_in_use_is_passed_over() {
        let (pair, network) = on_a_free_network().unwrap();
        let _taken = TcpListener::bind(pair[0].inside).unwrap();
        assert!(!Company::at("alpha", network, 10).is_free());
    }
}
