//! The listener of the mapping service: lines in, questions to the control loop, lines out.
//!
//! Decides nothing about mappings and holds none. Everything a client can make it hold is bounded: connections, lines,
//! questions under way, look-ups, and the time that each of them takes. Source: docs/mapping-service.md.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tollgate_validator::facts::TargetHost;

use super::cause::Cause;
use super::codec::{Answer, Greeting, LineDecoder, MAX_LINE, Method, Request, Response, Target, VERSION};
use super::desk::{Asked, Question, Reply, ResolvedTarget};
use super::stats::{Closed, MappingStats, OpenSession};

/// Most questions of one connection under way; further lines wait in the socket.
pub const MAX_OUTSTANDING: usize = 16;

/// Questions waiting for the control loop; one that finds no place in [`QUEUE_WAIT`] is refused.
pub const QUESTION_QUEUE: usize = 256;

/// How long a question waits for a place in the queue. Places are given in the order of asking, so that a client with
/// many questions delays another by those before it alone.
const QUEUE_WAIT: Duration = Duration::from_millis(500);

/// A line must end so soon after its first byte.
const SLOW_LINE: Duration = Duration::from_secs(10);

/// Longest wait for a name's addresses.
const RESOLVE_LIMIT: Duration = Duration::from_secs(3);

/// Look-ups at once; one that was given up keeps its place until the system's resolver returns.
const MAX_LOOKUPS: usize = 64;

/// Look-ups at once of one connection.
const MAX_LOOKUPS_PER_CONNECTION: usize = 2;

/// Addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;

/// Longest wait for the control loop's answer; its own limit is shorter.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A client that does not read its answers for so long is left.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long a refused client may go on sending, so that it can still read why.
const FAREWELL: Duration = Duration::from_millis(500);

/// A connection without a request for so long is closed, however long mappings last: sockets of a client that was
/// switched off must not keep it from connecting anew.
const MAX_IDLE: Duration = Duration::from_secs(600);

/// How long accepting pauses after an error, such as having no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Looks a name up; called on a thread that may block.
pub type Resolver = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// What the service must know.
#[derive(Clone)]
pub struct MappingServiceConfig {
    /// The addresses that may ask: the call agent's.
    pub allowed: Vec<IpAddr>,
    /// A connection without a request for so long is closed; 10 minutes at most, whatever is written here.
    pub idle: Duration,
    /// How names are looked up; [`system_resolver`] but in tests.
    pub resolver: Resolver,
}

impl fmt::Debug for MappingServiceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappingServiceConfig")
            .field("allowed", &self.allowed)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

/// The resolver of the system.
#[must_use]
pub fn system_resolver() -> Resolver {
    Arc::new(|name| {
        let found = (name, 0).to_socket_addrs()?;
        Ok(found.map(|address| address.ip()).collect())
    })
}

/// Serves clients for as long as it is polled; dropping it ends every connection.
pub async fn serve_mappings(
    listener: TcpListener,
    config: MappingServiceConfig,
    questions: mpsc::Sender<Question>,
    stats: Arc<MappingStats>,
) {
    let shared = Arc::new(Shared::new(config, questions, stats));
    // As many tasks as `MappingStats::open` lets connections in.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => shared.admit(stream, from, &mut connections),
                Err(why) => {
                    tracing::error!(event = "mapping_accept", %why, "the mapping service cannot take a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// What all connections share.
struct Shared {
    config: MappingServiceConfig,
    questions: mpsc::Sender<Question>,
    stats: Arc<MappingStats>,
    lookups: Arc<Semaphore>,
}

impl Shared {
    fn new(config: MappingServiceConfig, questions: mpsc::Sender<Question>, stats: Arc<MappingStats>) -> Self {
        let config = MappingServiceConfig {
            idle: config.idle.min(MAX_IDLE),
            ..config
        };
        Self {
            config,
            questions,
            stats,
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, from: SocketAddr, connections: &mut JoinSet<()>) {
        let client = from.ip().to_canonical();
        let is_allowed = self
            .config
            .allowed
            .iter()
            .any(|allowed| allowed.to_canonical() == client);
        let opened = if is_allowed {
            self.stats.open(client, std::time::Instant::now())
        } else {
            Err(Cause::NotAllowed)
        };
        match opened {
            Ok(session) => {
                let connection = Connection::new(stream, client, session, Arc::clone(self));
                connections.spawn(connection.serve());
            }
            Err(cause) => {
                self.refuse(client, cause);
                // A fresh socket has room for a line; if not, nothing is waited for.
                let _ = stream.try_write(Response::refused(None, cause).encode().as_bytes());
            }
        }
    }

    /// Counts a refusal, and logs the first, second, fourth, eighth … of its cause.
    fn refuse(&self, client: IpAddr, cause: Cause) {
        let count = self.stats.on_refused(cause);
        if count.is_power_of_two() {
            tracing::warn!(event = "mapping_failed", %client, cause = cause.name(), count, "{}", cause.text());
        }
    }

    /// The answer to a request, in lines.
    async fn answer(&self, client: IpAddr, method: Method, lookups: &Arc<Semaphore>) -> Reply {
        let asked = match method {
            Method::Ping => return Ok(vec![Answer::Pong]),
            Method::Map(target) => Asked::Map(self.resolved(target, lookups).await?),
            Method::Unmap(mapped) => Asked::Unmap(mapped),
            Method::List { after } => Asked::List { after },
        };
        let (reply, answer) = oneshot::channel();
        let question = Question { client, asked, reply };
        let queued = self.questions.send_timeout(question, QUEUE_WAIT).await;
        queued.map_err(|_| Cause::NotReady)?;
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => Err(Cause::NotReady),
        }
    }

    async fn resolved(&self, target: Target, lookups: &Arc<Semaphore>) -> Result<ResolvedTarget, Cause> {
        let addresses = match &target.host {
            TargetHost::Ip(ip) => vec![*ip],
            TargetHost::Name(name) => {
                let looked_up = timeout(RESOLVE_LIMIT, self.look_up(name.as_str(), lookups)).await;
                looked_up.ok().flatten().unwrap_or_default()
            }
        };
        if addresses.is_empty() {
            return Err(Cause::Unresolved);
        }
        Ok(ResolvedTarget {
            host: target.host,
            addresses,
            port: target.port,
            transport: target.transport,
            domain: target.domain,
        })
    }

    /// The addresses of a name. The places are given back by the thread that looks up, however long that takes.
    async fn look_up(&self, name: &str, lookups: &Arc<Semaphore>) -> Option<Vec<IpAddr>> {
        let own = Arc::clone(lookups).acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.lookups).acquire_owned().await.ok()?;
        let (resolver, name) = (Arc::clone(&self.config.resolver), name.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let found = resolver(&name);
            drop((own, of_all));
            found
        });
        let mut addresses = found.await.ok()?.ok()?;
        addresses.truncate(MAX_ADDRESSES);
        Some(addresses)
    }
}

/// One client's connection.
struct Connection<S> {
    stream: S,
    client: IpAddr,
    session: OpenSession,
    shared: Arc<Shared>,
    decoder: LineDecoder,
    /// At most [`MAX_OUTSTANDING`].
    under_way: JoinSet<Vec<Response>>,
    lookups: Arc<Semaphore>,
    /// Whether the client may still send.
    is_open: bool,
    /// When the line that is not yet complete began.
    line_since: Option<Instant>,
    idle_since: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S, client: IpAddr, session: OpenSession, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            client,
            session,
            shared,
            decoder: LineDecoder::default(),
            under_way: JoinSet::new(),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS_PER_CONNECTION)),
            is_open: true,
            line_since: None,
            idle_since: Instant::now(),
        }
    }

    async fn serve(mut self) {
        let closed = match self.converse().await {
            Ok(()) => Closed::ByClient,
            Err(closed) => closed,
        };
        self.shared.stats.on_closed(closed);
        if closed == Closed::Refused {
            self.say_farewell().await;
        }
    }

    /// Until the client has left and has its answers.
    async fn converse(&mut self) -> Result<(), Closed> {
        let greeting = Greeting {
            version: VERSION,
            idle: self.shared.config.idle,
        };
        self.write(&greeting.encode()).await?;
        let mut chunk = [0; MAX_LINE];
        while self.is_open || !self.under_way.is_empty() {
            self.take_lines().await?;
            let (deadline, closed) = self.deadline();
            let is_reading = self.is_open && self.under_way.len() < MAX_OUTSTANDING;
            tokio::select! {
                Some(done) = self.under_way.join_next(), if !self.under_way.is_empty() => {
                    self.idle_since = Instant::now();
                    // A question that panicked has no answer; the client's own timer ends its wait.
                    self.write_all(&done.unwrap_or_default()).await?;
                }
                read = self.stream.read(&mut chunk), if is_reading => self.on_read(read, &chunk),
                () = sleep_until(deadline), if is_reading => return Err(self.on_deadline(closed).await),
            }
        }
        Ok(())
    }

    /// Begins what the complete lines ask for, as far as there is room for questions under way.
    async fn take_lines(&mut self) -> Result<(), Closed> {
        while self.under_way.len() < MAX_OUTSTANDING {
            let Ok(line) = self.decoder.next_line() else {
                self.refuse(None, Cause::TooLong).await?;
                return Err(Closed::Refused);
            };
            let Some(line) = line else {
                self.line_since = match self.decoder.is_mid_line() {
                    true => self.line_since.or_else(|| Some(Instant::now())),
                    false => None,
                };
                return Ok(());
            };
            (self.line_since, self.idle_since) = (None, Instant::now());
            match Request::decode(&line) {
                Ok(request) => self.begin(request),
                Err(malformed) => self.refuse(malformed.id, malformed.cause).await?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, request: Request) {
        let Request { id, method } = request;
        self.session.on_request(&method, self.idle_since.into_std());
        let (shared, client, lookups) = (Arc::clone(&self.shared), self.client, Arc::clone(&self.lookups));
        self.under_way.spawn(async move {
            match shared.answer(client, method, &lookups).await {
                Ok(answers) => {
                    shared.stats.on_answered();
                    let line = |answer| Response { id: Some(id), answer };
                    answers.into_iter().map(line).collect()
                }
                Err(cause) => {
                    shared.refuse(client, cause);
                    vec![Response::refused(Some(id), cause)]
                }
            }
        });
    }

    fn on_read(&mut self, read: io::Result<usize>, chunk: &[u8]) {
        match read {
            Ok(0) | Err(_) => self.is_open = false,
            Ok(count) => {
                let bytes = chunk.get(..count).unwrap_or_default();
                let taken = self.decoder.extend(bytes);
                debug_assert_eq!(taken, bytes.len(), "no complete line is held while reading");
            }
        }
    }

    /// When the connection is closed unless something comes, and why.
    fn deadline(&self) -> (Instant, Closed) {
        match self.line_since {
            Some(since) => (since + SLOW_LINE, Closed::Refused),
            None if self.under_way.is_empty() => (self.idle_since + self.shared.config.idle, Closed::Idle),
            // An answer is owed; it makes the idle time start anew.
            None => (Instant::now() + self.shared.config.idle, Closed::Idle),
        }
    }

    async fn on_deadline(&mut self, closed: Closed) -> Closed {
        if closed != Closed::Refused {
            return closed;
        }
        match self.refuse(None, Cause::SlowLine).await {
            Ok(()) => Closed::Refused,
            Err(closed) => closed,
        }
    }

    async fn refuse(&mut self, id: Option<u32>, cause: Cause) -> Result<(), Closed> {
        self.shared.refuse(self.client, cause);
        self.write(&Response::refused(id, cause).encode()).await
    }

    async fn write_all(&mut self, responses: &[Response]) -> Result<(), Closed> {
        let lines: String = responses.iter().map(Response::encode).collect();
        self.write(&lines).await
    }

    async fn write(&mut self, lines: &str) -> Result<(), Closed> {
        match timeout(WRITE_LIMIT, self.stream.write_all(lines.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Closed::ByClient),
            Err(_) => Err(Closed::Stuck),
        }
    }

    /// Closing a socket with unread bytes resets the connection, and the refusal would be lost: what still comes is read
    /// and dropped for a moment.
    async fn say_farewell(&mut self) {
        let mut chunk = [0; MAX_LINE];
        let _ = self.stream.shutdown().await;
        let _ = timeout(FAREWELL, async {
            while !matches!(self.stream.read(&mut chunk).await, Ok(0) | Err(_)) {}
        })
        .await;
    }
}

#[cfg(test)]
mod tests;
