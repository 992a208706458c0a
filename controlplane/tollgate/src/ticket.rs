//! `tollgate ticket`: tickets by hand.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use rand::RngCore;
use serde_json::{Value, json};
use tollgate_contract::{Admission, E164, KeyState, Snapshot, TicketKey};
use tollgate_control::{Names, compile};
use tollgate_ticket::{Context, Grant, Request, SALT_LEN, decode, inspect, issue, verify};

use crate::admin_client::ask;
use crate::args::{RevokeOptions, TicketVerb};
use crate::check;
use crate::exit::{self, fail};

/// Longest salt that any policy accepts, in bytes.
const SALT_MAX: usize = 32;

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
        TicketVerb::Revoke(options) => match revocation(options) {
            Ok(entry) => revoke(options, &entry),
            Err(why) => fail(exit::DATA, why),
        },
    }
}

/// The entry of the API that names the tickets.
fn revocation(options: &RevokeOptions) -> Result<Value, String> {
    if let Some(ticket) = &options.ticket {
        let decoded = decode(read(ticket)?, SALT_MAX).map_err(|cause| format!("not a ticket: {}", cause.name()))?;
        let digits = decoded.ticket.uuid.map(|byte| format!("{byte:02x}"));
        return Ok(json!({ "ticket_uuid": digits.concat() }));
    }
    let named = [
        ("ticket_uuid", &options.uuid),
        ("granted_to", &options.granted_to),
        ("number", &options.number),
    ];
    let named = named
        .into_iter()
        .find_map(|(field, value)| Some((field, value.as_ref()?)));
    let (field, value) = named.ok_or("nothing names the tickets")?;
    Ok(json!({ field: value }))
}

fn revoke(options: &RevokeOptions, entry: &Value) -> ExitCode {
    let answered = if options.undo {
        let named = entry.as_object().and_then(|fields| fields.iter().next());
        let (field, value) = named.expect("an entry has one field");
        let value = value.as_str().unwrap_or_default().replace('+', "%2B");
        ask(
            &options.at,
            "DELETE",
            &format!("/v1/tickets/revocations?{field}={value}"),
            None,
        )
    } else {
        let until = unix() + Duration::from_secs(options.days * 86_400);
        let mut entry = entry.clone();
        entry["until_ms"] = json!(until.as_millis() as u64);
        let list = json!({ "revocations": [entry] });
        ask(&options.at, "PUT", "/v1/tickets/revocations", Some(&list))
    };
    match answered {
        Ok(answer) if answer["removed"] == 0 => answer_of("nothing was taken back by that name"),
        Ok(_) if options.undo => answer_of("given back: such tickets are accepted again"),
        Ok(_) => answer_of("taken back: new calls with such tickets are refused, calls in progress go on"),
        Err(why) => fail(exit::UNAVAILABLE, why),
    }
}

fn answer_of(text: &str) -> ExitCode {
    answer(Ok(text.to_owned()))
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use crate::args::AdminAt;

    use super::*;

    /// The example of the ticket's specification, without its MAC's secret.
    const TICKET: &str = "AAEAEGunuBCdrUHRgLQAwE_UMMgAAgAEobLD1AADABDtADeAAAAAAO7hawAAAAAAAAQADCsxNDA4NTU1NTQzMgAFABCOYPX6\
                          t1MDf2SrbFOUf9UyAAYAC2V4YW1wbGUubmV0AAcAC2V4YW1wbGUuY29tAAgABAAAAAEACQAUb0hFbl2u3ZEnljPp5vkGk5if\
                          r8g.";

    #[test]
    fn a_ticket_is_taken_back_by_its_own_id_and_nothing_else_of_it_is_sent() {
        let (at, edge) = edge_that_answers("{\"applied\":true}");
        let options = RevokeOptions {
            ticket: Some(TICKET.to_owned()),
            ..named(at)
        };
        let entry = revocation(&options).unwrap();
        assert_eq!(entry, json!({ "ticket_uuid": "6ba7b8109dad41d180b400c04fd430c8" }));
        revoke(&options, &entry);
        let asked = edge.join().unwrap();
        assert!(asked.starts_with("PUT /v1/tickets/revocations HTTP/1.1\r\n"), "{asked}");
        assert!(
            asked.contains("\r\nContent-Type: application/json\r\n") && asked.contains("6ba7b810"),
            "{asked}"
        );
        assert!(!asked.contains(&TICKET[..16]), "{asked}");
    }

    #[test]
    fn a_number_is_given_back_by_its_name_with_the_token_of_the_file() {
        let (at, edge) = edge_that_answers("{\"removed\":1}");
        let file = std::env::temp_dir().join(format!("tollgate-token-{}", std::process::id()));
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let mut options = RevokeOptions {
            number: Some("+14085551234".to_owned()),
            undo: true,
            ..named(at)
        };
        options.at.token_file = Some(file.clone());
        revoke(&options, &revocation(&options).unwrap());
        let asked = edge.join().unwrap();
        std::fs::remove_file(file).unwrap();
        assert!(
            asked.starts_with("DELETE /v1/tickets/revocations?number=%2B14085551234 HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(
            asked.contains("\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n"),
            "{asked}"
        );
    }

    #[test]
    fn what_is_no_ticket_is_not_sent() {
        let options = RevokeOptions {
            ticket: Some("AAEA".to_owned()),
            ..named(std::net::SocketAddr::from(([127, 0, 0, 1], 9)))
        };
        assert!(revocation(&options).unwrap_err().contains("not a ticket"));
    }

    fn named(admin: std::net::SocketAddr) -> RevokeOptions {
        RevokeOptions {
            ticket: None,
            uuid: None,
            granted_to: None,
            number: None,
            days: 365,
            undo: false,
            at: AdminAt {
                admin,
                token_file: None,
            },
        }
    }

    /// An admin address that answers one request and returns what it was asked.
    fn edge_that_answers(body: &'static str) -> (std::net::SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let edge = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            let mut part = [0; 1_024];
            let is_whole = |asked: &str| {
                let (head, body) = asked.split_once("\r\n\r\n").unwrap_or((asked, ""));
                let length = head
                    .split("Content-Length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next());
                asked.contains("\r\n\r\n") && length.is_some_and(|length| body.len().to_string() == length)
            };
            while !is_whole(&asked) {
                let read = stream.read(&mut part).unwrap();
                asked.push_str(std::str::from_utf8(&part[..read]).unwrap());
            }
            stream
                .write_all(format!("HTTP/1.1 200 OK\r\n\r\n{body}").as_bytes())
                .unwrap();
            asked
        });
        (at, edge)
    }
}
