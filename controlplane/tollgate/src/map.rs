//! `tollgate map`: asks a mapping service as a call agent does, to see that it works and to script it.
//!
//! Keeps nothing when it ends but the mapping's own life.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_control::mapping::{Cause, ClientError, Item, Mapped, MappingClient, Target};

use crate::args::MapOptions;
use crate::exit::{self, fail};

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// sysexits.h: EX_NOHOST, the name has no address.
const NO_HOST: u8 = 68;
/// sysexits.h: EX_TEMPFAIL, asking later may help.
const TEMPORARY: u8 = 75;
/// sysexits.h: EX_PROTOCOL, what answers is not understood.
const PROTOCOL: u8 = 76;
/// sysexits.h: EX_NOPERM, this address may not ask.
const NOT_PERMITTED: u8 = 77;

/// Runs the command.
pub(crate) fn map(options: &MapOptions) -> ExitCode {
    let target = match target(options) {
        Ok(target) => target,
        Err(why) => return fail(exit::DATA, why),
    };
    match converse(options, target.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if options.json {
                say(json!({ "error": name(&error), "text": error.to_string() }));
            }
            fail(code(&error), format!("{}: {error}", options.service))
        }
    }
}

fn converse(options: &MapOptions, target: Option<&Target>) -> Result<(), ClientError> {
    let mut client = MappingClient::connect(options.service, CONNECT_LIMIT)?;
    if let Some(mapped) = options.unmap {
        client.unmap(mapped)?;
        tell(options, &json!({ "unmapped": mapped }), || {
            format!("{mapped} is given up")
        });
    }
    if let Some(target) = target {
        keep(options, &mut client, target)?;
    }
    if options.list {
        let items = client.list()?;
        let mappings: Vec<Value> = items.iter().map(view).collect();
        tell(options, &json!({ "mappings": mappings }), || in_words(&items));
    }
    Ok(())
}

/// Asks, and goes on asking before half of the life has passed for as long as it is told to.
fn keep(options: &MapOptions, client: &mut MappingClient, target: &Target) -> Result<(), ClientError> {
    let until = Instant::now() + Duration::from_secs(options.keep.unwrap_or_default());
    let mut known = None;
    loop {
        let mapped = client.map(target)?;
        if known != Some(mapped) {
            tell_mapped(options, target, mapped);
        }
        known = Some(mapped);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        // A life of nothing would make this a flood.
        let half_life = mapped.lifetime.min(client.greeting().idle) / 2;
        thread::sleep(left.min(half_life.max(Duration::from_secs(1))));
    }
}

fn tell_mapped(options: &MapOptions, target: &Target, mapped: Mapped) {
    let (address, lifetime_s) = (mapped.address, mapped.lifetime.as_secs());
    let peer = options.target.as_deref().unwrap_or_default();
    let (transport, domain) = (target.transport.name(), target.domain.as_str());
    let answer = json!({
        "mapped": address,
        "peer": peer,
        "transport": transport,
        "domain": domain,
        "lifetime_s": lifetime_s,
    });
    tell(options, &answer, || {
        format!("{address} stands for {peer} ({domain}, {transport} inside) for {lifetime_s} s from its last use")
    });
}

/// What the command line asks to be mapped, if anything.
fn target(options: &MapOptions) -> Result<Option<Target>, String> {
    let (Some(text), Some(domain)) = (&options.target, &options.domain) else {
        return Ok(None);
    };
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("{text}: has no port; write HOST:PORT"))?;
    let port: NonZeroU16 = port.parse().map_err(|_| format!("{text}: {port} is no port"))?;
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let target = Target::parse(inner.unwrap_or(host), port, &options.transport, domain);
    target.map(Some).map_err(|cause| format!("{text}: {}", cause.text()))
}

fn view(item: &Item) -> Value {
    json!({
        "mapped": item.mapped,
        "peer": item.global,
        "host": item.host,
        "transport": item.transport.name(),
        "domain": item.domain.as_str(),
        "lifetime_s": item.lifetime.as_secs(),
    })
}

fn in_words(items: &[Item]) -> String {
    if items.is_empty() {
        return "this client holds no mapping".to_owned();
    }
    let lines = items.iter().map(|item| {
        let (mapped, global, host) = (item.mapped, item.global, &item.host);
        let (domain, transport, left) = (&item.domain, item.transport.name(), item.lifetime.as_secs());
        format!("{mapped} stands for {global} as {host} ({domain}, {transport} inside), {left} s left")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn tell(options: &MapOptions, answer: &Value, words: impl FnOnce() -> String) {
    if options.json {
        say(answer);
    } else {
        say(words());
    }
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn say(what: impl std::fmt::Display) {
    println!("{what}");
}

/// The error's name for programs.
fn name(error: &ClientError) -> &str {
    match error {
        ClientError::Refused { cause, .. } => cause,
        ClientError::NotUnderstood => "not_understood",
        ClientError::Version(_) => "version",
        ClientError::Io(_) | _ => "unavailable",
    }
}

fn code(error: &ClientError) -> u8 {
    match error {
        ClientError::Refused { cause, .. } => code_of_cause(cause),
        ClientError::NotUnderstood | ClientError::Version(_) => PROTOCOL,
        ClientError::Io(_) | _ => exit::UNAVAILABLE,
    }
}

fn code_of_cause(name: &str) -> u8 {
    let Some(cause) = Cause::ALL.into_iter().find(|cause| cause.name() == name) else {
        return PROTOCOL;
    };
    match cause {
        Cause::BadHost | Cause::BadDomain | Cause::PrivateTarget | Cause::NotFound => exit::DATA,
        Cause::BadRequest | Cause::TooLong | Cause::UnknownMethod => PROTOCOL,
        Cause::NotAllowed => NOT_PERMITTED,
        Cause::Unresolved => NO_HOST,
        Cause::SlowLine | Cause::TooManyConnections | Cause::Quota | Cause::TableFull | Cause::NotReady => TEMPORARY,
    }
}

/// What `--unmap` and `--service` take.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write IP:PORT, an IPv6 address in brackets".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;
    use tollgate_contract::Now;
    use tollgate_control::mapping::{
        AddressRules, LeaseRules, MappingDesk, MappingServiceConfig, MappingStats, QUESTION_QUEUE, serve_mappings,
        system_resolver,
    };

    use super::*;
    use crate::args::{Args, Verb};

    #[test]
    fn targets_are_addresses_of_both_families_or_names() {
        for (text, host) in [
            ("203.0.113.7:5061", "203.0.113.7"),
            ("[2001:db8::7]:5061", "2001:db8::7"),
            ("sip.beta.example:5061", "sip.beta.example"),
        ] {
            let target = target(&options(&[text, "--domain", "beta.example"]).unwrap())
                .unwrap()
                .unwrap();
            assert_eq!(
                target,
                Target::parse(host, NonZeroU16::new(5061).unwrap(), "tls", "beta.example").unwrap()
            );
        }
        for text in ["203.0.113.7", "203.0.113.7:0", "203.0.113.7:sip", "a b:5061"] {
            let options = options(&[text, "--domain", "beta.example"]).unwrap();
            assert!(target(&options).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn a_target_needs_its_domain_and_something_must_be_asked() {
        assert!(options(&["203.0.113.7:5061"]).is_none() && options(&[]).is_none());
        assert!(options(&["--list"]).is_some() && options(&["--unmap", "10.0.0.2:20000"]).is_some());
        assert!(options(&["--list", "--keep", "5"]).is_none());
        assert!(options(&["a.example:1", "--domain", "a.example", "--transport", "udp"]).is_none());
    }

    #[test]
    fn every_refusal_has_an_exit_code_of_its_kind() {
        for cause in Cause::ALL {
            assert!((64..=78).contains(&code_of_cause(cause.name())), "{}", cause.name());
        }
        assert_eq!((code_of_cause("quota"), code_of_cause("bad_host")), (75, 65));
        assert_eq!(code_of_cause("a_later_one"), PROTOCOL);
    }

    #[test]
    fn a_mapping_is_asked_for_kept_listed_and_given_up() {
        let service = service();
        let run = |arguments: &[&str]| {
            let options = options(&[arguments, &["--service", &service]].concat()).unwrap();
            converse(&options, target(&options).unwrap().as_ref())
        };
        run(&["203.0.113.7:5061", "--domain", "beta.example", "--keep", "1", "--list"]).unwrap();
        let mut client = MappingClient::connect(service.parse().unwrap(), CONNECT_LIMIT).unwrap();
        let held = client.list().unwrap();
        assert_eq!(held.len(), 1);
        assert!(in_words(&held).contains("127.0.0.1:20000 stands for 203.0.113.7:5061 as 203.0.113.7 (beta.example"));
        let private = run(&["10.0.0.1:5061", "--domain", "beta.example"]).unwrap_err();
        assert_eq!((name(&private), code(&private)), ("private_target", exit::DATA));
        run(&["--unmap", "127.0.0.1:20000"]).unwrap();
        assert!(client.list().unwrap().is_empty());
    }

    /// A mapping service whose data plane is always ready; its address.
    fn service() -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        let bind = std::net::IpAddr::from([127, 0, 0, 1]);
        let rules = LeaseRules {
            bind,
            ports: 20_000..=20_001,
            idle_timeout: Duration::from_secs(60),
            per_client_max: 2,
            quarantine: Duration::from_secs(60),
        };
        let config = MappingServiceConfig {
            allowed: vec![bind],
            idle: Duration::from_secs(60),
            resolver: system_resolver(),
        };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let (questions_to, mut questions) = tokio::sync::mpsc::channel(QUESTION_QUEUE);
                let stats: Arc<MappingStats> = Arc::default();
                let mut desk = MappingDesk::new(rules, AddressRules::default(), Arc::clone(&stats));
                tokio::spawn(serve_mappings(listener, config, questions_to, stats));
                while let Some(question) = questions.recv().await {
                    let now = Now {
                        instant: Instant::now(),
                        unix: Duration::ZERO,
                    };
                    desk.ask(now, question);
                    desk.on_published(1);
                    desk.settle(now, |_| true);
                }
            });
        });
        address
    }

    fn options(arguments: &[&str]) -> Option<MapOptions> {
        let line = ["tollgate", "map"].into_iter().chain(arguments.iter().copied());
        let Verb::Map(options) = Args::try_parse_from(line).ok()?.verb else {
            panic!("the line says map");
        };
        Some(options)
    }
}
