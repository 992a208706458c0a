//! How requests and answers are written in JSON: the shapes alone.
//!
//! Judges no value beyond its kind; the types of [`codec`](super) do.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_validator::facts::TargetHost;

use super::NotUnderstood;

#[derive(Deserialize)]
pub(super) struct Greeting {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) idle_s: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: NonZeroU16,
    pub(super) transport: String,
    pub(super) domain: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
}

#[derive(Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub(super) after: u16,
}

#[derive(Deserialize)]
pub(super) struct Ping {}

#[derive(Deserialize)]
pub(super) struct Response {
    pub(super) id: Option<u32>,
    pub(super) mapped: Option<Mapped>,
    pub(super) unmapped: Option<Ping>,
    pub(super) item: Option<Item>,
    pub(super) listed: Option<Listed>,
    pub(super) pong: Option<Ping>,
    pub(super) refused: Option<Refused>,
}

#[derive(Deserialize)]
pub(super) struct Mapped {
    pub(super) ip: IpAddr,
    pub(super) port: NonZeroU16,
    pub(super) lifetime_s: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) host: String,
    pub(super) peer_ip: IpAddr,
    pub(super) peer_port: u16,
    pub(super) transport: String,
    pub(super) domain: String,
    pub(super) lifetime_s: u64,
}

#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) count: u16,
    pub(super) more: bool,
}

#[derive(Deserialize)]
pub(super) struct Refused {
    pub(super) cause: String,
    pub(super) text: String,
}

impl From<&super::Target> for Target {
    fn from(target: &super::Target) -> Self {
        Self {
            host: match &target.host {
                TargetHost::Ip(ip) => ip.to_string(),
                TargetHost::Name(name) => name.to_string(),
            },
            port: target.port,
            transport: target.transport.name().to_owned(),
            domain: target.domain.to_string(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: address.ip(),
            port: address.port(),
        }
    }
}

impl From<&super::Item> for Item {
    fn from(item: &super::Item) -> Self {
        Self {
            ip: item.mapped.ip(),
            port: item.mapped.port(),
            host: item.host.clone(),
            peer_ip: item.global.ip(),
            peer_port: item.global.port(),
            transport: item.transport.name().to_owned(),
            domain: item.domain.to_string(),
            lifetime_s: item.lifetime.as_secs(),
        }
    }
}

impl TryFrom<Item> for super::Item {
    type Error = NotUnderstood;

    fn try_from(wire: Item) -> Result<Self, NotUnderstood> {
        Ok(Self {
            mapped: SocketAddr::new(wire.ip, wire.port),
            host: wire.host,
            global: SocketAddr::new(wire.peer_ip, wire.peer_port),
            transport: wire.transport.parse().map_err(|_| NotUnderstood)?,
            domain: wire.domain.parse().map_err(|_| NotUnderstood)?,
            lifetime: Duration::from_secs(wire.lifetime_s),
        })
    }
}
