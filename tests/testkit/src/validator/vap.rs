//! One connection of the stand-in over VAP, and what is done wrong on it.
//!
//! Every subscription gets all routes once, and again after each change: VAP has no other word for it.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tollgate_contract::Pii;
use tollgate_validator::VServiceId;
use tollgate_validator::facts::UpFact;
use tollgate_validator::valinfo::ValInfo;
use tollgate_validator::vap::session::{Event, Server, ServerConfig, ServerOutput};

use super::{Mischief, Shared, lock, now, read};

/// Numbers in one Notify: a document has less than 32 KiB.
const GROUPS: usize = 10;

/// Times that everything is told in one turn of a flood.
const FLOOD_PER_TURN: usize = 100;

/// The first byte pair of a request for Notify.
const NOTIFY: [u8; 2] = [0x00, 0x0a];

pub(super) fn serve(mut stream: UnixStream, shared: &Shared, config: &ServerConfig) -> io::Result<()> {
    let mut server = Server::new(config.clone(), StdRng::from_os_rng(), now());
    let mut chunk = vec![0; 16 << 10];
    let mut subscribed: Vec<VServiceId> = Vec::new();
    let mut told = 0;
    while !shared.is_over() {
        let Some(count) = read(&stream, &mut chunk)? else {
            return Ok(());
        };
        server.handle_bytes(now(), &chunk[..count]);
        if server.poll_timeout().is_some_and(|due| due <= now().instant) {
            server.handle_timeout(now());
        }
        let revision = lock(&shared.published).source.revision();
        let is_flooding = shared.mischief() == Mischief::Flood;
        if (revision != told || is_flooding) && !subscribed.is_empty() {
            told = revision;
            for vservice in &subscribed {
                let times = if is_flooding { FLOOD_PER_TURN } else { 1 };
                (0..times).for_each(|_| notify(&mut server, shared, *vservice));
            }
        }
        while let Some(output) = server.poll_output() {
            match output {
                ServerOutput::Send(bytes) => send(&mut stream, shared, bytes)?,
                ServerOutput::Close => return Ok(()),
                ServerOutput::Event(Event::Subscribed(vservice)) => {
                    subscribed.push(vservice);
                    notify(&mut server, shared, vservice);
                    told = revision;
                }
                ServerOutput::Event(Event::Vcr(vcr)) => shared.remember(UpFact::Vcr(vcr)),
                ServerOutput::Event(_) => {}
            }
        }
    }
    Ok(())
}

fn send(stream: &mut UnixStream, shared: &Shared, mut bytes: Vec<u8>) -> io::Result<()> {
    let is_notify = bytes.starts_with(&NOTIFY);
    match shared.mischief() {
        Mischief::Silence if is_notify => return Ok(()),
        Mischief::WrongMac if is_notify => {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        }
        Mischief::EndlessFrame => bytes = vec![0xff; 64],
        Mischief::None
        | Mischief::WrongDigest
        | Mischief::HalfSnapshot
        | Mischief::Silence
        | Mischief::Flood
        | Mischief::Garbage
        | Mischief::WrongMac => {}
    }
    stream.write_all(&bytes)
}

fn notify(server: &mut Server, shared: &Shared, vservice: VServiceId) {
    let groups: Vec<ValInfo> = lock(&shared.published)
        .routes()
        .map(|route| ValInfo {
            number: Pii(route.number.to_string()),
            ticket: route.ticket.clone(),
            uris: route.targets.iter().map(|target| target.uri.clone()).collect(),
        })
        .collect();
    for groups in groups.chunks(GROUPS) {
        server.notify(vservice, groups);
    }
}
