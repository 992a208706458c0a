//! One connection of the stand-in over the native feed, and what is done wrong on it.
//!
//! The writer's frames go out as they are, but for the one that a mischief names.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tollgate_validator::facts::Fact;
use tollgate_validator::feed::session::{Writer, WriterConfig, WriterOutput};
use tollgate_validator::feed::{Digest, Frame, Message, Record};

use super::{Mischief, Shared, lock, now, read};

/// Records of a snapshot that are told before it breaks off.
const HALF: usize = 1;

pub(super) fn serve(stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let config = WriterConfig {
        // A test waits for it.
        heartbeat_interval: Duration::from_secs(1),
        ..WriterConfig::default()
    };
    let mut connection = Connection {
        writer: Writer::new(config, now()),
        stream,
        shared,
        records: None,
        is_greeted: false,
    };
    let mut chunk = vec![0; 16 << 10];
    while !shared.is_over() {
        let Some(count) = read(&connection.stream, &mut chunk)? else {
            return Ok(());
        };
        connection.take(&chunk[..count]);
        if !connection.send()? {
            return Ok(());
        }
        if connection.is_greeted && !connection.misbehave()? {
            return Ok(());
        }
    }
    Ok(())
}

struct Connection<'s> {
    writer: Writer,
    stream: UnixStream,
    shared: &'s Shared,
    /// Records told of the snapshot under way.
    records: Option<usize>,
    is_greeted: bool,
}

impl Connection<'_> {
    fn take(&mut self, bytes: &[u8]) {
        let now = now();
        let published = lock(&self.shared.published);
        self.writer.set_ring(*lock(&self.shared.ring));
        if !bytes.is_empty() {
            self.writer.handle_bytes(now, &published.source, bytes);
        }
        if self.writer.poll_timeout().is_some_and(|due| due <= now.instant) {
            self.writer.handle_timeout(now, &published.source);
        }
    }

    /// Sends what there is; whether the connection goes on.
    fn send(&mut self) -> io::Result<bool> {
        loop {
            let output = self.writer.poll_output(&lock(&self.shared.published).source);
            match output {
                None => return Ok(true),
                Some(WriterOutput::Send(frame)) => {
                    if !self.send_frame(&frame)? {
                        return Ok(false);
                    }
                }
                Some(WriterOutput::Up(fact)) => self.shared.remember(fact),
                Some(WriterOutput::Report(_)) => {}
                Some(WriterOutput::Close(_)) => return Ok(false),
            }
        }
    }

    fn send_frame(&mut self, frame: &Frame) -> io::Result<bool> {
        let mischief = self.shared.mischief();
        if self.is_greeted && mischief == Mischief::Silence {
            return Ok(true);
        }
        match Message::parse(frame.body()) {
            Ok(Message::HelloAck(_)) => self.is_greeted = true,
            Ok(Message::SnapshotBegin(_)) => {
                self.shared.snapshots.fetch_add(1, Ordering::SeqCst);
                self.records = Some(0);
            }
            Ok(Message::Record { .. }) => {
                let records = self.records.as_mut().filter(|_| mischief == Mischief::HalfSnapshot);
                if let Some(records) = records {
                    if *records >= HALF {
                        return Ok(false);
                    }
                    *records += 1;
                }
            }
            Ok(Message::SnapshotEnd(mut end)) => {
                self.records = None;
                if mischief == Mischief::WrongDigest {
                    end.digest = Digest([0; 32]);
                    let wrong = Message::SnapshotEnd(end).encode().map_err(io::Error::other)?;
                    self.stream.write_all(wrong.bytes())?;
                    return Ok(true);
                }
            }
            Ok(_) | Err(_) => {}
        }
        self.stream.write_all(frame.bytes())?;
        Ok(true)
    }

    /// What is sent beside the writer's frames; whether the connection goes on.
    fn misbehave(&mut self) -> io::Result<bool> {
        match self.shared.mischief() {
            Mischief::None
            | Mischief::WrongDigest
            | Mischief::HalfSnapshot
            | Mischief::Silence
            | Mischief::WrongMac => Ok(true),
            Mischief::EndlessFrame => {
                self.stream.write_all(&u32::MAX.to_be_bytes())?;
                Ok(false)
            }
            Mischief::Garbage => {
                while !self.shared.is_over() {
                    self.stream
                        .write_all(Frame::new(b"garbage").map_err(io::Error::other)?.bytes())?;
                }
                Ok(false)
            }
            Mischief::Flood => self.flood(),
        }
    }

    /// Tells the first route again and again under new names and revisions; what the other end answers is read, so that
    /// it can go on answering.
    fn flood(&mut self) -> io::Result<bool> {
        let (first, mut revision) = {
            let published = lock(&self.shared.published);
            let first = published.routes().next().cloned();
            (first, published.source.revision())
        };
        let Some(route) = first else {
            return Ok(true);
        };
        let mut answers = self.stream.try_clone()?;
        std::thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
        self.stream.set_read_timeout(None)?;
        let template = route.route_id.to_string();
        let record = Record::of(&Fact::RouteUpsert(Box::new(route)));
        let message = Message::Record { revision: 0, record };
        let text = message.encode().map_err(io::Error::other)?;
        let text = String::from_utf8_lossy(text.body()).into_owned();
        while !self.shared.is_over() {
            revision += 1;
            let body = text.replacen(&template, &format!("flood-{revision}"), 1).replacen(
                "\"revision\":0",
                &format!("\"revision\":{revision}"),
                1,
            );
            self.stream
                .write_all(Frame::new(body.as_bytes()).map_err(io::Error::other)?.bytes())?;
        }
        Ok(false)
    }
}
