//! Mutual TLS over loopback in front of the stand-in's Unix socket, and a policy's own words for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tollgate_control::ime::ValidatorSettings;
use tollgate_peers::certs::{Authority, Identity};
use tollgate_policy::{
    CertificateFiles, HostPort, Learned, Validator, ValidatorAddress, ValidatorProtocol, ValidatorTls,
};
use tollgate_testkit::validator::{Settings, StandIn};

use crate::kit::{Edge, Folder, RECONNECT, document};

const ONE: &str = "+14085550001";

#[tokio::test]
async fn facts_come_over_mutual_tls() {
    let stage = Stage::new(true).await;
    let mut edge = Edge::start(stage.settings("validator.example", &stage.ours));
    edge.until("the snapshot", |edge| edge.domain_of(ONE).is_some()).await;
}

#[tokio::test]
async fn a_certificate_of_another_name_is_refused() {
    let stage = Stage::new(true).await;
    let mut edge = Edge::start(stage.settings("other.example", &stage.ours));
    edge.until("the refusal", |edge| edge.stats.disconnects("tls") > 0)
        .await;
    assert!(edge.ledger.table().is_empty() && edge.seen.is_empty());
}

#[tokio::test]
async fn a_certificate_of_ours_that_the_validator_does_not_know_gets_nothing() {
    let stage = Stage::new(true).await;
    let stranger = Authority::new("stranger").issue(&["edge.example"], &[]);
    let mut edge = Edge::start(stage.settings("validator.example", &stranger));
    // With TLS 1.3 the refusal comes after our half of the handshake.
    edge.until("the refusal", |edge| {
        edge.stats.disconnects("tls") + edge.stats.disconnects("io") + edge.stats.disconnects("closed") > 0
    })
    .await;
    assert!(edge.ledger.table().is_empty() && edge.seen.is_empty());
}

#[tokio::test]
async fn plain_tcp_is_spoken_where_the_policy_has_no_tls() {
    let stage = Stage::new(false).await;
    let mut policy = stage.policy("validator.example", &stage.ours);
    policy.tls = None;
    let mut edge = Edge::start(ValidatorSettings::load(&policy, &learned()).unwrap());
    edge.until("the snapshot", |edge| edge.domain_of(ONE).is_some()).await;
}

#[tokio::test]
async fn unusable_files_are_named() {
    let stage = Stage::new(true).await;
    let mut policy = stage.policy("validator.example", &stage.ours);
    let tls = policy.tls.as_mut().unwrap();
    tls.files.trust_roots = stage.folder.write("empty.pem", "nothing here");
    let why = ValidatorSettings::load(&policy, &learned()).unwrap_err().to_string();
    assert!(
        why.contains("empty.pem") && why.contains("certificate of an authority"),
        "{why}"
    );
}

/// A validator behind a TLS or plain listener on loopback.
struct Stage {
    folder: Folder,
    authority: Authority,
    ours: Identity,
    address: SocketAddr,
    _validator: StandIn,
}

impl Stage {
    async fn new(is_tls: bool) -> Self {
        let folder = Folder::new();
        let validator = StandIn::start(Settings::feed(&folder.socket())).unwrap();
        validator.publish(document(&[(ONE, "one.example")])).unwrap();
        let authority = Authority::new("test authority");
        let ours = authority.issue(&["edge.example"], &[]);
        let theirs = authority.issue(&["validator.example"], &[]);
        let acceptor = is_tls.then(|| TlsAcceptor::from(server_config(&authority, &theirs)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(relay(listener, acceptor, folder.socket()));
        Self {
            folder,
            authority,
            ours,
            address,
            _validator: validator,
        }
    }

    fn policy(&self, server_name: &str, identity: &Identity) -> Validator {
        Validator {
            address: ValidatorAddress::Tcp(HostPort::Address(self.address)),
            protocol: ValidatorProtocol::Feed,
            peer_uid: None,
            tls: Some(ValidatorTls {
                files: CertificateFiles {
                    certificate: self.folder.write("edge.pem", &identity.cert_pem),
                    private_key: self.folder.write("edge.key", &identity.key_pem),
                    trust_roots: self.folder.write("roots.pem", self.authority.ca_pem()),
                },
                server_name: server_name.to_owned(),
            }),
            reconnect: RECONNECT,
            silence: Duration::from_secs(15),
        }
    }

    fn settings(&self, server_name: &str, identity: &Identity) -> ValidatorSettings {
        ValidatorSettings::load(&self.policy(server_name, identity), &learned()).unwrap()
    }
}

fn learned() -> Learned {
    Learned {
        routes_max: 1_000,
        file: None,
        allow_private_targets: false,
    }
}

fn server_config(authority: &Authority, identity: &Identity) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.ca_pem().as_bytes()).unwrap())
        .unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = vec![CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config.with_client_cert_verifier(verifier.build().unwrap());
    Arc::new(config.with_single_cert(chain, key).unwrap())
}

async fn relay(listener: TcpListener, acceptor: Option<TlsAcceptor>, socket: PathBuf) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (acceptor, socket) = (acceptor.clone(), socket.clone());
        tokio::spawn(async move {
            let mut validator = UnixStream::connect(socket).await.unwrap();
            let _ = match acceptor {
                None => copy_bidirectional(&mut stream, &mut validator).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(mut stream) => copy_bidirectional(&mut stream, &mut validator).await,
                    Err(why) => Err(why),
                },
            };
        });
    }
}
