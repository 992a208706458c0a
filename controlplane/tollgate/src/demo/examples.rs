//! `demo --write`: the example policies, and every file they name, in a folder.
//!
//! It starts nothing; the reader does. The policies are those of `policies/examples`, byte for byte.

use std::fmt::Write;
use std::path::Path;

use tollgate_policy::{NumberPattern, Policy, Transport};

use super::credentials::{CA_FILE, Credentials, files_of, make_folder, write_private};

/// One company of the example policies.
#[derive(Debug)]
struct Example {
    /// What its files are called after.
    name: &'static str,
    domain: &'static str,
    policy_file: &'static str,
    policy: &'static str,
    /// The number that the other company may call.
    number: &'static str,
    /// The ticket for the other company's number.
    ticket_file: &'static str,
}

/// Writes both policies, certificates, keys and tickets, and says how to go on.
///
/// # Errors
/// In words: one of the files is there already, or something could not be written.
pub(super) fn write(folder: &Path) -> Result<String, String> {
    make_folder(folder)?;
    let names = file_names();
    if let Some(taken) = names.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
        return Err(format!(
            "{} exists already: name a new or empty folder",
            taken.display()
        ));
    }
    let credentials = Credentials::write(folder, PAIR.map(|example| (example.name, example.domain)))?;
    let [alpha, beta] = &PAIR;
    let [by_alpha, by_beta] = &credentials.issuers;
    for (caller, called, issuer) in [(alpha, beta, by_beta), (beta, alpha, by_alpha)] {
        let ticket = issuer.good(called.number, caller.domain)?;
        write_private(folder, caller.ticket_file, &format!("{ticket}\n"))?;
        write_private(folder, caller.policy_file, caller.policy)?;
    }
    how_to_go_on(folder, &names)
}

/// Every file written, relative to the folder.
fn file_names() -> Vec<String> {
    let mut names: Vec<String> = PAIR.iter().map(|example| example.policy_file.to_owned()).collect();
    names.push(CA_FILE.to_owned());
    names.extend(PAIR.iter().flat_map(|example| files_of(example.name)));
    names.extend(PAIR.iter().map(|example| example.ticket_file.to_owned()));
    names
}

/// What was written and what to type next, with addresses and numbers from the policies as an edge reads them.
fn how_to_go_on(folder: &Path, names: &[String]) -> Result<String, String> {
    let program = std::env::args().next().unwrap_or_else(|| "tollgate".to_owned());
    let mut text = format!("Written to {}, readable by their owner alone:\n", folder.display());
    for name in names {
        let _ = writeln!(text, "    {name}");
    }
    text.push_str("\nStart the two edges, each in a terminal of its own:\n");
    let paths = PAIR.map(|example| folder.join(example.policy_file));
    for path in &paths {
        let _ = writeln!(text, "    {program} run --policy {}", path.display());
    }
    text.push('\n');
    let mut last = "Live state:\n".to_owned();
    for path in &paths {
        let policy = tollgate_policy::load(path).map_err(|why| why.to_string())?;
        text.push_str(&introduction(&policy));
        let _ = writeln!(last, "    {program} show calls --admin {}", policy.admin.listen);
    }
    Ok(text + "\n" + &last)
}

/// Where a company's call agent belongs and whom it may call.
fn introduction(policy: &Policy) -> String {
    let numbers: Vec<&str> = policy.routes.iter().map(|route| numbers_of(&route.pattern)).collect();
    let edge = policy.inside.listeners.first().map(|listener| listener.advertised);
    let agent = &policy.inside.agent;
    let transport = match agent.transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
    };
    format!(
        "{}: the call agent is awaited at {} over {transport}, finds the edge at {}, and may call {}\n",
        policy.domain,
        agent.address,
        edge.map(|address| address.to_string()).unwrap_or_default(),
        numbers.join(", ")
    )
}

fn numbers_of(pattern: &NumberPattern) -> &str {
    match pattern {
        NumberPattern::Number(number) | NumberPattern::Prefix(number) => number,
        NumberPattern::Any => "any number",
    }
}

/// Alpha and beta.
const PAIR: [Example; 2] = [
    Example {
        name: "alpha",
        domain: "alpha.example",
        policy_file: "trunk.toml",
        policy: include_str!("../../../../policies/examples/trunk.toml"),
        number: "+14085550123",
        ticket_file: "tickets/to-beta.ticket",
    },
    Example {
        name: "beta",
        domain: "beta.example",
        policy_file: "trunk-peer.toml",
        policy: include_str!("../../../../policies/examples/trunk-peer.toml"),
        number: "+12125550123",
        ticket_file: "tickets/to-alpha.ticket",
    },
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tollgate_contract::{Admission, Snapshot};
    use tollgate_control::{Names, compile};
    use tollgate_ticket::{Request, verify};

    use super::super::folder::Folder;
    use super::*;

    #[test]
    fn each_company_holds_a_ticket_that_the_other_accepts() {
        let folder = Folder::create().unwrap();
        write(folder.path()).unwrap();
        let [alpha, beta] = &PAIR;
        for (caller, called) in [(alpha, beta), (beta, alpha)] {
            let ticket = fs::read_to_string(folder.path().join(caller.ticket_file)).unwrap();
            let (snapshot, policy) = snapshot(&folder.path().join(called.policy_file));
            let route = tollgate_policy::load(&folder.path().join(caller.policy_file))
                .unwrap()
                .routes;
            assert_eq!(route[0].pattern, NumberPattern::Number(called.number.to_owned()));
            let uri = format!("sip:{}@{}", called.number, policy.domain);
            let request = Request {
                ticket_values: &[ticket.trim().as_bytes()],
                peer_domains: &[caller.domain.to_owned()],
                request_uri: uri.as_bytes(),
            };
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            let domains = &snapshot.local_domains;
            let verified = verify(&snapshot.tickets, &snapshot.peers, domains, now, &request).unwrap();
            assert_eq!(verified.number.to_string(), called.number);
        }
    }

    #[test]
    fn files_are_private_whole_and_never_written_over() {
        let folder = Folder::create().unwrap();
        let said = write(folder.path()).unwrap();
        for name in file_names() {
            let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            assert!(said.contains(&name), "{said}");
        }
        let key = folder.path().join("keys/alpha-epoch-1.key");
        let before = fs::read(&key).unwrap();
        assert!(write(folder.path()).unwrap_err().contains("exists already"));
        assert_eq!(fs::read(&key).unwrap(), before);
    }

    fn snapshot(path: &Path) -> (Snapshot, Policy) {
        let policy = tollgate_policy::load(path).unwrap();
        (compile(&policy, &Names::new(), Admission::Open).unwrap(), policy)
    }
}
