use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tollgate_contract::Now;
use tollgate_validator::checks::AddressRules;

use super::*;
use crate::exposition::Exposition;
use crate::mapping::{ClientError, LeaseRules, MAX_CONNECTIONS_PER_CLIENT, MappingClient, MappingDesk, expose};

const IDLE: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_client_of_one_byte_a_second_is_told_and_left() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    let began = Instant::now();
    for byte in br#"{"id":1,"ping":{}}"#.iter().take(11) {
        let _ = client.to.write_all(&[*byte]).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(client.line().await, refused(None, Cause::SlowLine));
    client.ended().await;
    assert!(began.elapsed() < SLOW_LINE + Duration::from_secs(2));
    assert_eq!(client.stats.refused(Cause::SlowLine), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_closed_and_one_with_pings_is_not() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    for id in 1..=3 {
        sleep(IDLE - Duration::from_secs(1)).await;
        client.send(&format!("{{\"id\":{id},\"ping\":{{}}}}\n")).await;
        assert_eq!(client.line().await, format!("{{\"id\":{id},\"pong\":{{}}}}\n"));
    }
    let before = Instant::now();
    client.ended().await;
    assert_eq!(before.elapsed().as_secs(), IDLE.as_secs());
    client.is_counted("mapping_connections_closed_total{reason=\"idle\"} 1");
}

#[tokio::test(start_paused = true)]
async fn answers_come_as_they_are_ready() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    client.send(&(map(1, "203.0.113.7") + &map(2, "203.0.113.8"))).await;
    let (first, second) = (client.question().await, client.question().await);
    answer(second, 20_002);
    assert_eq!(client.line().await, mapped(2, 20_002));
    answer(first, 20_001);
    assert_eq!(client.line().await, mapped(1, 20_001));
    assert_eq!(client.stats.answered(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_question_tells_who_asks_for_what() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    client
        .send("{\"id\":1,\"unmap\":{\"ip\":\"10.0.0.2\",\"port\":20000}}\n{\"id\":2,\"list\":{\"after\":9}}\n")
        .await;
    let question = client.question().await;
    assert_eq!(question.client, asker());
    assert_eq!(question.asked, Asked::Unmap("10.0.0.2:20000".parse().unwrap()));
    question.reply.send(Err(Cause::NotFound)).unwrap();
    assert_eq!(client.line().await, refused(Some(1), Cause::NotFound));
    assert_eq!(client.question().await.asked, Asked::List { after: 9 });
}

#[tokio::test(start_paused = true)]
async fn further_requests_wait_while_sixteen_are_under_way() {
    let mut client = Conversation::start(QUESTION_QUEUE);
    client.greeted().await;
    let lines: String = (1..=40).map(|id| map(id, "203.0.113.7")).collect();
    client.send(&lines).await;
    sleep(Duration::from_secs(1)).await;
    let mut asked = Vec::new();
    while let Ok(question) = client.questions.try_recv() {
        asked.push(question);
    }
    assert_eq!(asked.len(), MAX_OUTSTANDING);
    asked.into_iter().for_each(|question| answer(question, 20_001));
    for _ in MAX_OUTSTANDING..40 {
        answer(client.question().await, 20_001);
    }
    for _ in 0..40 {
        assert!(client.line().await.contains("mapped"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_loop_that_does_not_answer_is_not_waited_for_long() {
    let mut client = Conversation::start(1);
    client.greeted().await;
    client.send(&(map(1, "203.0.113.7") + &map(2, "203.0.113.7"))).await;
    let began = Instant::now();
    assert_eq!(
        client.line().await,
        refused(Some(2), Cause::NotReady),
        "the queue is full"
    );
    assert!(began.elapsed() <= QUEUE_WAIT + Duration::from_millis(10));
    assert_eq!(
        client.line().await,
        refused(Some(1), Cause::NotReady),
        "the answer is late"
    );
    assert!(began.elapsed() <= ANSWER_LIMIT + Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_bad_line_is_refused_and_the_next_one_served() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    client
        .send("INVITE sip:x SIP/2.0\r\n{\"id\":3,\"fly\":{}}\n{\"id\":4,\"ping\":{}}\n")
        .await;
    assert_eq!(client.line().await, refused(None, Cause::BadRequest));
    assert_eq!(client.line().await, refused(Some(3), Cause::UnknownMethod));
    assert!(client.line().await.contains("pong"));
}

#[tokio::test(start_paused = true)]
async fn random_bytes_are_answered_by_refusals_alone() {
    for seed in 1..60u64 {
        let mut client = Conversation::start(8);
        client.greeted().await;
        let mut state = seed;
        let bytes = (0..3_000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let byte = (state >> 56) as u8;
            // Ever longer lines, until one is too long.
            if byte < 20 && state >> 32 & 0xff > seed {
                b'\n'
            } else {
                byte
            }
        });
        let bytes: Vec<u8> = bytes.collect();
        let _ = client.to.write_all(&bytes).await;
        let _ = client.to.shutdown().await;
        loop {
            let line = client.line().await;
            if line.is_empty() {
                break;
            }
            let response = Response::decode(line.as_bytes()).unwrap();
            assert!(matches!(response.answer, Answer::Refused { .. }), "seed {seed}: {line}");
        }
        assert!(client.stats.refused(Cause::BadRequest) > 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_sending_still_gets_its_answers() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    client.send(&map(1, "203.0.113.7")).await;
    client.to.shutdown().await.unwrap();
    let question = client.question().await;
    answer(question, 20_001);
    assert_eq!(client.line().await, mapped(1, 20_001));
    client.ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_left() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    // Each answer is longer than its question, so the pipe towards the client fills up.
    let flood = "{}\n".repeat(2_000);
    let _ = timeout(WRITE_LIMIT * 2, client.to.write_all(flood.as_bytes())).await;
    client.is_counted("mapping_connections_closed_total{reason=\"stuck\"} 1");
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up_before_anyone_is_asked() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    client
        .send(&(map(1, "two.example") + &map(2, "none.example") + &map(3, "error.example")))
        .await;
    let question = client.question().await;
    let Asked::Map(target) = &question.asked else {
        panic!("{question:?}");
    };
    assert_eq!(
        target.addresses,
        ["203.0.113.7", "2001:db8::7"].map(|ip| ip.parse::<IpAddr>().unwrap())
    );
    assert_eq!(target.host, TargetHost::Name("two.example".parse().unwrap()));
    let mut lines = [client.line().await, client.line().await];
    lines.sort();
    assert_eq!(lines, [2, 3].map(|id| refused(Some(id), Cause::Unresolved)));
}

#[tokio::test(start_paused = true)]
async fn names_that_hang_hold_neither_the_service_nor_addresses_up() {
    let mut client = Conversation::start(8);
    client.greeted().await;
    let lines: String = (1..=6).map(|id| map(id, "hang.example")).collect();
    client.send(&(lines + &map(7, "203.0.113.7"))).await;
    let question = client.question().await;
    answer(question, 20_001);
    assert_eq!(client.line().await, mapped(7, 20_001));
    for _ in 0..MAX_LOOKUPS_PER_CONNECTION {
        client.hanging.recv().await.unwrap();
    }
    // The clock does not advance by itself while a thread looks a name up.
    tokio::time::advance(RESOLVE_LIMIT).await;
    for _ in 1..=6 {
        assert!(client.line().await.contains("unresolved"));
    }
    assert!(client.hanging.try_recv().is_err(), "a look-up given up keeps its place");
    client.release.take();
}

#[tokio::test]
async fn strangers_and_crowds_are_refused_with_a_word() {
    let service = Service::start(vec![loopback(2)]).await;
    let mut stranger = service.connect(1).await;
    assert_eq!(first_line(&mut stranger).await, refused(None, Cause::NotAllowed));
    let mut crowd = Vec::new();
    for _ in 0..MAX_CONNECTIONS_PER_CLIENT {
        let mut stream = service.connect(2).await;
        assert!(first_line(&mut stream).await.contains(super::super::PROTOCOL));
        crowd.push(stream);
    }
    let mut late = service.connect(2).await;
    assert_eq!(first_line(&mut late).await, refused(None, Cause::TooManyConnections));
    assert_eq!(service.stats.refused(Cause::NotAllowed), 1);
}

#[tokio::test]
async fn a_flood_without_line_ends_is_told_why_it_is_closed() {
    let service = Service::start(vec![loopback(1)]).await;
    let mut stream = service.connect(1).await;
    stream.write_all(&[b'x'; 20_000]).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with(&refused(None, Cause::TooLong)), "{said}");
}

#[tokio::test]
async fn a_client_maps_lists_and_gives_up_over_real_sockets() {
    let service = Service::start(vec![loopback(1), loopback(2)]).await;
    let address = service.address;
    let talk = tokio::task::spawn_blocking(move || {
        let mut client = MappingClient::connect(address, Duration::from_secs(5)).unwrap();
        assert_eq!(client.greeting().idle, IDLE);
        let first = client.map(&target("203.0.113.7", "b.example")).unwrap();
        assert_eq!(first.lifetime, IDLE);
        assert_eq!(client.map(&target("203.0.113.7", "b.example")).unwrap(), first);
        let second = client.map(&target("203.0.113.7", "c.example")).unwrap();
        assert_ne!(first.address, second.address);
        let third = client.map(&target("203.0.113.7", "d.example"));
        assert!(matches!(third, Err(ClientError::Refused { cause, .. }) if cause == "quota"));
        let listed = client.list().unwrap();
        assert_eq!(
            listed.iter().map(|item| item.domain.as_str()).collect::<Vec<_>>(),
            ["b.example", "c.example"]
        );
        client.unmap(first.address).unwrap();
        let again = client.unmap(first.address);
        assert!(matches!(again, Err(ClientError::Refused { cause, .. }) if cause == "not_found"));
        client.ping().unwrap();
        client.list().unwrap().len()
    });
    assert_eq!(talk.await.unwrap(), 1);
    // The first client's quota is used up; another one is served.
    let mut other = service.connect(2).await;
    first_line(&mut other).await;
    other.write_all(map(9, "203.0.113.9").as_bytes()).await.unwrap();
    assert!(first_line(&mut other).await.contains("\"mapped\""));
}

#[tokio::test]
async fn a_service_of_another_kind_or_version_is_recognised() {
    for (said, is_version) in [
        ("{\"service\":\"tollgate-mapping\",\"version\":\"2.0\"}\n", true),
        ("SSH-2.0-x\r\n", false),
    ] {
        let listener = TcpListener::bind((loopback(1), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let client =
            tokio::task::spawn_blocking(move || MappingClient::connect(address, Duration::from_secs(5)).unwrap_err());
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        match client.await.unwrap() {
            ClientError::Version(version) => assert!(is_version && version.major == 2),
            ClientError::NotUnderstood => assert!(!is_version),
            ClientError::Io(_) | ClientError::Refused { .. } => panic!("{said}"),
        }
    }
}

/// One connection in memory, in virtual time, with the control loop's end in hand.
struct Conversation {
    from: BufReader<ReadHalf<DuplexStream>>,
    to: WriteHalf<DuplexStream>,
    questions: mpsc::Receiver<Question>,
    stats: Arc<MappingStats>,
    /// Look-ups of `hang.example` that have begun.
    hanging: mpsc::UnboundedReceiver<()>,
    /// Dropped, it lets them return.
    release: Option<std::sync::mpsc::Sender<()>>,
}

impl Conversation {
    fn start(queue: usize) -> Self {
        let (ours, theirs) = duplex(4_096);
        let (questions_to, questions) = mpsc::channel(queue);
        let stats: Arc<MappingStats> = Arc::default();
        let (release, held) = std::sync::mpsc::channel();
        let (hanging_to, hanging) = mpsc::unbounded_channel();
        let held = Mutex::new(held);
        let resolver: Resolver = Arc::new(move |name| match name {
            "two.example" => Ok(vec!["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]),
            "none.example" => Ok(Vec::new()),
            "hang.example" => {
                let _ = hanging_to.send(());
                let _ = held.lock().unwrap().recv();
                Ok(Vec::new())
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        });
        let config = MappingServiceConfig {
            allowed: Vec::new(),
            // More than is granted.
            idle: IDLE * 10,
            resolver,
        };
        let shared = Arc::new(Shared::new(config, questions_to, Arc::clone(&stats)));
        let session = stats.open(asker(), std::time::Instant::now()).unwrap();
        tokio::spawn(Connection::new(theirs, asker(), session, shared).serve());
        let (from, to) = split(ours);
        Self {
            from: BufReader::new(from),
            to,
            questions,
            stats,
            hanging,
            release: Some(release),
        }
    }

    async fn greeted(&mut self) {
        let greeting = Greeting::decode(self.line().await.as_bytes()).unwrap();
        assert_eq!((greeting.version, greeting.idle), (VERSION, IDLE));
    }

    async fn send(&mut self, lines: &str) {
        self.to.write_all(lines.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).await.unwrap();
        line
    }

    async fn question(&mut self) -> Question {
        self.questions.recv().await.unwrap()
    }

    async fn ended(&mut self) {
        assert_eq!(self.line().await, "");
    }

    fn is_counted(&self, sample: &str) {
        let mut page = Exposition::default();
        expose(&mut page, &self.stats);
        let page = page.into_text();
        assert!(page.contains(sample), "{sample} is not in {page}");
    }
}

/// The service on a real socket, and a control loop whose data plane is quick.
struct Service {
    address: SocketAddr,
    stats: Arc<MappingStats>,
    tasks: [JoinHandle<()>; 2],
}

impl Service {
    async fn start(allowed: Vec<IpAddr>) -> Self {
        let listener = TcpListener::bind((loopback(1), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stats: Arc<MappingStats> = Arc::default();
        let (questions_to, mut questions) = mpsc::channel(QUESTION_QUEUE);
        let config = MappingServiceConfig {
            allowed,
            idle: IDLE,
            resolver: system_resolver(),
        };
        let service = tokio::spawn(serve_mappings(listener, config, questions_to, Arc::clone(&stats)));
        let rules = LeaseRules {
            bind: loopback(1),
            ports: 20_000..=20_009,
            idle_timeout: IDLE,
            per_client_max: 2,
            quarantine: Duration::from_secs(60),
        };
        let mut desk = MappingDesk::new(rules, AddressRules::default(), Arc::clone(&stats));
        let desk = tokio::spawn(async move {
            let mut generation = 0;
            while let Some(question) = questions.recv().await {
                desk.ask(now(), question);
                generation += 1;
                desk.on_published(generation);
                desk.settle(now(), |_| true);
            }
        });
        let tasks = [service, desk];
        Self { address, stats, tasks }
    }

    async fn connect(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((loopback(last), 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn first_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

fn answer(question: Question, port: u16) {
    let mapped = Answer::Mapped {
        mapped: SocketAddr::from(([10, 0, 0, 2], port)),
        lifetime: IDLE,
    };
    question.reply.send(Ok(vec![mapped])).unwrap();
}

fn map(id: u32, host: &str) -> String {
    format!(
        "{{\"id\":{id},\"map\":{{\"host\":\"{host}\",\"port\":5061,\"transport\":\"tls\",\"domain\":\"b.example\"}}}}\n"
    )
}

fn mapped(id: u32, port: u16) -> String {
    let answer = Answer::Mapped {
        mapped: SocketAddr::from(([10, 0, 0, 2], port)),
        lifetime: IDLE,
    };
    Response { id: Some(id), answer }.encode()
}

fn refused(id: Option<u32>, cause: Cause) -> String {
    Response::refused(id, cause).encode()
}

fn target(host: &str, domain: &str) -> Target {
    Target::parse(host, 5061.try_into().unwrap(), "tls", domain).unwrap()
}

fn asker() -> IpAddr {
    IpAddr::from([10, 0, 1, 1])
}

fn loopback(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

fn now() -> Now {
    let unix = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    Now {
        instant: std::time::Instant::now(),
        unix,
    }
}
