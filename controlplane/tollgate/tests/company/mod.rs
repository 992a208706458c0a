//! Two companies on loopback: certificates, keys, tickets and policies in a folder, an edge process and a call agent each.

#![allow(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tollgate_contract::{KeyState, MacCoverage, Secret, TicketAlg, TicketKey};
use tollgate_peers::MediaScript;
use tollgate_peers::agent::{AgentConfig, AnswerBehaviour, CallAgent, SipTransport};
use tollgate_peers::certs::{Authority, Identity};
use tollgate_peers::payload::PayloadBook;
use tollgate_ticket::{Grant, issue};

/// A number whose route has no ticket.
pub(crate) const TICKETLESS: &str = "+12125550001";
/// A number whose route has a ticket for another number.
pub(crate) const WRONG_NUMBER: &str = "+12125550002";

/// Two edges and two agents.
pub(crate) struct Pair {
    pub(crate) alpha: CallAgent,
    pub(crate) beta: CallAgent,
    edges: Vec<(&'static str, Child)>,
    base: u8,
    folder: PathBuf,
}

impl Pair {
    /// Starts everything on 127.0.`base`.x (alpha) and 127.0.`base + 1`.x (beta); tests in one process take different
    /// bases.
    pub(crate) async fn start(base: u8, transport: SipTransport) -> Self {
        let folder = std::env::temp_dir().join(format!("tollgate-loopback-{}-{base}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        write_companies(&folder, base, transport);
        let mut edges = Vec::new();
        for (name, at) in [("alpha", base), ("beta", base + 1)] {
            edges.push((name, start_edge(&folder, name)));
            wait_ready(admin(at), &folder.join(format!("{name}.log")));
        }
        let book = PayloadBook::new();
        let mut agents = Vec::new();
        for (name, at) in [("alpha", base), ("beta", base + 1)] {
            let agent = CallAgent::bind(AgentConfig {
                name: format!("+1408555{at:04}"),
                domain: format!("{name}.example"),
                listen: address(at, 2, 5060),
                edge: address(at, 1, 5060),
                edge_transport: transport,
                media_ip: address(at, 2, 0).ip(),
                book: book.clone(),
            });
            agents.push(agent.await.unwrap());
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
            base,
            folder,
        }
    }

    /// The metrics page of an edge.
    pub(crate) async fn metrics(&self, name: &str) -> String {
        // Gauges and histograms follow within a second.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        get(admin(self.base + u8::from(name == "beta")), "/metrics").unwrap()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self, name: &str) {
        let (_, edge) = self.edges.iter().find(|(known, _)| *known == name).unwrap();
        let killed = Command::new("kill")
            .args(["-TERM", &edge.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    /// Waits for an edge to end.
    pub(crate) fn exit_code(&mut self, name: &str, within: Duration) -> Option<i32> {
        let (_, edge) = self.edges.iter_mut().find(|(known, _)| *known == name).unwrap();
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
                let log = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
                eprintln!("--- {name} edge\n{log}");
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn address(base: u8, host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, base, host], port))
}

fn admin(base: u8) -> SocketAddr {
    address(base, 1, 9090)
}

fn write_companies(folder: &Path, base: u8, transport: SipTransport) {
    let authority = Authority::new("Loopback CA");
    fs::write(folder.join("ca.pem"), authority.ca_pem()).unwrap();
    for (name, at, far, far_at) in [("alpha", base, "beta", base + 1), ("beta", base + 1, "alpha", base)] {
        let domain = format!("{name}.example");
        let Identity { cert_pem, key_pem } = authority.issue(&[&domain], &[]);
        fs::write(folder.join(format!("{name}.pem")), cert_pem).unwrap();
        fs::write(folder.join(format!("{name}.key")), key_pem).unwrap();
        fs::write(folder.join(format!("{name}.epoch")), "5a".repeat(32)).unwrap();
        fs::write(
            folder.join(format!("{name}.toml")),
            policy((name, at), (far, far_at), transport),
        )
        .unwrap();
    }
}

fn policy((name, at): (&str, u8), (far, far_at): (&str, u8), transport: SipTransport) -> String {
    let transport = match transport {
        SipTransport::Udp => "udp",
        SipTransport::Tcp => "tcp",
    };
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
    format!(
        "mode = \"trunk\"\ndomain = \"{name}.example\"\n\
         [[inside.listeners]]\ntransport = \"udp\"\nbind = \"127.0.{at}.1:5060\"\n\
         [[inside.listeners]]\ntransport = \"tcp\"\nbind = \"127.0.{at}.1:5060\"\n\
         [inside.agent]\naddress = \"127.0.{at}.2:5060\"\ntransport = \"{transport}\"\n\
         [[outside.listeners]]\nbind = \"127.0.{at}.3:5061\"\n\
         [outside.tls]\ncertificate = \"{name}.pem\"\nprivate_key = \"{name}.key\"\ntrust_roots = \"ca.pem\"\n\
         [media]\nmax_calls = 20\n\
         [[media.inside]]\nbind = \"127.0.{at}.1\"\nports = \"20000-20079\"\n\
         [[media.outside]]\nbind = \"127.0.{at}.3\"\nports = \"20000-20079\"\n\
         [[tickets.keys]]\nepoch = 1\nalg = \"v2-hmac-sha256\"\nkey_file = \"{name}.epoch\"\n\
         {}[admin]\nlisten = \"127.0.{at}.1:9090\"\n",
        routes.concat()
    )
}

/// A ticket of `granting` that lets `granted_to` call a number.
fn ticket(number: &str, granting: &str, granted_to: &str) -> String {
    let key = TicketKey {
        epoch: 1,
        alg: TicketAlg::V2HmacSha256,
        secret: Secret::new(vec![0x5a; 32]),
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

fn start_edge(folder: &Path, name: &str) -> Child {
    let log = fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--policy"])
        .arg(folder.join(format!("{name}.toml")))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn wait_ready(admin: SocketAddr, log: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if get(admin, "/readyz").is_some_and(|page| page.starts_with("HTTP/1.1 200")) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!(
        "the edge is not ready:\n{}",
        fs::read_to_string(log).unwrap_or_default()
    );
}

fn get(admin: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(admin).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page)
}
