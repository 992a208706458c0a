//! Two companies on loopback: certificates, keys, tickets and policies in a folder, an edge process and a call agent each.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tollgate_contract::{KeyState, MacCoverage, Secret, TicketAlg, TicketKey};
use tollgate_peers::MediaScript;
use tollgate_peers::agent::{AgentConfig, AgentTls, AnswerBehaviour, Call, CallAgent, PlaceOptions, SipTransport};
use tollgate_peers::certs::{Authority, Identity};
use tollgate_peers::payload::PayloadBook;
use tollgate_ticket::{Grant, issue};

/// A number whose route has no ticket.
pub(crate) const TICKETLESS: &str = "+12125550001";
/// A number that each company may call at the other.
pub(crate) const GRANTED: &str = "+12125550123";
/// A number whose route has a ticket for another number.
pub(crate) const WRONG_NUMBER: &str = "+12125550002";

/// Two edges and two agents.
pub(crate) struct Pair {
    pub(crate) alpha: CallAgent,
    pub(crate) beta: CallAgent,
    edges: Vec<(&'static str, Child)>,
    papers: Papers,
}

impl Pair {
    /// Starts everything on the addresses of two bases, `base` (alpha) and `base + 1` (beta); tests in one process take
    /// different ones.
    pub(crate) async fn start(base: u8, transport: SipTransport) -> Self {
        Self::start_with(Papers::write(base, transport, "")).await
    }

    /// Starts everything as written.
    pub(crate) async fn start_with(papers: Papers) -> Self {
        let (base, transport) = (papers.base, papers.transport);
        let port = sip_port(transport);
        let mut edges = Vec::new();
        for name in ["alpha", "beta"] {
            edges.push((name, papers.start_edge(name)));
            papers.wait_ready(name);
        }
        let book = PayloadBook::new();
        let mut agents = Vec::new();
        for (name, at) in [("alpha", base), ("beta", base + 1)] {
            let config = AgentConfig {
                name: format!("+1408555{at:04}"),
                domain: format!("{name}.example"),
                listen: address(at, 2, port),
                edge: address(at, 1, port),
                edge_transport: transport,
                media_ip: address(at, 2, 0).ip(),
                book: book.clone(),
            };
            let agent = match papers.agents_tls.get(name) {
                None => CallAgent::bind(config).await,
                Some(tls) => CallAgent::bind_with_tls(config, tls).await,
            };
            agents.push(agent.unwrap());
        }
        let (beta, alpha) = (agents.pop().unwrap(), agents.pop().unwrap());
        let media = MediaScript {
            duration: Some(Duration::from_secs(2)),
            rtcp: true,
        };
        beta.on_invite(AnswerBehaviour {
            media,
            ..AnswerBehaviour::default()
        });
        Self {
            alpha,
            beta,
            edges,
            papers,
        }
    }

    /// The files both run by.
    pub(crate) const fn papers(&self) -> &Papers {
        &self.papers
    }

    /// The metrics page of an edge.
    pub(crate) async fn metrics(&self, name: &str) -> String {
        // Gauges and histograms follow within a second.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        self.page(name, "/metrics")
    }

    /// A page of an edge's admin address, as it is now.
    pub(crate) fn page(&self, name: &str, path: &str) -> String {
        get(self.papers.admin(name), path).unwrap()
    }

    /// Whether an edge still runs.
    pub(crate) fn is_running(&mut self, name: &str) -> bool {
        self.edge(name).try_wait().unwrap().is_none()
    }

    /// Kills an edge (SIGKILL) and starts it again at once.
    pub(crate) fn kill_and_restart(&mut self, name: &'static str) {
        let edge = self.edge(name);
        edge.kill().unwrap();
        edge.wait().unwrap();
        let again = self.papers.start_edge(name);
        *self.edge(name) = again;
        self.papers.wait_ready(name);
    }

    fn edge(&mut self, name: &str) -> &mut Child {
        let (_, edge) = self.edges.iter_mut().find(|(known, _)| *known == name).unwrap();
        edge
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self, name: &str) {
        self.signal(name, "-TERM");
    }

    /// Sends a signal, named as `kill` names it.
    pub(crate) fn signal(&self, name: &str, signal: &str) {
        let (_, edge) = self.edges.iter().find(|(known, _)| *known == name).unwrap();
        let killed = Command::new("kill")
            .args([signal, &edge.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    /// Waits for an edge to end.
    pub(crate) fn exit_code(&mut self, name: &str, within: Duration) -> Option<i32> {
        let edge = self.edge(name);
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = edge.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for (name, edge) in &mut self.edges {
            let _ = edge.kill();
            let _ = edge.wait();
            if std::thread::panicking() {
                eprintln!("--- {name} edge\n{}", self.papers.log(name));
            }
        }
    }
}

/// The folder of both companies: certificates, keys, policies, logs. Removed when dropped.
pub(crate) struct Papers {
    pub(crate) folder: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) base: u8,
    /// What the agents know of TLS, if that is how they speak; a test may spoil it before it starts them.
    pub(crate) agents_tls: BTreeMap<&'static str, AgentTls>,
    transport: SipTransport,
}

impl Papers {
    /// Writes everything; `more` is added at the end of both policies.
    pub(crate) fn write(base: u8, transport: SipTransport, more: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tollgate-loopback-{}-{base}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new("Loopback CA");
        write_companies(&folder, &authority, base, transport, more);
        let agents_tls = match transport {
            SipTransport::Udp | SipTransport::Tcp => BTreeMap::new(),
            SipTransport::Tls => write_inside_tls(&folder),
        };
        Self {
            folder,
            authority,
            base,
            agents_tls,
            transport,
        }
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file of the folder as text.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// An address of a company: its edge inside (1), its agent (2), its edge outside (3), strangers (4 and above).
    pub(crate) fn address(&self, name: &str, host: u8, port: u16) -> SocketAddr {
        address(self.base + u8::from(name == "beta"), host, port)
    }

    /// Everything an edge wrote.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    fn admin(&self, name: &str) -> SocketAddr {
        self.address(name, 1, 9090)
    }

    fn start_edge(&self, name: &str) -> Child {
        let log = self.path(&format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["run", "--policy"])
            .arg(self.path(&format!("{name}.toml")))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn wait_ready(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if get(self.admin(name), "/readyz").is_some_and(|page| page.starts_with("HTTP/1.1 200")) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{name} is not ready:\n{}", self.log(name));
    }
}

impl Drop for Papers {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An address of our own: two runs of the tests at once meet only if their process numbers do.
fn address(base: u8, host: u8, port: u16) -> SocketAddr {
    let lane = 1 + (std::process::id() % 200) as u8;
    SocketAddr::from(([127, lane, base, host], port))
}

/// The ticket key of a company, 32 bytes that no other text holds by chance.
pub(crate) fn ticket_key(name: &str) -> Vec<u8> {
    let seed = name.len() as u8 * 29;
    (0..32u8)
        .map(|at| at.wrapping_mul(73).rotate_left(3) ^ seed.wrapping_add(at))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_companies(folder: &Path, authority: &Authority, base: u8, transport: SipTransport, more: &str) {
    fs::write(folder.join("ca.pem"), authority.ca_pem()).unwrap();
    for (name, at, far, far_at) in [("alpha", base, "beta", base + 1), ("beta", base + 1, "alpha", base)] {
        let domain = format!("{name}.example");
        let Identity { cert_pem, key_pem } = authority.issue(&[&domain], &[]);
        fs::write(folder.join(format!("{name}.pem")), cert_pem).unwrap();
        fs::write(folder.join(format!("{name}.key")), key_pem).unwrap();
        fs::write(folder.join(format!("{name}.epoch")), hex(&ticket_key(name))).unwrap();
        let policy = policy((name, at), (far, far_at), transport);
        fs::write(folder.join(format!("{name}.toml")), policy + more).unwrap();
    }
}

/// Certificates for the side of the call agents, of an authority that nobody outside trusts.
fn write_inside_tls(folder: &Path) -> BTreeMap<&'static str, AgentTls> {
    let authority = Authority::new("Inside CA");
    fs::write(folder.join("inside-ca.pem"), authority.ca_pem()).unwrap();
    let companies = ["alpha", "beta"].map(|name| {
        let (edge_name, agent_name) = (format!("edge.{name}.example"), format!("pbx.{name}.example"));
        let Identity { cert_pem, key_pem } = authority.issue(&[&edge_name], &[]);
        fs::write(folder.join(format!("{name}-inside.pem")), cert_pem).unwrap();
        fs::write(folder.join(format!("{name}-inside.key")), key_pem).unwrap();
        let tls = AgentTls {
            identity: authority.issue(&[&agent_name], &[]),
            ca_pem: authority.ca_pem().to_owned(),
            edge_name,
        };
        (name, tls)
    });
    companies.into()
}

/// The customary port of a transport (RFC 3261 §19.1.2).
const fn sip_port(transport: SipTransport) -> u16 {
    match transport {
        SipTransport::Udp | SipTransport::Tcp => 5060,
        SipTransport::Tls => 5061,
    }
}

/// The side of the call agent in a policy; one that speaks TLS has nothing else.
fn inside(name: &str, at: u8, transport: SipTransport) -> String {
    let port = sip_port(transport);
    let (edge, agent) = (address(at, 1, port), address(at, 2, port));
    let listener = |transport: &str| format!("[[inside.listeners]]\ntransport = \"{transport}\"\nbind = \"{edge}\"\n");
    let (listeners, tls) = match transport {
        SipTransport::Udp | SipTransport::Tcp => (listener("udp") + &listener("tcp"), String::new()),
        SipTransport::Tls => (
            listener("tls"),
            format!(
                "[inside.tls]\ncertificate = \"{name}-inside.pem\"\nprivate_key = \"{name}-inside.key\"\n\
                 trust_roots = \"inside-ca.pem\"\nserver_name = \"pbx.{name}.example\"\n"
            ),
        ),
    };
    let transport = transport.via_name().to_ascii_lowercase();
    format!("{listeners}[inside.agent]\naddress = \"{agent}\"\ntransport = \"{transport}\"\n{tls}")
}

fn policy((name, at): (&str, u8), (far, far_at): (&str, u8), transport: SipTransport) -> String {
    let route = |number: &str, granted: Option<&str>| {
        let ticket = granted
            .map(|number| format!("ticket = \"{}\"\n", ticket(number, far, name)))
            .unwrap_or_default();
        let peer = address(far_at, 3, 5061);
        format!("[[routes]]\nnumber = \"{number}\"\ndomain = \"{far}.example\"\npeer = \"{peer}\"\n{ticket}")
    };
    let routes = [
        route("+12125550123", Some("+12125550123")),
        route(TICKETLESS, None),
        route(WRONG_NUMBER, Some("+12125550123")),
    ];
    let [edge, outside]: [IpAddr; 2] = [1, 3].map(|host| address(at, host, 0).ip());
    let inside = inside(name, at, transport);
    format!(
        "mode = \"trunk\"\ndomain = \"{name}.example\"\n\
         {inside}\
         [[outside.listeners]]\nbind = \"{outside}:5061\"\n\
         [outside.tls]\ncertificate = \"{name}.pem\"\nprivate_key = \"{name}.key\"\ntrust_roots = \"ca.pem\"\n\
         [media]\nmax_calls = 20\n\
         [[media.inside]]\nbind = \"{edge}\"\nports = \"20000-20079\"\n\
         [[media.outside]]\nbind = \"{outside}\"\nports = \"20000-20079\"\n\
         [[tickets.keys]]\nepoch = 1\nalg = \"v2-hmac-sha256\"\nkey_file = \"{name}.epoch\"\n\
         {}[admin]\nlisten = \"{edge}:9090\"\n",
        routes.concat()
    )
}

/// A ticket of `granting` that lets `granted_to` call a number.
pub(crate) fn ticket(number: &str, granting: &str, granted_to: &str) -> String {
    let key = TicketKey {
        epoch: 1,
        alg: TicketAlg::V2HmacSha256,
        secret: Secret::new(ticket_key(granting)),
        not_before: Duration::ZERO,
        accept_until: Duration::MAX,
        state: KeyState::Live,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let validity = (now - Duration::from_secs(60), now + Duration::from_secs(86_400));
    let (granting, granted_to) = (format!("{granting}.example"), format!("{granted_to}.example"));
    let grant = Grant::new(number.parse().unwrap(), validity, [7; 16], &granting, &granted_to).unwrap();
    issue(&key, MacCoverage::BeforeIntegrity, &grant, [1, 2, 3, 4], [9; 16])
}

fn get(admin: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page)
}

/// A call that is up, with media from both sides for so long.
pub(crate) async fn talking(pair: &Pair, duration: Duration) -> (Call, Call) {
    let media = MediaScript {
        duration: Some(duration),
        rtcp: true,
    };
    let options = PlaceOptions {
        media,
        ..PlaceOptions::default()
    };
    let call = pair.alpha.place(GRANTED, options).await.expect("the call is answered");
    let far = pair
        .beta
        .next_call(Duration::from_secs(2))
        .await
        .expect("it reached the far agent");
    (call, far)
}

/// A call whose every packet arrives.
pub(crate) async fn whole_call(pair: &Pair) {
    let (call, far) = talking(pair, Duration::from_secs(1)).await;
    let (heard_here, heard_there) = tokio::join!(call.media_done(), far.media_done());
    for heard in [&heard_here, &heard_there] {
        assert_eq!((heard.lost, heard.mismatched, heard.foreign), (0, 0, 0), "{heard:?}");
        assert!(heard.received >= 50, "{heard:?}");
    }
    call.bye().await.expect("its BYE is answered");
    assert!(far.wait_bye(Duration::from_secs(2)).await.is_some());
}
