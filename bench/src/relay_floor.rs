//! An empty relay: what comes in on one socket of a pair goes out of the other. The least a relay with a socket a port costs.
//!
//! It looks at no byte, keeps no statistics and checks nothing but that a port hears one sender alone.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde_json::Value;

/// Which ports, and how it waits.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// First address and port of the inside; each call takes the next port.
    #[arg(long)]
    inside: SocketAddr,
    /// The same outside.
    #[arg(long)]
    outside: SocketAddr,
    /// Pairs of ports.
    #[arg(long)]
    calls: u16,
    /// Under load it wakes at most once in so long, microseconds; 0 wakes for each packet.
    #[arg(long, default_value_t = 0)]
    wait_us: u64,
}

/// One socket. It is connected to whoever sent first.
struct Port {
    socket: UdpSocket,
    is_connected: bool,
}

/// Relays until it is killed.
///
/// # Errors
/// In words, when a port or the poller cannot be had.
#[allow(clippy::print_stdout, reason = "tells who started it that it is ready")]
pub(crate) fn run(options: &Options) -> Result<Value, String> {
    let mut ports = bind(options).map_err(|why| format!("cannot bind: {why}"))?;
    println!("ready");
    relay(&mut ports, Duration::from_micros(options.wait_us)).map_err(|why| why.to_string())?;
    Ok(Value::Null)
}

/// All ports: the inside's at even places, the outside's after each.
fn bind(options: &Options) -> io::Result<Vec<Port>> {
    let mut ports = Vec::new();
    for call in 0..options.calls {
        for first in [options.inside, options.outside] {
            let port = first.port().checked_add(call).ok_or(io::ErrorKind::InvalidInput)?;
            let socket = UdpSocket::bind((first.ip(), port))?;
            socket.set_nonblocking(true)?;
            ports.push(Port {
                socket,
                is_connected: false,
            });
        }
    }
    Ok(ports)
}

fn relay(ports: &mut [Port], wait: Duration) -> io::Result<()> {
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    for (place, port) in ports.iter().enumerate() {
        epoll::add(&poller, &port.socket, EventData::new_u64(place as u64), EventFlags::IN)?;
    }
    let mut events = Vec::with_capacity(EVENTS_PER_WAKE);
    let mut buffer = [0; 2_048];
    loop {
        events.clear();
        epoll::wait(&poller, spare_capacity(&mut events), None)?;
        let woken = Instant::now();
        for event in &events {
            // One packet an event: a socket with more is told again, which costs less than asking it in vain.
            pass_on(ports, event.data.u64() as usize, &mut buffer);
        }
        let rest = wait.saturating_sub(woken.elapsed());
        if !rest.is_zero() && events.len() < EVENTS_PER_WAKE {
            std::thread::sleep(rest);
        }
    }
}

/// Passes one packet on.
fn pass_on(ports: &mut [Port], place: usize, buffer: &mut [u8]) {
    let Some(port) = ports.get_mut(place) else {
        return;
    };
    let received = if port.is_connected {
        port.socket.recv(buffer)
    } else {
        port.socket
            .recv_from(buffer)
            .inspect(|(_, from)| {
                port.is_connected = port.socket.connect(from).is_ok();
            })
            .map(|(len, _)| len)
    };
    let Ok(len) = received else {
        return;
    };
    if let Some(other) = ports.get(place ^ 1).filter(|other| other.is_connected) {
        // A packet that cannot be sent is lost, as in a network.
        let _ = other.socket.send(&buffer[..len]);
    }
}

/// Readiness events taken per wait.
const EVENTS_PER_WAKE: usize = 256;
