//! The stand-in as a program, as the lab starts it.

use std::process::{Child, Command};

use crate::kit::{Edge, Folder, settings};

const ONE: &str = "+14085550001";

/// The program, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_serves_its_file_and_follows_it() {
    let folder = Folder::new();
    let facts = folder.write("facts.json", &route("one.example"));
    let program = Command::new(env!("CARGO_BIN_EXE_validator"))
        .args(["--socket".as_ref(), folder.socket().as_os_str()])
        .args(["--facts".as_ref(), facts.as_os_str()])
        .spawn();
    let _program = Program(program.unwrap());
    let mut edge = Edge::start(settings(&folder.socket()));
    edge.until("the file", |edge| edge.domain_of(ONE).as_deref() == Some("one.example"))
        .await;
    folder.write("facts.json", "{ this is no JSON");
    folder.write("facts.json", &route("two.example"));
    edge.until("its next state", |edge| {
        edge.domain_of(ONE).as_deref() == Some("two.example")
    })
    .await;
    assert_eq!(edge.ledger.table().len(), 1);
}

fn route(domain: &str) -> String {
    format!(
        r#"{{"routes":[{{"number":"{ONE}","domain":"{domain}","targets":["192.0.2.4:5061"],
            "ticket":"AAEAEGunuBCdrUHRgLQAwE_UMMg."}}]}}"#
    )
}
