//! The relay between plain sockets that stand for edges.

use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn datagrams_get_the_advertised_address_of_their_sender() {
    let edges = [edge(41, 33_000), edge(42, 33_000)];
    let relay = start(&edges, PayloadBook::new()).await;
    let a = UdpSocket::bind((edges[0].bound_media, 33_000)).await.unwrap();
    let b = UdpSocket::bind((edges[1].bound_media, 33_002)).await.unwrap();
    a.send_to(b"hello", (edges[1].advertised_media, 33_002)).await.unwrap();
    let mut buffer = [0; 64];
    let (len, from) = receive(&b, &mut buffer).await.unwrap();
    assert_eq!(
        (&buffer[..len], from),
        (&b"hello"[..], SocketAddr::new(edges[0].advertised_media, 33_000))
    );
    b.send_to(b"back", from).await.unwrap();
    let (len, from) = receive(&a, &mut buffer).await.unwrap();
    assert_eq!(
        (&buffer[..len], from),
        (&b"back"[..], SocketAddr::new(edges[1].advertised_media, 33_002))
    );
    assert_eq!(
        (relay.counters().udp_packets, relay.counters().unroutable),
        (vec![1, 1], 0)
    );
}

#[tokio::test]
async fn loss_is_within_two_points_and_ends_when_cleared() {
    let edges = [edge(43, 33_100), edge(44, 33_100)];
    let relay = start(&edges, PayloadBook::new()).await;
    let a = UdpSocket::bind((edges[0].bound_media, 33_100)).await.unwrap();
    let b = UdpSocket::bind((edges[1].bound_media, 33_100)).await.unwrap();
    relay.impair(Impairment {
        loss_ratio: 0.3,
        ..Impairment::default()
    });
    let arrived = flood(&a, &b, (edges[1].advertised_media, 33_100).into(), 6_000).await;
    let loss = 1.0 - f64::from(arrived) / 6_000.0;
    assert!((0.28..=0.32).contains(&loss), "{loss}");
    relay.clear();
    assert_eq!(
        flood(&a, &b, (edges[1].advertised_media, 33_100).into(), 200).await,
        200
    );
}

#[tokio::test]
async fn delay_holds_packets_back() {
    let edges = [edge(45, 33_200), edge(46, 33_200)];
    let relay = start(&edges, PayloadBook::new()).await;
    let a = UdpSocket::bind((edges[0].bound_media, 33_200)).await.unwrap();
    let b = UdpSocket::bind((edges[1].bound_media, 33_200)).await.unwrap();
    relay.impair(Impairment {
        delay: Duration::from_millis(80),
        corrupt_ratio: 1.0,
        ..Impairment::default()
    });
    let started = std::time::Instant::now();
    a.send_to(&[7; 20], (edges[1].advertised_media, 33_200)).await.unwrap();
    let mut buffer = [0; 64];
    let (len, _) = receive(&b, &mut buffer).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(80));
    assert_eq!(buffer[..len].iter().filter(|byte| **byte != 7).count(), 1);
    assert_eq!(relay.counters().corrupted, 1);
}

#[tokio::test]
async fn clear_payload_is_flagged_and_sealed_bytes_are_not() {
    let edges = [edge(47, 33_300), edge(48, 33_300)];
    let book = PayloadBook::new();
    let relay = start(&edges, book.clone()).await;
    assert!(relay.self_test());
    assert_eq!(relay.counters().cleartext_packets, 0);
    let a = UdpSocket::bind((edges[0].bound_media, 33_300)).await.unwrap();
    let b = UdpSocket::bind((edges[1].bound_media, 33_300)).await.unwrap();
    let payload = book.send_next(book.open_stream(3));
    let mut buffer = [0; 512];
    let sealed: [u8; 172] = std::array::from_fn(|_| rand::random());
    for (packet, flagged) in [(&sealed[..], 0), (&payload[40..60], 1), (b"INVITE sip:x", 2)] {
        a.send_to(packet, (edges[1].advertised_media, 33_300)).await.unwrap();
        receive(&b, &mut buffer).await.unwrap();
        assert_eq!(relay.counters().cleartext_packets, flagged);
    }
}

#[tokio::test]
async fn connections_are_joined_and_watched() {
    let edges = [edge(49, 33_400), edge(50, 33_400)];
    let relay = start(&edges, PayloadBook::new()).await;
    relay.watch_text("+14085550100");
    let listener = TcpListener::bind(edges[1].bound_sip).await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((edges[0].bound_sip.ip(), 0).into()).unwrap();
    let mut near = socket.connect(edges[1].advertised_sip).await.unwrap();
    let (mut far, from) = listener.accept().await.unwrap();
    assert_eq!(from.ip(), edges[0].advertised_sip.ip());
    near.write_all(b"sealed").await.unwrap();
    let mut buffer = [0; 6];
    far.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"sealed");
    far.write_all(b"to +14085550100").await.unwrap();
    let mut answer = [0; 15];
    near.read_exact(&mut answer).await.unwrap();
    let counters = relay.counters();
    assert_eq!(
        (counters.tcp_connections, counters.tcp_bytes),
        (vec![0, 1], vec![15, 6])
    );
    assert_eq!(counters.cleartext_texts, 1);
}

fn edge(number: u8, first_port: u16) -> RelayEdge {
    RelayEdge {
        advertised_sip: SocketAddr::from(([127, 77, number, 1], 5061)),
        bound_sip: SocketAddr::from(([127, 77, number, 2], 5061)),
        advertised_media: IpAddr::from([127, 77, number, 3]),
        bound_media: IpAddr::from([127, 77, number, 4]),
        first_port,
        port_count: 4,
    }
}

async fn start(edges: &[RelayEdge], book: PayloadBook) -> Relay {
    Relay::start(RelayConfig {
        edges: edges.to_vec(),
        book,
        texts: Vec::new(),
        seed: 11,
    })
    .await
    .unwrap()
}

async fn flood(from: &UdpSocket, to: &UdpSocket, via: SocketAddr, packets: u32) -> u32 {
    let mut arrived = 0;
    let mut buffer = [0; 64];
    for sent in 1..=packets {
        from.send_to(b"x", via).await.unwrap();
        if sent % 20 == 0 {
            while timeout(Duration::from_millis(3), to.recv_from(&mut buffer))
                .await
                .is_ok()
            {
                arrived += 1;
            }
        }
    }
    while receive(to, &mut buffer).await.is_some() {
        arrived += 1;
    }
    arrived
}

async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    timeout(Duration::from_millis(500), socket.recv_from(buffer))
        .await
        .ok()?
        .ok()
}
