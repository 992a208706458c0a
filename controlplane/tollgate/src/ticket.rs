//! `tollgate ticket`: tickets by hand.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rand::RngCore;
use tollgate_contract::{Admission, E164, KeyState, Snapshot, TicketKey};
use tollgate_control::{Names, compile};
use tollgate_ticket::{Context, Grant, Request, SALT_LEN, inspect, issue, verify};

use crate::args::TicketVerb;
use crate::check;
use crate::exit::{self, fail};

/// Runs one of the ticket commands.
pub(crate) fn run(verb: &TicketVerb) -> ExitCode {
    match verb {
        TicketVerb::Mint {
            policy,
            number,
            granted_to,
            epoch,
            days,
        } => with_policy(policy, |snapshot| mint(snapshot, number, granted_to, *epoch, *days)),
        TicketVerb::Inspect {
            ticket,
            policy: Some(policy),
        } => with_policy(policy, |snapshot| explain(&read(ticket)?, snapshot)),
        TicketVerb::Inspect { ticket, policy: None } => answer(read(ticket).and_then(|text| explain(&text, &nobody()))),
        TicketVerb::Verify {
            ticket,
            policy,
            number,
            peer,
        } => with_policy(policy, |snapshot| judge(snapshot, &read(ticket)?, number, peer)),
    }
}

fn mint(snapshot: &Snapshot, number: &str, granted_to: &str, epoch: Option<u32>, days: u32) -> Result<String, String> {
    let number: E164 = number.parse().map_err(|why| format!("--number {number}: {why}"))?;
    let now = unix();
    let key = key_of(snapshot, epoch, now).ok_or("no live ticket key: see tickets.keys in the policy")?;
    let mut random = [0; 16 + SALT_LEN + 16];
    rand::rng().fill_bytes(&mut random);
    let (uuid, rest) = random.split_at(16);
    let (salt, node) = rest.split_at(SALT_LEN);
    let whole = |bytes: &[u8]| -> [u8; 16] { bytes.try_into().expect("split at 16 bytes") };
    let mut uuid = whole(uuid);
    // RFC 4122 §4.4: version 4, variant 1.
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let end = now + Duration::from_secs(u64::from(days) * 86_400);
    let grant = Grant::new(number, (now, end), whole(node), &snapshot.domain, granted_to);
    let grant = grant.map_err(|why| why.to_string())?;
    let salt: [u8; SALT_LEN] = salt.try_into().expect("split at the salt's length");
    Ok(issue(key, snapshot.tickets.mac_covers, &grant, salt, uuid))
}

fn key_of(snapshot: &Snapshot, epoch: Option<u32>, now: Duration) -> Option<&TicketKey> {
    let is_live = |key: &&TicketKey| key.state == KeyState::Live && key.not_before <= now && now < key.accept_until;
    let keys = snapshot.tickets.keyring.iter().filter(is_live);
    keys.filter(|key| epoch.is_none_or(|epoch| key.epoch == epoch))
        .max_by_key(|key| key.epoch)
}

fn explain(text: &str, snapshot: &Snapshot) -> Result<String, String> {
    let context = Context {
        rules: &snapshot.tickets,
        peers: &snapshot.peers,
        local_domains: &snapshot.local_domains,
        now_unix: unix(),
        peer_domains: None,
        request_uri: None,
    };
    let findings: Vec<String> = inspect(text, &context).iter().map(ToString::to_string).collect();
    Ok(findings.join("\n"))
}

fn judge(snapshot: &Snapshot, text: &str, number: &str, peer: &str) -> Result<String, String> {
    let uri = format!("sip:{number}@{}", snapshot.domain);
    let (values, domains) = ([text.as_bytes()], [peer.to_ascii_lowercase()]);
    let request = Request {
        ticket_values: &values,
        peer_domains: &domains,
        request_uri: uri.as_bytes(),
    };
    match verify(
        &snapshot.tickets,
        &snapshot.peers,
        &snapshot.local_domains,
        unix(),
        &request,
    ) {
        Ok(verified) => Ok(format!("passes: {} may call {}", verified.granted_to, verified.number)),
        Err(cause) => Err(format!("fails: {}", cause.name())),
    }
}

fn with_policy(path: &Path, work: impl FnOnce(&Snapshot) -> Result<String, String>) -> ExitCode {
    let policy = match tollgate_policy::load(path) {
        Ok(policy) => policy,
        Err(errors) => return check::refuse(&errors),
    };
    match compile(&policy, &Names::new(), Admission::Open) {
        Ok(snapshot) => answer(work(&snapshot)),
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            fail(exit::CONFIG, errors.join("\n"))
        }
    }
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn answer(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(exit::DATA, why),
    }
}

/// The ticket given, or the first line of standard input for `-`.
fn read(ticket: &str) -> Result<String, String> {
    if ticket != "-" {
        return Ok(ticket.trim().to_owned());
    }
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|why| format!("standard input: {why}"))?;
    Ok(line.trim().to_owned())
}

fn unix() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// A snapshot that knows no keys: fields can be explained without a policy, checks cannot.
fn nobody() -> Snapshot {
    Snapshot::without_policy()
}
