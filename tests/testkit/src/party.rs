//! A scripted SIP party: it keeps the little a dialog needs and writes whatever the test asks for, legal or not.

use std::net::SocketAddr;

use tollgate_contract::{Side, Transport};

use crate::message::Message;

/// The dialog a party is in, as it sees it (RFC 3261 §12).
#[derive(Clone, Debug, Default)]
struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    routes: Vec<String>,
}

/// One end of a call.
#[derive(Clone, Debug)]
pub struct Party {
    /// The side of the edge it is on.
    pub side: Side,
    /// How it speaks SIP.
    pub transport: Transport,
    /// Its SIP address.
    pub address: SocketAddr,
    /// Where it wants its RTP; RTCP one above.
    pub media: SocketAddr,
    /// Its own URI, as in From or To.
    pub uri: String,
    /// Its own Contact URI.
    pub contact: String,
    /// The URI it calls.
    pub calls: String,
    /// Its tag.
    pub tag: String,
    /// The number of its last request.
    pub cseq: u32,
    /// Record-Routes it puts into what makes a dialog.
    pub record_routes: Vec<String>,
    /// Fields it adds to every INVITE.
    pub extra: Vec<(String, String)>,
    /// The INVITE it sent last.
    pub invite: Option<Message>,
    branches: u32,
    calls_made: u32,
    dialog: Dialog,
}

impl Party {
    /// A party that has done nothing yet.
    #[must_use]
    pub fn new(side: Side, transport: Transport, address: SocketAddr, media: SocketAddr) -> Self {
        let (user, calls, cseq) = match side {
            Side::Inside => ("+12125550100", "sip:+14085555432@b.example", 100),
            Side::Outside => ("+14085555432", "sip:+12125550100@a.example", 700),
        };
        let host = match side {
            Side::Inside => address.to_string(),
            Side::Outside => "b.example".to_owned(),
        };
        Self {
            side,
            transport,
            address,
            media,
            uri: format!("sip:{user}@{host}"),
            contact: format!("sip:ua-{}@{address};transport={}", side.name(), transport.name()),
            calls: calls.to_owned(),
            tag: format!("tag-{}", side.name()),
            cseq,
            record_routes: Vec::new(),
            extra: Vec::new(),
            invite: None,
            branches: 0,
            calls_made: 0,
            dialog: Dialog::default(),
        }
    }

    /// The Call-ID of its present dialog.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.dialog.call_id
    }

    /// A first INVITE of a new call.
    pub fn invite(&mut self, sdp: Option<&str>) -> Message {
        self.calls_made += 1;
        self.tag = format!("tag-{}-{}", self.side.name(), self.calls_made);
        let local = format!("\"A caller\" <{}>;tag={}", self.uri, self.tag);
        self.dialog = Dialog {
            call_id: format!("call-{}-{}@{}", self.side.name(), self.calls_made, self.address.ip()),
            local,
            remote: format!("<{}>", self.calls),
            target: self.calls.clone(),
            routes: Vec::new(),
        };
        self.reinvite(sdp)
    }

    /// An INVITE within the dialog.
    pub fn reinvite(&mut self, sdp: Option<&str>) -> Message {
        let mut invite = self.request("INVITE").with_sdp(sdp);
        for (name, value) in self.extra.clone() {
            invite = invite.with(&name, value);
        }
        self.invite = Some(invite.clone());
        invite
    }

    /// A request within the dialog, with the next number and a new branch.
    pub fn request(&mut self, method: &str) -> Message {
        self.cseq += 1;
        self.numbered(method, self.cseq)
    }

    /// A request within the dialog with a number of the test's choice.
    pub fn numbered(&mut self, method: &str, cseq: u32) -> Message {
        let via = self.via();
        let mut out = Message::request(method, &self.dialog.target).with("Via", via);
        for route in &self.dialog.routes {
            out = out.with("Route", route);
        }
        out = out
            .with("Max-Forwards", "70")
            .with("From", &self.dialog.local)
            .with("To", &self.dialog.remote)
            .with("Call-ID", &self.dialog.call_id)
            .with("CSeq", format!("{cseq} {method}"));
        if method == "INVITE" {
            for route in &self.record_routes {
                out = out.with("Record-Route", route);
            }
        }
        match method {
            "INVITE" | "UPDATE" | "SUBSCRIBE" | "NOTIFY" | "REFER" => {
                out.with("Contact", format!("<{}>;+sip.instance=\"x\"", self.contact))
            }
            _ => out,
        }
    }

    /// The ACK to a 2xx of its last INVITE.
    ///
    /// # Panics
    /// If it sent none.
    pub fn ack(&mut self, sdp: Option<&str>) -> Message {
        let number = self.invite.as_ref().expect("an INVITE was sent").cseq().0;
        self.numbered("ACK", number).with_sdp(sdp)
    }

    /// The ACK to a refusal of its last INVITE: the same branch.
    ///
    /// # Panics
    /// If it sent none.
    #[must_use]
    pub fn ack_refusal(&self, refusal: &Message) -> Message {
        let to = refusal.field("To").expect("a To").to_owned();
        self.hop("ACK").set("To", to)
    }

    /// The CANCEL of its last INVITE.
    ///
    /// # Panics
    /// If it sent none.
    #[must_use]
    pub fn cancel(&self) -> Message {
        self.hop("CANCEL")
    }

    /// A response to a request, with its tag, and its Contact where a target is told.
    #[must_use]
    pub fn response(&self, request: &Message, status: u16, sdp: Option<&str>) -> Message {
        self.response_tagged(request, status, sdp, &self.tag)
    }

    /// The same from another fork: with a tag of the test's choice.
    #[must_use]
    pub fn response_tagged(&self, request: &Message, status: u16, sdp: Option<&str>, tag: &str) -> Message {
        let mut out = Message::status_line(status);
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.all(name) {
                let untagged = name == "To" && status > 100 && !value.contains(";tag=");
                let value = if untagged {
                    format!("{value};tag={tag}")
                } else {
                    value.to_owned()
                };
                out = out.with(name, value);
            }
        }
        let makes_target = matches!(request.method(), "INVITE" | "UPDATE") && (101..300).contains(&status);
        if makes_target {
            for route in &self.record_routes {
                out = out.with("Record-Route", route);
            }
            out = out.with("Contact", format!("<{}>", self.contact));
        }
        out.with_sdp(sdp)
    }

    /// What a message from the edge tells it: the dialog, its target and route set.
    pub fn hear(&mut self, message: &Message) {
        let target = message.bracketed("Contact").map(str::to_owned);
        let is_invite = message.field("CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"));
        let routes: Vec<String> = message.all("Record-Route").into_iter().map(str::to_owned).collect();
        match message.status() {
            None if message.method() == "INVITE" && !message.field("To").unwrap_or_default().contains(";tag=") => {
                self.calls_made += 1;
                self.tag = format!("tag-{}-{}", self.side.name(), self.calls_made);
                self.dialog = Dialog {
                    call_id: message.field("Call-ID").unwrap_or_default().to_owned(),
                    local: format!("{};tag={}", message.field("To").unwrap_or_default(), self.tag),
                    remote: message.field("From").unwrap_or_default().to_owned(),
                    target: target.unwrap_or_default(),
                    routes,
                };
            }
            None if matches!(message.method(), "INVITE" | "UPDATE") => {
                self.dialog.target = target.unwrap_or_default();
            }
            Some(101..300) if is_invite && message.param("To", "tag").is_some() => {
                self.dialog.remote = message.field("To").unwrap_or_default().to_owned();
                if let Some(target) = target {
                    self.dialog.target = target;
                }
                self.dialog.routes = routes.into_iter().rev().collect();
            }
            None | Some(_) => {}
        }
    }

    fn hop(&self, method: &str) -> Message {
        let invite = self.invite.as_ref().expect("an INVITE was sent");
        let mut out = Message::request(method, invite.uri());
        for name in ["Via", "Route", "From", "To", "Call-ID"] {
            for value in invite.all(name) {
                out = out.with(name, value);
            }
        }
        out.with("CSeq", format!("{} {method}", invite.cseq().0))
            .with("Max-Forwards", "70")
    }

    fn via(&mut self) -> String {
        self.branches += 1;
        let rport = if self.transport == Transport::Udp { ";rport" } else { "" };
        format!(
            "SIP/2.0/{} {};branch=z9hG4bK-{}-{}{rport}",
            self.transport.via_name(),
            self.address,
            self.side.name(),
            self.branches
        )
    }
}
