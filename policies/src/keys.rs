//! The one table of keys: what may stand in the file, its range, its default, and the reason for that.
//!
//! Drives the checks, the suggestions, the schema and the reference; it reads nothing itself.

use self::Absent::{Optional, Required, Value};
use self::Kind::{Choice, Choices, Flag, Integer, Integers, Ratio, Table, Tables, Text, Texts, Time};

/// A key of the policy file.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its path; `[]` stands for the index of a table in an array.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: Absent,
    /// Unit of a number, or nothing.
    pub(crate) unit: &'static str,
    /// What it is, and why the default is what it is.
    pub(crate) reason: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Table,
    /// An array of tables, from so many to so many.
    Tables(usize, usize),
    /// A text of the form described.
    Text(&'static str),
    /// A list of texts of the form described.
    Texts(&'static str),
    Choice(&'static [&'static str], &'static str),
    Choices(&'static [&'static str], &'static str),
    Integer(u64, u64),
    Integers(u64, u64),
    Ratio(f64, f64),
    Flag,
    Time,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Absent {
    Required,
    /// In words.
    Optional(&'static str),
    /// As TOML writes it.
    Value(&'static str),
}

impl Kind {
    /// What to write, in words.
    pub(crate) const fn form(self) -> &'static str {
        match self {
            Self::Table => "a table",
            Self::Tables(..) => "an array of tables",
            Self::Text(form) | Self::Texts(form) | Self::Choice(_, form) | Self::Choices(_, form) => form,
            Self::Integer(..) | Self::Integers(..) => "a whole number",
            Self::Ratio(..) => "a number such as 0.1",
            Self::Flag => "true or false",
            Self::Time => "a date and time with offset such as 2027-01-01T00:00:00Z",
        }
    }

    /// Whether it is written in quotes.
    pub(crate) const fn is_text(self) -> bool {
        match self {
            Self::Text(_) | Self::Texts(_) | Self::Choice(..) | Self::Choices(..) => true,
            Self::Table | Self::Tables(..) | Self::Integer(..) | Self::Integers(..) => false,
            Self::Ratio(..) | Self::Flag | Self::Time => false,
        }
    }
}

/// The key of a path.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether a path may stand in the file.
pub(crate) fn is_known(path: &str) -> bool {
    find(path).is_some()
}

/// How to mend an unknown key of a table: the most similar one of that table, else the table it belongs to.
pub(crate) fn suggestion(table: &str, unknown: &str) -> String {
    let siblings: Vec<&str> = KEYS
        .iter()
        .map(|key| split(key.path))
        .filter(|(of, _)| *of == table)
        .map(|(_, name)| name)
        .collect();
    let nearest = siblings.iter().map(|name| (distance(unknown, name), *name)).min();
    if let Some((distance, name)) = nearest
        && distance <= 1 + unknown.len() / 4
    {
        return format!("did you mean \"{name}\"?");
    }
    if let Some((owner, _)) = KEYS
        .iter()
        .map(|key| split(key.path))
        .find(|(of, name)| *name == unknown && *of != table)
    {
        let place = if owner.is_empty() {
            "the top of the file".to_owned()
        } else {
            format!("[{}]", owner.replace("[]", ""))
        };
        return format!("did you mean \"{unknown}\" in {place}?");
    }
    format!("remove it; the keys here are {}", siblings.join(", "))
}

/// The table's path and the key's own name.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Levenshtein's distance: characters to add, drop or change.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, character) in one.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (above, there) in row.iter().skip(1).zip(&other) {
            left = (left + 1)
                .min(above + 1)
                .min(diagonal + usize::from(character != *there));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

const fn key(path: &'static str, kind: Kind, default: Absent, unit: &'static str, reason: &'static str) -> Key {
    Key {
        path,
        kind,
        default,
        unit,
        reason,
    }
}

const SOCKET: Kind = Text("an IP address and port such as 10.0.0.1:5060");
const REACHABLE: Kind = Text("an IP address and port that others can send to, such as 192.0.2.1:5061");
const DOMAIN: Kind = Text("a domain name such as alpha.example");
const DOMAINS: Kind = Texts("a domain name such as alpha.example");
const FILE: Kind = Text("the name of a file; relative names start at the policy's folder");
const IP: Kind = Text("an IP address such as 192.0.2.1");
const NUMBERS: Kind = Texts("a number such as +14085551234");
const PORTS: Kind = Text("two ports such as 16384-24383: within 1024-65535, the first even, at least two");
const TRANSPORT: Kind = Choice(&["udp", "tcp", "tls"], "one of udp, tcp, tls");

/// Names of the SRTP suites, in the order of preference.
pub(crate) const SUITES: &[&str] = &[
    "AEAD_AES_256_GCM",
    "AEAD_AES_128_GCM",
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
];

/// Every key, in the order of the reference.
#[rustfmt::skip]
pub(crate) static KEYS: &[Key] = &[
    key("mode", Choice(&["trunk", "off-path", "inline"], "one of trunk, off-path, inline"), Required, "", "How Tollgate is placed: `trunk`, the call agent has a SIP trunk to it; `off-path`, the agent asks the mapping service for an inside address standing for a peer's; `inline`, Tollgate is the router in the agent's path. No default, so that none is taken on by accident."),
    key("domain", DOMAIN, Required, "", "Domain of our certificate: our identity towards peers."),
    key("local_domains", DOMAINS, Optional("just `domain`"), "", "Domains that count as ours in Request-URIs and tickets. Most companies have one."),

    key("inside", Table, Required, "", "The side of the call agent."),
    key("inside.listeners", Tables(1, 16), Required, "", "Where we listen for the call agent."),
    key("inside.listeners[].transport", TRANSPORT, Required, "", "Transport of this listener."),
    key("inside.listeners[].bind", SOCKET, Required, "", "Address of the socket."),
    key("inside.listeners[].advertised", REACHABLE, Optional("same as `bind`"), "", "Address told to others, where it differs from the socket's (NAT)."),
    key("inside.agent", Table, Required, "", "The call agent."),
    key("inside.agent.address", REACHABLE, Required, "", "Where the call agent's SIP listens."),
    key("inside.agent.transport", TRANSPORT, Required, "", "By which transport it is reached."),
    key("inside.agent.allow_from", Texts("an IP address such as 10.0.0.10"), Optional("just the agent's address"), "", "Further addresses that may place calls, such as the other nodes of a cluster. Nobody else may."),
    key("inside.tls", Table, Optional("no TLS inside"), "", "Needed if a listener or the agent uses TLS."),
    key("inside.tls.certificate", FILE, Required, "", "Our certificate chain for the inside, PEM."),
    key("inside.tls.private_key", FILE, Required, "", "Its private key, PEM."),
    key("inside.tls.trust_roots", FILE, Required, "", "Authorities that may have signed the agent's certificate, PEM."),
    key("inside.tls.server_name", DOMAIN, Optional("none; needed if the agent uses TLS"), "", "The name that the agent's certificate must bear."),

    key("outside", Table, Required, "", "The side of the peers; always TLS with certificates both ways."),
    key("outside.listeners", Tables(1, 16), Required, "", "Where we listen for peers."),
    key("outside.listeners[].bind", SOCKET, Required, "", "Address of the socket."),
    key("outside.listeners[].advertised", REACHABLE, Optional("same as `bind`"), "", "Address told to peers, where it differs from the socket's (1:1 NAT)."),
    key("outside.tls", Table, Required, "", "Our identity outside, and whom we trust."),
    key("outside.tls.certificate", FILE, Required, "", "Our certificate chain, PEM; its SubjectAltName names `domain`."),
    key("outside.tls.private_key", FILE, Required, "", "Its private key, PEM."),
    key("outside.tls.trust_roots", FILE, Required, "", "Authorities that may have signed peers' certificates, PEM."),

    key("mapping", Table, Optional("none; required in mode off-path, and only there"), "", "The mapping service: inside addresses that stand for peers'."),
    key("mapping.listen", SOCKET, Required, "", "Where call agents ask, TCP; port 8060 by custom. Only the agent's addresses may."),
    key("mapping.bind", IP, Optional("the address of `listen`"), "", "Inside address of the mapped ports."),
    key("mapping.ports", PORTS, Value("\"20000-20999\""), "", "Mapped ports, both ends included, bound at start; one for each peer address in use. The firewall between agent and Tollgate opens these and no others."),
    key("mapping.idle_timeout_s", Integer(60, 86_400), Value("600"), "s", "A mapping without call or question for so long is given up; ten minutes outlast the pauses of a working day's traffic."),
    key("mapping.per_client_max", Integer(1, 65_535), Value("256"), "mappings", "Mappings that one client may hold, so that no client takes them all."),

    key("inline", Table, Optional("none; required in mode inline, and only there"), "", "Taking over the agent's connections to peers on their way (TPROXY)."),
    key("inline.bind", Texts("an address and port such as 0.0.0.0:5059"), Required, "", "Where taken connections arrive, at most one for each address family; any port nothing else uses."),
    key("inline.interface", Text("the name of a network interface such as eth0"), Required, "", "The interface towards the call agent; connections of other interfaces are left alone."),
    key("inline.ports", Texts("a port such as 5061, or two such as 5060-5061"), Value("[\"5060-5061\"]"), "", "Ports of peers that are SIP; connections to others pass untouched."),
    key("inline.mark", Integer(1, 4_294_967_295), Value("21345"), "", "Firewall mark of taken packets; any that nothing else on the host uses."),
    key("inline.table", Integer(1, 4_294_967_295), Value("21345"), "", "Routing table of taken packets; any that nothing else on the host uses."),

    key("state", Table, Optional("nothing is kept"), "", "What outlives the process."),
    key("state.dir", Text("the name of a folder; relative names start at the policy's folder"), Required, "", "Folder for learned routes, revocations and mappings. With it the edge serves learned routes at start, before the validator is back."),

    key("learned", Table, Optional("all defaults"), "", "Routes, revocations and mappings from the validator, the API or a file."),
    key("learned.routes_max", Integer(1, 4_000_000), Value("1000000"), "routes", "Learned routes held; more are refused, none is cut. A million take about 0.6 GB, and as much on disk."),
    key("learned.file", FILE, Optional("none"), "", "Facts as JSON, read at start and whenever the file changes."),
    key("learned.allow_private_targets", Flag, Value("false"), "", "Whether a learned route may lead to a private or loopback address. Not by default: a false route must not turn Tollgate against its own network."),

    key("validator", Table, Optional("none"), "", "The co-located validator that learns routes."),
    key("validator.address", Text("unix:/path/of/socket or a host and port such as 127.0.0.1:5620"), Required, "", "Where it listens."),
    key("validator.protocol", Choice(&["feed", "vap"], "one of feed, vap"), Value("\"feed\""), "", "Tollgate's own feed, or VAP for an existing IME validator, which tells neither expiry nor withdrawals."),
    key("validator.peer_uid", Integer(0, 4_294_967_294), Optional("root or our own user"), "", "User that must own the validator's end of a Unix socket."),
    key("validator.reconnect_s", Integer(1, 600), Value("5"), "s", "Pause before a lost validator is tried again; routes go on meanwhile."),
    key("validator.silence_s", Integer(10, 3_600), Value("60"), "s", "A validator silent for so long is lost; twice its usual heartbeat."),
    key("validator.username", Text("a user name of 1 to 255 printable characters"), Optional("none; needed for vap"), "", "Our user at a VAP validator."),
    key("validator.password_file", FILE, Optional("none; needed for vap"), "", "File that holds its password."),
    key("validator.vservice_id", Text("16 hexadecimal digits"), Optional("none; needed for vap"), "", "The VServiceID whose routes are subscribed to (VAP)."),
    key("validator.route_life_d", Integer(1, 3_650), Value("365"), "days", "Life of a route learned by VAP, which tells none; a year, as in IME."),
    key("validator.allow_plain_tcp", Flag, Value("false"), "", "Whether a validator over TCP may go without TLS. VAP has no nonce, so without TLS its messages can be replayed."),
    key("validator.tls", Table, Optional("none; needed unless the address is a Unix socket or allow_plain_tcp is true"), "", "TLS to the validator."),
    key("validator.tls.certificate", FILE, Required, "", "Our certificate chain, PEM."),
    key("validator.tls.private_key", FILE, Required, "", "Its private key, PEM."),
    key("validator.tls.trust_roots", FILE, Required, "", "Authorities that may have signed the validator's certificate, PEM."),
    key("validator.tls.server_name", DOMAIN, Required, "", "The name its certificate must bear."),

    key("media", Table, Required, "", "Media."),
    key("media.workers", Integer(0, 256), Value("0"), "threads", "Media threads; 0 is one for each core, since each serves its own calls."),
    key("media.max_calls", Integer(1, 32_256), Value("2000"), "calls", "Calls at once; more are refused before they ring. The usual 8,000 ports hold twice as many, which leaves room for quarantine."),
    key("media.suites", Choices(SUITES, "a suite: AEAD_AES_256_GCM, AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32, AES_256_CM_HMAC_SHA1_80 or AES_256_CM_HMAC_SHA1_32"), Value("[\"AEAD_AES_256_GCM\", \"AEAD_AES_128_GCM\", \"AES_CM_128_HMAC_SHA1_80\", \"AES_CM_128_HMAC_SHA1_32\"]"), "", "SRTP suites offered and accepted outside, best first: authenticated encryption first, then what every older peer speaks."),
    key("media.rtcp", Choice(&["relay", "drop"], "one of relay, drop"), Value("\"relay\""), "", "RTCP between the sides; relayed, since endpoints adapt by it."),
    key("media.port_quarantine_ms", Integer(0, 600_000), Value("10000"), "ms", "How long ports rest after a call, so that late packets reach no other call."),
    key("media.media_timeout_s", Integer(0, 86_400), Value("120"), "s", "A call silent both ways for so long is ended; 0 never ends one. Two minutes is the ASA's timeout for SIP media."),
    key("media.wait_us", Integer(0, 5_000), Value("300"), "us", "Under load a media thread wakes at most once in so long and relays what came meanwhile, since a wake costs more than a packet; it is the most that this adds to a packet's delay. 0 wakes it for each packet."),
    key("media.inside", Tables(1, 2), Required, "", "Media addresses inside, at most one for each address family."),
    key("media.inside[].bind", IP, Required, "", "Address of the sockets."),
    key("media.inside[].advertised", IP, Optional("same as `bind`"), "", "Address written into SDP, where it differs."),
    key("media.inside[].ports", PORTS, Value("\"16384-24383\""), "", "Ports, both ends included; a call takes two. 8,000 ports hold 4,000 calls."),
    key("media.outside", Tables(1, 2), Required, "", "Media addresses outside, at most one for each address family."),
    key("media.outside[].bind", IP, Required, "", "Address of the sockets."),
    key("media.outside[].advertised", IP, Optional("same as `bind`"), "", "Address written into SDP, where it differs (1:1 NAT)."),
    key("media.outside[].ports", PORTS, Value("\"16384-24383\""), "", "Ports, both ends included; a call takes two. 8,000 ports hold 4,000 calls."),

    key("calls", Table, Optional("all defaults"), "", "Call set-up and bounds."),
    key("calls.fallback_code", Integer(400, 699), Value("503"), "", "Status that makes the call agent use the PSTN; call agents try the next route on 503."),
    key("calls.setup_timeout_ms", Integer(500, 30_000), Value("4000"), "ms", "From INVITE to the first 18x or final answer; then the PSTN is tried. A caller waits four seconds without a tone."),
    key("calls.invite_timeout_s", Integer(30, 3_600), Value("180"), "s", "From INVITE to the final answer; three minutes of ringing."),
    key("calls.connect_timeout_ms", Integer(100, 10_000), Value("2000"), "ms", "To make a connection to a peer; half of the set-up time, so that a second address can be tried."),
    key("calls.on_ticket_failure", Choice(&["reject", "drop"], "one of reject, drop"), Value("\"reject\""), "", "What a peer sees when its ticket fails: 403, so that it uses the PSTN at once, or nothing."),
    key("calls.calls_per_second_per_peer", Integer(1, 100_000), Value("100"), "calls/s", "New calls a second from one peer; more get 503, so that one peer cannot crowd out the others."),
    key("calls.drain_deadline_s", Integer(0, 86_400), Value("300"), "s", "How long a drain waits for calls to end. Five minutes end most calls by themselves."),

    key("tickets", Table, Optional("all defaults and no keys"), "", "Ticket verification; without keys no call comes in."),
    key("tickets.header", Choice(&["X-Cisco-UC-IME-Ticket", "X-Cisco-ViPR-Ticket", "Ticket", "ViPR-Ticket"], "one of X-Cisco-UC-IME-Ticket, X-Cisco-ViPR-Ticket, Ticket, ViPR-Ticket"), Value("\"X-Cisco-UC-IME-Ticket\""), "", "Header field sent; all four are accepted. The default is the documented name of the shipped product."),
    key("tickets.clock_skew_s", Integer(0, 300), Value("0"), "s", "Tolerance between the clocks of issuer and edge; none is needed where both run on one host."),
    key("tickets.salt_max", Integer(4, 32), Value("4"), "bytes", "Longest salt accepted; issuers use four bytes."),
    key("tickets.mac_covers", Choice(&["before-integrity", "with-integrity-header"], "one of before-integrity, with-integrity-header"), Value("\"before-integrity\""), "", "Whether the MAC covers the Integrity field's type and length; the draft is read as saying no."),
    key("tickets.enrolled", NUMBERS, Optional("unknown: any number a good ticket names"), "", "Numbers that may be called by ticket."),
    key("tickets.allow_short_password", Flag, Value("false"), "", "Whether `raw-ascii` keys may have 10 to 19 characters; a peer that holds a ticket can guess at them offline."),
    key("tickets.keys", Tables(0, 16), Optional("no keys"), "", "Keys by epoch."),
    key("tickets.keys[].epoch", Integer(1, 4_294_967_295), Required, "", "Selects the key; never used again for another one."),
    key("tickets.keys[].alg", Choice(&["v2-hmac-sha256", "vipr-hmac-sha1"], "one of v2-hmac-sha256, vipr-hmac-sha1"), Value("\"v2-hmac-sha256\""), "", "The epoch's one algorithm; `vipr-hmac-sha1` for tickets of an existing validator."),
    key("tickets.keys[].form", Choice(&["hex16", "hex32", "raw-ascii"], "one of hex16, hex32, raw-ascii"), Optional("`hex32` for v2-hmac-sha256, `hex16` for vipr-hmac-sha1"), "", "How the key is written: 32 or 64 hexadecimal digits, or a password of 20 to 64 characters."),
    key("tickets.keys[].key_file", FILE, Optional("none; this or `key_env`"), "", "File that holds the key. The policy itself never does."),
    key("tickets.keys[].key_env", Text("the name of an environment variable"), Optional("none; this or `key_file`"), "", "Environment variable that holds the key."),
    key("tickets.keys[].not_before", Time, Optional("at once"), "", "Verifies nothing before this time."),
    key("tickets.keys[].accept_until", Time, Optional("no end (9999)"), "", "Verifies nothing from this time on."),
    key("tickets.keys[].revoked", Flag, Value("false"), "", "Taken back: verifies nothing, and keeps its epoch taken."),
    key("tickets.denied", Table, Optional("nothing denied"), "", "Tickets taken back before their end."),
    key("tickets.denied.uuids", Texts("a UUID such as 6ba7b810-9dad-41d1-80b4-00c04fd430c8"), Optional("none"), "", "By unique ID."),
    key("tickets.denied.numbers", NUMBERS, Optional("none"), "", "By number."),
    key("tickets.denied.domains", DOMAINS, Optional("none"), "", "By the domain granted to."),
    key("tickets.denied.epochs", Integers(1, 4_294_967_295), Optional("none"), "", "By epoch."),

    key("routes", Tables(0, 100_000), Optional("no routes"), "", "Numbers that are reached at peers; all others go to the PSTN. An exact number wins over the longest prefix."),
    key("routes[].number", Text("a number such as +14085551234"), Optional("none; this or `prefix`"), "", "One number."),
    key("routes[].prefix", Text("the first digits of numbers such as +1408, or an empty text for all"), Optional("none; this or `number`"), "", "Every number that begins so; an empty text or `+` means every number."),
    key("routes[].domain", DOMAIN, Required, "", "The peer's domain, which its certificate must name."),
    key("routes[].peer", Text("a host and port such as 192.0.2.1:5061 or edge.beta.example:5061"), Optional("none; this or `peers`"), "", "The peer's edge."),
    key("routes[].peers", Texts("a host and port such as 192.0.2.1:5061 or edge.beta.example:5061"), Optional("none; this or `peer`"), "", "The peer's edges, tried in order."),
    key("routes[].ticket", Text("a ticket: 1 to 1024 letters, digits, '-', '_' and '.'"), Optional("none"), "", "The ticket the peer granted us."),
    key("routes[].ticket_file", FILE, Optional("none"), "", "File that holds the ticket."),

    key("peers", Tables(0, 100_000), Optional("no rules"), "", "Rules for single peers."),
    key("peers[].domain", DOMAIN, Required, "", "The peer's domain."),
    key("peers[].label", Text("1 to 32 of a-z, 0-9, '_' and '-', but not \"other\""), Optional("counted as `other`"), "", "Its name in metrics. Unnamed peers share one, so that metrics stay bounded."),
    key("peers[].deny", Flag, Value("false"), "", "Refuses its calls whatever their tickets say."),

    key("fallback", Table, Optional("all defaults"), "", "Handing a bad call back to the PSTN."),
    key("fallback.enabled", Flag, Value("true"), "", "Whether calls are handed back at all."),
    key("fallback.monitoring_interval_ms", Integer(10, 600), Value("100"), "ms", "How often quality is read; the ASA's default and range."),
    key("fallback.hold_down_s", Integer(10, 360), Value("20"), "s", "From the verdict \"poor\" to the REFER, so that a passing trouble moves no call; the ASA's default and range."),
    key("fallback.dead_hold_down_s", Integer(1, 60), Value("4"), "s", "The same for media that stopped: callers hang up long before 20 s of silence."),
    key("fallback.refer_when_called", Flag, Value("false"), "", "Whether the called side's edge REFERs too; by default the calling side's alone, so that one call is not moved twice."),
    key("fallback.profile", Choice(&["default", "sensitive", "tolerant"], "one of default, sensitive, tolerant"), Value("\"default\""), "", "Thresholds to start from (fallback/*.toml)."),
    key("fallback.loss_poor_ratio", Ratio(0.001, 1.0), Optional("the profile's"), "", "Loss over the window from which on the verdict is poor."),
    key("fallback.loss_good_ratio", Ratio(0.0, 1.0), Optional("the profile's"), "", "Loss under which it is good again; under loss_poor_ratio."),
    key("fallback.jitter_poor_ms", Integer(1, 5_000), Optional("the profile's"), "ms", "Jitter (RFC 3550) from which on the verdict is poor."),
    key("fallback.jitter_good_ms", Integer(0, 5_000), Optional("the profile's"), "ms", "Jitter under which it is good again; under jitter_poor_ms."),
    key("fallback.window_ms", Integer(1_000, 60_000), Optional("the profile's"), "ms", "Length of the sliding window judged."),
    key("fallback.dead_after_ms", Integer(500, 60_000), Optional("the profile's"), "ms", "No packet for so long while media is expected: the verdict is dead."),

    key("admin", Table, Optional("all defaults"), "", "Admin interface and metrics."),
    key("admin.listen", Text("an address and port such as 127.0.0.1:9090"), Value("\"127.0.0.1:9090\""), "", "Where it listens. Loopback alone, unless `token_file` is given."),
    key("admin.token_file", FILE, Optional("no token is asked for"), "", "File with a token of 32 to 256 printable characters; then every request but /livez and /readyz must bear it (Authorization: Bearer)."),

    key("logging", Table, Optional("all defaults"), "", "Logs and call records."),
    key("logging.format", Choice(&["human", "json"], "one of human, json"), Value("\"human\""), "", "How log lines look."),
    key("logging.level", Choice(&["error", "warn", "info", "debug", "trace"], "one of error, warn, info, debug, trace"), Value("\"info\""), "", "The least important lines written; info is enough to follow calls."),
    key("logging.call_records", Text("\"-\" for standard output, \"off\", or the name of a file; relative names start at the policy's folder"), Value("\"-\""), "", "Where call records go, one JSON object a line."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_stands_twice_and_every_table_of_a_key_is_a_key() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..index].iter().all(|other| other.path != key.path), "{}", key.path);
            let table = split(key.path).0.trim_end_matches("[]");
            assert!(table.is_empty() || is_known(table), "{}", key.path);
            assert!(!key.reason.is_empty());
        }
    }

    #[test]
    fn a_misspelt_key_gets_the_nearest_of_its_table() {
        assert_eq!(
            suggestion("calls", "setup_timeout"),
            "did you mean \"setup_timeout_ms\"?"
        );
        assert_eq!(suggestion("inside.listeners[]", "binds"), "did you mean \"bind\"?");
        assert_eq!(suggestion("", "route"), "did you mean \"routes\"?");
    }

    #[test]
    fn a_key_of_another_table_is_sent_there() {
        assert_eq!(
            suggestion("calls", "media_timeout_s"),
            "did you mean \"media_timeout_s\" in [media]?"
        );
        assert!(suggestion("admin", "colour").starts_with("remove it; the keys here are listen"));
    }

    #[test]
    fn distance_counts_single_changes() {
        for (one, other, changes) in [("", "", 0), ("abc", "", 3), ("bind", "bnid", 2), ("mode", "node", 1)] {
            assert_eq!(distance(one, other), changes);
        }
    }
}
