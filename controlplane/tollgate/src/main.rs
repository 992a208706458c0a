//! `tollgate`: one binary for the edge, its checks, its live state, tickets, and a demonstration.
//!
//! The only place that knows both planes.
#![forbid(unsafe_code)]

mod admin_client;
mod args;
mod boot;
mod check;
mod core;
#[cfg(feature = "demo")]
mod demo;
mod edge;
mod exit;
mod logging;
mod map;
mod mappings;
mod netfilter;
mod plane;
mod reload;
mod run;
mod show;
mod steering;
mod ticket;
mod validator;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Verb};

fn main() -> ExitCode {
    match Args::parse().verb {
        Verb::Run { policy } => run::run(&policy),
        Verb::Check { policy, json } => check::check(&policy, json),
        Verb::Show(options) => show::show(&options),
        Verb::Reload(options) => reload::ask(&options),
        Verb::Drain(at) => show::drain(&at),
        Verb::Netfilter(options) => netfilter::netfilter(&options),
        Verb::Map(options) => map::map(&options),
        Verb::Ticket(verb) => ticket::run(&verb),
        #[cfg(feature = "demo")]
        Verb::Demo { json, keep, write } => match write {
            Some(folder) => exit::of(demo::write(&folder)),
            None => demo::run(&demo::DemoOptions { json, keep }),
        },
    }
}
