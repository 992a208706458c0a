//! Whole policies: the examples load, the rejected ones say why, and every mistake is reported at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tollgate_policy::{
    HostPort, KeyForm, LogFormat, LogLevel, MacCovers, Mode, NumberPattern, OnTicketFailure, Policy, PolicyErrors,
    RecordSink, Rtcp, Suite, TicketHeader, Transport, load, parse,
};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn both_example_companies_load_from_their_files() {
    let folder = Folder::new();
    for (name, domain, peer) in [
        ("trunk", "alpha.example", "beta.example"),
        ("trunk-peer", "beta.example", "alpha.example"),
    ] {
        let path = folder.0.join(format!("{name}.toml"));
        fs::copy(examples().join(format!("{name}.toml")), &path).unwrap();
        let policy = load(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((policy.mode, &policy.domain[..]), (Mode::Trunk, domain));
        assert_eq!(policy.local_domains, [domain]);
        assert_eq!(policy.media.max_calls, 200);
        assert_eq!(policy.tickets.keys[0].text.expose().trim(), KEY);
        assert_eq!(
            (
                &policy.routes[0].domain[..],
                policy.routes[0].ticket.as_ref().map(|ticket| ticket.expose())
            ),
            (peer, Some("AAEA"))
        );
        assert_eq!(policy.peers[0].domain, peer);
    }
}

#[test]
fn the_examples_of_the_other_deployments_load_too() {
    let folder = Folder::new();
    for (name, mode) in [("off-path", Mode::OffPath), ("inline", Mode::Inline)] {
        let text = fs::read_to_string(examples().join(format!("{name}.toml"))).unwrap();
        let policy = parse(&text, &folder.0, name).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(policy.mode, mode);
        assert!(policy.state_dir.is_some() && policy.outside.listeners.len() == 2);
    }
}

#[test]
fn the_two_examples_can_run_on_one_host() {
    let folder = Folder::new();
    let [alpha, beta] = ["trunk.toml", "trunk-peer.toml"].map(|name| {
        let text = fs::read_to_string(examples().join(name)).unwrap();
        parse(&text, &folder.0, name).unwrap_or_else(|errors| panic!("{errors}"))
    });
    let [outside_alpha, outside_beta] = [&alpha, &beta].map(|policy| policy.outside.listeners[0].bind);
    assert_eq!(alpha.routes[0].peers, [HostPort::Address(outside_beta)]);
    assert_eq!(beta.routes[0].peers, [HostPort::Address(outside_alpha)]);
    assert_ne!(alpha.inside.listeners[0].bind, beta.inside.listeners[0].bind);
    assert_ne!(alpha.admin.listen, beta.admin.listen);
}

#[test]
fn each_rejected_example_has_one_mistake_and_says_it() {
    let folder = Folder::new();
    let mut count = 0;
    for entry in fs::read_dir(examples().join("rejected")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("# error: ").unwrap();
        let errors = parse(&text, &folder.0, "policy.toml").expect_err(expected);
        assert!(errors.to_string().contains(expected), "{}: {errors}", path.display());
        assert_eq!(errors.as_slice().len(), 1, "{}: {errors}", path.display());
        count += 1;
    }
    assert!(count >= 20);
}

#[test]
fn ten_mistakes_are_reported_as_ten_in_the_order_of_lines() {
    let text = r#"mode = "transparent"
domain = "no_domain"
colour = "red"
[[inside.listeners]]
transport = "sctp"
bind = "10.0.0.1:5060"
[inside.agent]
address = "10.0.0.10"
transport = "tcp"
[[outside.listeners]]
bind = "192.0.2.1:5061"
[outside.tls]
certificate = "tls/nobody.pem"
private_key = "tls/alpha.key"
trust_roots = "tls/ca.pem"
[media]
rtcp = "maybe"
max_calls = 0
[[media.inside]]
bind = "10.0.0.1"
[[media.outside]]
bind = "192.0.2.1"
[calls]
fallback_code = 200
[admin]
listen = "192.0.2.1:9090"
"#;
    let errors = errors(text);
    let places: Vec<(usize, &str)> = errors
        .as_slice()
        .iter()
        .map(|error| (error.line, &error.key[..]))
        .collect();
    assert_eq!(
        places,
        [
            (1, "mode"),
            (2, "domain"),
            (3, "colour"),
            (5, "inside.listeners[0].transport"),
            (8, "inside.agent.address"),
            (13, "outside.tls.certificate"),
            (17, "media.rtcp"),
            (18, "media.max_calls"),
            (24, "calls.fallback_code"),
            (26, "admin.listen"),
        ]
    );
    assert!(
        errors
            .as_slice()
            .iter()
            .all(|error| !error.problem.is_empty() && !error.mend.is_empty())
    );
    assert!(errors.to_string().ends_with("10 mistakes in the policy"));
    assert!(
        errors
            .to_string()
            .starts_with("policy.toml:1: mode: \"transparent\" is not one of trunk, off-path, inline\n    mend: ")
    );
}

#[test]
fn the_deployments_beside_the_trunk_bring_their_own_tables() {
    let swap = |mode: &str| format!("mode = \"{mode}\"");
    let base = |mode: &str| BASE.replace("mode = \"trunk\"", &swap(mode));
    let folder = Folder::new();
    let off_path = format!("{}\n[mapping]\nlisten = \"10.0.0.1:8060\"\n", base("off-path"));
    let off_path = parse(&off_path, &folder.0, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let mapping = off_path.mapping.unwrap();
    assert_eq!(
        (off_path.mode, mapping.bind.to_string()),
        (Mode::OffPath, "10.0.0.1".to_owned())
    );
    assert_eq!((mapping.ports, mapping.per_client_max), (20_000..=20_999, 256));
    assert_eq!(mapping.idle_timeout, Duration::from_secs(600));
    let inline = "\n[inline]\nbind = [\"0.0.0.0:5059\", \"[::]:5059\"]\ninterface = \"eth0\"\n";
    let inline = format!("{}{inline}", base("inline"));
    let inline = parse(&inline, &folder.0, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(inline.inline.unwrap().ports, [5060..=5061]);
    for (mode, key) in [("off-path", "mapping"), ("inline", "inline")] {
        let errors = parse(&base(mode), &folder.0, "policy.toml").unwrap_err();
        assert_eq!(errors.as_slice()[0].key, key, "{errors}");
    }
}

#[test]
fn a_validator_needs_what_its_protocol_and_its_address_ask_for() {
    let faults = |text: &str| -> Vec<String> {
        let text = format!("{BASE}\n[validator]\n{text}");
        let folder = Folder::new();
        match parse(&text, &folder.0, "policy.toml") {
            Ok(_) => Vec::new(),
            Err(errors) => errors.as_slice().iter().map(|error| error.key.clone()).collect(),
        }
    };
    assert!(faults("address = \"unix:validator.sock\"").is_empty());
    assert_eq!(faults("address = \"unix:\""), ["validator.address"]);
    assert_eq!(faults("address = \"127.0.0.1:5620\""), ["validator.tls"]);
    assert!(faults("address = \"127.0.0.1:5620\"\nallow_plain_tcp = true").is_empty());
    let vap = "address = \"unix:v.sock\"\nprotocol = \"vap\"";
    let wanted = ["validator.username", "validator.password_file", "validator.vservice_id"];
    assert_eq!(faults(vap), wanted);
    assert_eq!(
        faults("address = \"unix:v.sock\"\nusername = \"edge1\""),
        ["validator.username"]
    );
}

#[test]
fn an_admin_address_open_to_the_network_needs_a_token() {
    let folder = Folder::new();
    fs::write(folder.0.join("short"), "too-short").unwrap();
    fs::write(folder.0.join("token"), format!("{}\n", "t".repeat(32))).unwrap();
    let parsed = |file: &str| {
        let text = format!("{BASE}\n[admin]\nlisten = \"10.0.0.1:9090\"\ntoken_file = \"{file}\"");
        parse(&text, &folder.0, "policy.toml")
    };
    assert!(parsed("token").unwrap().admin.token.is_some());
    assert_eq!(parsed("short").unwrap_err().as_slice()[0].key, "admin.token_file");
}

#[test]
fn errors_are_serialised_as_a_list_of_objects() {
    let json = serde_json::to_value(errors("mode = 1")).unwrap();
    let first = &json.as_array().unwrap()[0];
    for key in ["file", "line", "key", "problem", "mend"] {
        assert!(first.get(key).is_some(), "{key}");
    }
}

#[test]
fn what_is_not_said_has_its_documented_default() {
    let policy = policy("");
    let seconds = Duration::from_secs;
    assert_eq!((policy.media.workers, policy.media.max_calls), (0, 2_000));
    assert_eq!(
        policy.media.suites,
        [
            Suite::AeadAes256Gcm,
            Suite::AeadAes128Gcm,
            Suite::AesCm128HmacSha1_80,
            Suite::AesCm128HmacSha1_32
        ]
    );
    assert_eq!(
        (policy.media.rtcp, policy.media.port_quarantine),
        (Rtcp::Relay, seconds(10))
    );
    assert_eq!(policy.media.media_timeout, Some(seconds(120)));
    assert_eq!(policy.media.outside[0].ports, 16384..=24383);
    assert_eq!(policy.media.outside[0].pairs(), 4_000);
    let calls = &policy.calls;
    assert_eq!((calls.fallback_code, calls.calls_per_second_per_peer), (503, 100));
    assert_eq!((calls.setup_timeout, calls.invite_timeout), (seconds(4), seconds(180)));
    assert_eq!(
        (calls.connect_timeout, calls.drain_deadline),
        (seconds(2), seconds(300))
    );
    assert_eq!(calls.on_ticket_failure, OnTicketFailure::Reject);
    let tickets = &policy.tickets;
    assert_eq!(
        (tickets.header, tickets.mac_covers),
        (TicketHeader::CiscoUcIme, MacCovers::BeforeIntegrity)
    );
    assert_eq!(
        (tickets.clock_skew, tickets.salt_max, &tickets.enrolled),
        (Duration::ZERO, 4, &None)
    );
    let fallback = &policy.fallback;
    assert!(fallback.enabled && !fallback.refer_when_called);
    assert_eq!(fallback.monitoring_interval, Duration::from_millis(100));
    assert_eq!((fallback.hold_down, fallback.dead_hold_down), (seconds(20), seconds(4)));
    let thresholds = &fallback.thresholds;
    assert_eq!((thresholds.window, thresholds.dead_after), (seconds(5), seconds(2)));
    assert_eq!((thresholds.loss_poor_ratio, thresholds.loss_good_ratio), (0.10, 0.05));
    assert_eq!(
        (thresholds.jitter_poor, thresholds.jitter_good),
        (Duration::from_millis(80), Duration::from_millis(50))
    );
    assert_eq!(policy.admin.listen.to_string(), "127.0.0.1:9090");
    let logging = (policy.logging.format, policy.logging.level, policy.logging.call_records);
    assert_eq!(logging, (LogFormat::Human, LogLevel::Info, RecordSink::Stdout));
    assert_eq!(
        policy.inside.agent.allow_from,
        ["10.0.0.10".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(policy.inside.listeners[0].advertised, policy.inside.listeners[0].bind);
    assert_eq!(policy.inside.listeners[0].transport, Transport::Tcp);
}

#[test]
fn what_is_said_is_taken() {
    let policy = policy(
        r#"
        [calls]
        on_ticket_failure = "drop"
        setup_timeout_ms = 500
        [tickets]
        allow_short_password = true
        header = "ViPR-Ticket"
        mac_covers = "with-integrity-header"
        enrolled = ["+14085550123"]
        [[tickets.keys]]
        epoch = 0x10
        alg = "vipr-hmac-sha1"
        form = "raw-ascii"
        key_env = "CARGO_PKG_NAME"
        [tickets.denied]
        uuids = ["6ba7b810-9dad-41d1-80b4-00c04fd430c8"]
        epochs = [7]
        [[routes]]
        prefix = "+"
        domain = "Beta.example"
        peers = ["edge.beta.example:5061", "[2001:db8::1]:5061"]
        ticket = "AAEA"
        [fallback]
        profile = "sensitive"
        dead_after_ms = 700
        [logging]
        call_records = "calls.jsonl"
        "#,
    );
    assert_eq!(policy.calls.on_ticket_failure, OnTicketFailure::Drop);
    assert_eq!(policy.calls.setup_timeout, Duration::from_millis(500));
    assert_eq!(policy.tickets.enrolled.unwrap(), ["+14085550123"]);
    let key = &policy.tickets.keys[0];
    assert_eq!(
        (key.epoch, key.form, key.text.expose()),
        (16, KeyForm::RawAscii, env!("CARGO_PKG_NAME"))
    );
    assert_eq!(policy.tickets.denied.epochs, [7]);
    assert_eq!(policy.tickets.denied.uuids[0][0], 0x6b);
    let route = &policy.routes[0];
    assert_eq!(
        (&route.pattern, &route.domain[..], route.peers.len()),
        (&NumberPattern::Any, "beta.example", 2)
    );
    assert_eq!(policy.fallback.thresholds.loss_poor_ratio, 0.05);
    assert_eq!(policy.fallback.thresholds.dead_after, Duration::from_millis(700));
    assert!(matches!(policy.logging.call_records, RecordSink::File(path) if path.ends_with("calls.jsonl")));
}

#[test]
fn key_times_are_read_as_text_and_as_toml_writes_them() {
    for time in [
        "\"2026-01-01T00:00:00Z\"",
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00+01:00",
    ] {
        let policy = policy(&key(&format!("not_before = {time}")));
        assert_eq!(
            policy.tickets.keys[0].not_before,
            Some(Duration::from_secs(1_767_225_600))
        );
        assert_eq!(policy.tickets.keys[0].accept_until, None);
    }
    assert_eq!(keys_of(&key("not_before = 2026-01-01")), ["tickets.keys[0].not_before"]);
    let backwards = "not_before = 2026-01-02T00:00:00Z\naccept_until = 2026-01-01T00:00:00Z";
    assert_eq!(keys_of(&key(backwards)), ["tickets.keys[0].accept_until"]);
}

#[test]
fn a_key_has_exactly_one_source() {
    assert_eq!(keys_of("[[tickets.keys]]\nepoch = 1"), ["tickets.keys[0]"]);
    assert_eq!(keys_of(&key("key_env = \"PATH\"")), ["tickets.keys[0].key_env"]);
    let unset = "[[tickets.keys]]\nepoch = 1\nkey_env = \"TOLLGATE_IS_NEVER_SET\"";
    assert_eq!(keys_of(unset), ["tickets.keys[0].key_env"]);
}

#[test]
fn short_passwords_need_permission() {
    let text = |flag: &str| {
        format!("[tickets]\n{flag}\n[[tickets.keys]]\nepoch = 1\nform = \"raw-ascii\"\nkey_file = \"keys/short.key\"")
    };
    assert_eq!(keys_of(&text("")), ["tickets.keys[0].key_file"]);
    assert_eq!(policy(&text("allow_short_password = true")).tickets.keys.len(), 1);
}

#[test]
fn no_error_and_no_debug_output_shows_a_key() {
    let folder = Folder::new();
    let text = format!("{BASE}{}", key("form = \"hex16\""));
    let shown = format!("{0} {0:?}", parse(&text, &folder.0, "policy.toml").unwrap_err());
    assert!(!shown.contains(&KEY[..16]), "{shown}");
    assert!(!format!("{:?}", policy(&key(""))).contains(&KEY[..16]));
}

#[test]
fn more_than_sixteen_keys_are_refused() {
    let keys: String = (1..=17)
        .map(|epoch| format!("[[tickets.keys]]\nepoch = {epoch}\nkey_file = \"keys/alpha-epoch-1.key\"\n"))
        .collect();
    assert_eq!(keys_of(&keys), ["tickets.keys"]);
}

#[test]
fn a_listener_inside_the_media_ports_is_refused() {
    let text = BASE.replace(
        "transport = \"tcp\"\nbind = \"10.0.0.1:5060\"",
        "transport = \"udp\"\nbind = \"10.0.0.1:20000\"",
    );
    let errors = errors(&text);
    assert_eq!(errors.as_slice()[0].key, "media.inside[0].ports", "{errors}");
    assert_eq!(errors.as_slice().len(), 1, "{errors}");
}

#[test]
fn a_wildcard_listener_takes_the_port_on_every_address() {
    let text = BASE.replace(
        "bind = \"192.0.2.1:5061\"",
        "bind = \"0.0.0.0:5060\"\nadvertised = \"192.0.2.1:5060\"",
    );
    let errors = errors(&text);
    assert_eq!(errors.as_slice()[0].key, "outside.listeners[0].bind", "{errors}");
}

#[test]
fn an_agent_reached_by_tls_needs_a_name() {
    let text = BASE.replace(
        "address = \"10.0.0.10:5060\"\ntransport = \"tcp\"",
        "address = \"10.0.0.10:5061\"\ntransport = \"tls\"\n[inside.tls]\ncertificate = \"tls/alpha.pem\"\n\
         private_key = \"tls/alpha.key\"\ntrust_roots = \"tls/ca.pem\"",
    );
    assert_eq!(errors(&text).as_slice()[0].key, "inside.tls.server_name");
    let named = text.replace("[inside.tls]", "[inside.tls]\nserver_name = \"pbx.alpha.example\"");
    let folder = Folder::new();
    let policy = parse(&named, &folder.0, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        policy.inside.tls.unwrap().server_name.as_deref(),
        Some("pbx.alpha.example")
    );
}

#[test]
fn a_policy_that_cannot_be_read_is_one_error() {
    let errors = load(Path::new("no/such/policy.toml")).unwrap_err();
    assert_eq!(errors.as_slice().len(), 1);
    assert!(errors.to_string().starts_with("no/such/policy.toml: cannot be read"));
}

/// A local time is right for no key at all.
#[test]
fn every_key_of_the_schema_is_read() {
    let schema = tollgate_policy::schema();
    let mut count = 0;
    for (table, key) in leaves(&schema, "", "") {
        let text = format!("{table}\n{key} = 07:32:00");
        let errors = errors(&text);
        let last_line = text.lines().count();
        let mut on_it = errors.as_slice().iter().filter(|error| error.line == last_line);
        assert!(
            on_it.any(|error| error.problem.starts_with("is ") && error.key.ends_with(&key)),
            "{text}: {errors}"
        );
        count += 1;
    }
    assert!(count > 70, "{count}");
}

#[test]
fn a_table_of_the_wrong_kind_is_one_mistake_about_itself() {
    assert_eq!(keys_of("[[calls]]\nfallback_code = 503"), ["calls"]);
    assert_eq!(keys_of("[routes]\nnumber = \"+1\""), ["routes"]);
}

#[test]
fn damaged_policies_never_panic() {
    let folder = Folder::new();
    let text = fs::read_to_string(examples().join("trunk.toml")).unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    for _ in 0..2_000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=random() % 3 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes.truncate(at.max(1)),
                1 => drop(bytes.drain(at..(at + 20).min(bytes.len())).count()),
                _ => bytes[at] = b"\"[]=.#\n0a"[random() % 9],
            }
            bytes.push(b'\n');
        }
        if let Err(errors) = parse(&String::from_utf8_lossy(&bytes), &folder.0, "policy.toml") {
            assert!(!errors.as_slice().is_empty());
        }
    }
}

/// The least that a policy has to say.
const BASE: &str = r#"mode = "trunk"
domain = "alpha.example"
[[inside.listeners]]
transport = "tcp"
bind = "10.0.0.1:5060"
[inside.agent]
address = "10.0.0.10:5060"
transport = "tcp"
[[outside.listeners]]
bind = "192.0.2.1:5061"
[outside.tls]
certificate = "tls/alpha.pem"
private_key = "tls/alpha.key"
trust_roots = "tls/ca.pem"
[[media.inside]]
bind = "10.0.0.1"
[[media.outside]]
bind = "192.0.2.1"
"#;

/// A key with a good file and further lines.
fn key(lines: &str) -> String {
    format!("[[tickets.keys]]\nepoch = 1\nkey_file = \"keys/alpha-epoch-1.key\"\n{lines}\n")
}

/// The least policy with more at its end.
fn policy(more: &str) -> Policy {
    let folder = Folder::new();
    parse(&format!("{BASE}{more}"), &folder.0, "policy.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> PolicyErrors {
    parse(text, &Folder::new().0, "policy.toml").expect_err("the policy has a mistake")
}

/// The keys that are wrong in the least policy with more at its end.
fn keys_of(more: &str) -> Vec<String> {
    let errors = errors(&format!("{BASE}{more}"));
    errors.as_slice().iter().map(|error| error.key.clone()).collect()
}

/// Heading and name of every key of a schema that is not a table.
fn leaves(schema: &serde_json::Value, path: &str, heading: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        if property.get("properties").is_some() {
            found.extend(leaves(property, &below, &format!("{heading}\n[{below}]")));
        } else if property["items"].get("properties").is_some() {
            found.extend(leaves(&property["items"], &below, &format!("{heading}\n[[{below}]]")));
        } else {
            found.push((heading.to_owned(), key.clone()));
        }
    }
    found
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// A folder with every file that the examples name, gone at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tollgate-policy-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        let files = [
            ("tls/ca.pem", ""),
            ("tls/alpha.pem", ""),
            ("tls/alpha.key", ""),
            ("tls/beta.pem", ""),
            ("tls/beta.key", ""),
            ("keys/alpha-epoch-1.key", KEY),
            ("keys/beta-epoch-1.key", KEY),
            ("keys/short.key", "password1234"),
            ("tickets/to-alpha.ticket", "AAEA"),
            ("tickets/to-beta.ticket", "AAEA"),
        ];
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("it is below the folder"))
                .expect("the temporary folder is writable");
            fs::write(path, format!("{text}\n")).expect("the temporary folder is writable");
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
