//! Names of peers in the policy, resolved before a snapshot needs them: nothing in the signalling path waits for DNS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tollgate_policy::{HostPort, Policy};

/// Longest wait for one name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses by `host:port` as written in the policy.
pub type Names = BTreeMap<(String, u16), Vec<SocketAddr>>;

/// A name that has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer {host}:{port} has no address: {why}")]
pub struct NamesError {
    /// The name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the resolver said.
    pub why: String,
}

/// Resolves every name of the policy's routes. A name that cannot be resolved is reported and has no addresses; what was
/// known of it before stays in force.
pub async fn resolve(policy: &Policy, known: &Names) -> (Names, Vec<NamesError>) {
    let mut names = Names::new();
    let mut errors = Vec::new();
    let wanted = policy
        .routes
        .iter()
        .flat_map(|route| &route.peers)
        .filter_map(|peer| match peer {
            HostPort::Address(_) => None,
            HostPort::Name { host, port } => Some((host.clone(), *port)),
        });
    for (host, port) in wanted {
        if names.contains_key(&(host.clone(), port)) {
            continue;
        }
        let asked = tokio::net::lookup_host((host.as_str(), port));
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, asked).await;
        let found = found.map(|found| found.map(Iterator::collect::<Vec<_>>));
        let why = match found {
            Ok(Ok(addresses)) => {
                names.insert((host, port), addresses);
                continue;
            }
            Ok(Err(why)) => why.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if let Some(addresses) = known.get(&(host.clone(), port)) {
            names.insert((host.clone(), port), addresses.clone());
        }
        errors.push(NamesError { host, port, why });
    }
    (names, errors)
}
