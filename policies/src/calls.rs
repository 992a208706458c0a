//! The names at the top of the file, `[calls]`, `[admin]` and `[logging]`.
//!
//! Opens no log and no listener.

use std::net::SocketAddr;
use std::time::Duration;

use crate::forms;
use crate::policy::{Admin, Calls, LogFormat, LogLevel, Logging, OnTicketFailure, RecordSink};
use crate::raw::Section;
use crate::secret::SecretText;

/// `domain`, and `local_domains` with `domain` among them.
pub(crate) fn domains(root: &Section<'_>) -> Option<(String, Vec<String>)> {
    let domain = root.parsed("domain", forms::domain);
    let mut local_domains = root.list("local_domains", forms::domain);
    let domain = domain?;
    if !root.has("local_domains") {
        local_domains.push(domain.clone());
    } else if !local_domains.contains(&domain) {
        root.fault(
            "local_domains",
            format!("does not hold domain {domain}"),
            format!("add \"{domain}\""),
        );
    }
    Some((domain, local_domains))
}

pub(crate) fn build(root: &Section<'_>) -> Option<Calls> {
    let section = root.section("calls");
    let outcomes = [("reject", OnTicketFailure::Reject), ("drop", OnTicketFailure::Drop)];
    let on_ticket_failure = section.choice("on_ticket_failure", &outcomes);
    let calls = Calls {
        fallback_code: section.integer("fallback_code") as u16,
        setup_timeout: Duration::from_millis(section.integer("setup_timeout_ms")),
        invite_timeout: Duration::from_secs(section.integer("invite_timeout_s")),
        connect_timeout: Duration::from_millis(section.integer("connect_timeout_ms")),
        on_ticket_failure: on_ticket_failure.unwrap_or(OnTicketFailure::Reject),
        calls_per_second_per_peer: section.integer("calls_per_second_per_peer") as u32,
        drain_deadline: Duration::from_secs(section.integer("drain_deadline_s")),
    };
    on_ticket_failure.map(|_| calls)
}

pub(crate) fn admin(root: &Section<'_>) -> Option<Admin> {
    let section = root.section("admin");
    let listen: SocketAddr = section.parsed("listen", |text| text.parse().ok())?;
    if !listen.ip().is_loopback() && !section.has("token_file") {
        let problem = format!("{listen} is not a loopback address, and no token is asked for");
        section.fault(
            "listen",
            problem,
            "write 127.0.0.1 or [::1] and a port and reach it from afar by SSH, or add token_file",
        );
    }
    let token = if section.has("token_file") {
        Some(token(&section)?)
    } else {
        None
    };
    Some(Admin { listen, token })
}

fn token(section: &Section<'_>) -> Option<SecretText> {
    let text = section.contents("token_file")?;
    let token = text.trim_ascii();
    let is_token = (32..=256).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token {
        let mend = "put a token there alone: 32 to 256 printable characters without spaces";
        section.fault("token_file", "what it holds is no token", mend);
    }
    is_token.then(|| SecretText::new(token.to_owned()))
}

pub(crate) fn logging(root: &Section<'_>) -> Option<Logging> {
    let section = root.section("logging");
    let format = section.choice("format", &[("human", LogFormat::Human), ("json", LogFormat::Json)]);
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let level = section.choice("level", &levels);
    let call_records = section.parsed("call_records", |text| match text {
        "" => None,
        "-" => Some(RecordSink::Stdout),
        "off" => Some(RecordSink::Off),
        path => Some(RecordSink::File(section.resolve(path))),
    });
    Some(Logging {
        format: format?,
        level: level?,
        call_records: call_records?,
    })
}
