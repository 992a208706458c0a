//! Message sequences that keep or break the rules of dialogs and transactions, played in virtual time (RFC 3261, 3262,
//! 3264, 3311, 6665).
//!
//! It knows the notation of the file and no sequence: A is the far party outside, B the agent inside, P the edge.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tollgate_contract::{Side, SrtpSuite, Way};

use super::fields::{self, CaseError, Checked, caught, list, malformed, mismatch, same, text};
use super::report::SuiteReport;
use crate::message::Message;
use crate::sdp::{Heard, heard};
use crate::trapezoid::{Setup, Talk, Trapezoid};

/// What the file's CALL stands for.
const CALL: [&str; 8] = [
    "A>P INVITE sdp",
    "P>B INVITE",
    "B>P 180",
    "P>A 180",
    "B>P 200 sdp",
    "P>A 200",
    "A>P ACK",
    "P>B ACK",
];

/// How long an expected message may take.
const ARRIVAL: Duration = Duration::from_secs(2);

/// Packets are 20 ms apart.
const FRAME: Duration = Duration::from_millis(20);

/// Packets of a call that is well.
const GOOD_FRAMES: usize = 150;

/// Packets at most until the edge must have asked for the PSTN: 40 s.
const BAD_FRAMES: usize = 2_000;

pub(super) fn run(folder: &Path, report: &mut SuiteReport) {
    fields::run_folder(
        folder,
        report,
        &[("edge-sip-state/1", |file| {
            file.each("cases", |_, case| caught(|| play(case)))
        })],
    );
}

fn play(case: &Value) -> Checked {
    let afterwards = text(case, "afterwards")?;
    let mut ladder = Ladder::new();
    for step in list(case, "steps")? {
        let step = step.as_str().ok_or_else(|| malformed("a step is no text"))?;
        let expanded: &[&str] = if step == "CALL" { &CALL } else { &[step] };
        for step in expanded {
            ladder.step(step)?;
        }
    }
    ladder.afterwards(afterwards)
}

/// One step: who, what, how, and the remark in brackets.
struct Step<'s> {
    head: &'s str,
    words: Vec<&'s str>,
    note: &'s str,
}

impl<'s> Step<'s> {
    fn read(step: &'s str) -> Self {
        let (plain, note) = step.split_once('[').unwrap_or((step, ""));
        let mut words = plain.split_ascii_whitespace();
        Self {
            head: words.next().unwrap_or_default(),
            words: words.collect(),
            note: note.trim_end_matches(']'),
        }
    }

    /// The method or status.
    fn name(&self) -> &'s str {
        self.words.first().copied().unwrap_or_default()
    }

    fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// The value of `name=value`.
    fn value(&self, name: &str) -> Option<&'s str> {
        self.words
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The method a response is to, where the remark says so.
    fn answers(&self) -> Option<&'s str> {
        ["CANCEL", "PRACK", "UPDATE", "INVITE"]
            .into_iter()
            .find(|method| *method == self.note)
    }

    fn is_silence(&self) -> bool {
        self.head.ends_with('!')
    }

    /// The party a message is from or for.
    fn side(&self) -> Result<Side, CaseError> {
        match self
            .head
            .trim_end_matches('!')
            .trim_start_matches("P>")
            .trim_end_matches(">P")
        {
            "A" | "X" => Ok(Side::Outside),
            "B" => Ok(Side::Inside),
            other => Err(malformed(format!("nobody is called {other}"))),
        }
    }

    fn millis(&self) -> Result<Duration, CaseError> {
        let millis = self.name().parse().map_err(|_| malformed("a step without its time"))?;
        Ok(Duration::from_millis(millis))
    }

    fn is_about(&self, message: &Message) -> bool {
        let method = message.field("CSeq").and_then(|cseq| cseq.split(' ').nth(1));
        message.name() == self.name() && self.answers().is_none_or(|wanted| method == Some(wanted))
    }
}

/// One sequence under way.
struct Ladder {
    bed: Trapezoid,
    /// What came for each side and no step has asked for yet.
    waiting: [VecDeque<Message>; 2],
    /// Bytes each side has got: the same again is a retransmission.
    got: [Vec<Vec<u8>>; 2],
    /// Requests each side has got and not finally answered.
    pending: [Vec<Message>; 2],
    /// The last INVITE of A.
    invite_of_a: Option<Message>,
    /// The last final response to an INVITE that A got.
    final_to_a: Option<Message>,
    is_in_dialog: bool,
    /// The INVITE as B got it first.
    first_invite: Option<Message>,
    /// Every message with a description that A got.
    told: Vec<Message>,
    sequence: u16,
}

impl Ladder {
    fn new() -> Self {
        let mut bed = Setup::default().build();
        // The far party calls, so here it is the called side's edge that asks for the PSTN.
        bed.snapshot.fallback.refer_when_called = true;
        Self {
            bed,
            waiting: Default::default(),
            got: Default::default(),
            pending: Default::default(),
            invite_of_a: None,
            final_to_a: None,
            is_in_dialog: false,
            first_invite: None,
            told: Vec::new(),
            sequence: 0,
        }
    }

    fn step(&mut self, step: &str) -> Checked {
        let alternatives: Vec<Step<'_>> = step.split(" | ").map(Step::read).collect();
        match alternatives.as_slice() {
            [one] if one.head == "wait" => {
                self.bed.wait(one.millis()?);
                Ok(())
            }
            [one] if one.head.ends_with(">P") => self.send(one),
            all => self.expect(step, all),
        }
    }

    /// One of the alternatives comes true: a message is next for its party, or else there is silence.
    fn expect(&mut self, step: &str, all: &[Step<'_>]) -> Checked {
        let (silences, messages): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.is_silence());
        if all.iter().any(|one| one.note.contains("by the edge")) {
            self.bad_media();
        }
        let end = self.bed.now().instant + ARRIVAL;
        loop {
            self.collect();
            for one in &messages {
                let side = one.side()?;
                let next = self.waiting[side.index()].pop_front_if(|message| one.is_about(message));
                if let Some(message) = next {
                    return self.hear(one, side, message);
                }
            }
            if messages.is_empty() || !self.bed.step(end) {
                break;
            }
        }
        match silences.first() {
            Some(one) => self.silence(one),
            None => mismatch(step, "arrives", self.next_names()),
        }
    }

    /// Nothing new reaches a party in that time.
    fn silence(&mut self, step: &Step<'_>) -> Checked {
        let side = step.side()?;
        self.bed.wait(step.millis()?);
        self.collect();
        let new: Vec<&str> = self.waiting[side.index()].iter().map(Message::name).collect();
        same(step.head, String::new(), new.join(" "))
    }

    fn next_names(&self) -> String {
        let next = |queue: &VecDeque<Message>| queue.front().map_or("nothing", Message::name).to_owned();
        format!("for B {}, for A {}", next(&self.waiting[0]), next(&self.waiting[1]))
    }

    /// What was sent is sorted: a message like one before is a retransmission, a 100 is nobody's step.
    fn collect(&mut self) {
        for side in [Side::Inside, Side::Outside] {
            for sent in self.bed.take(side) {
                if sent.message.name() != "100" && !self.got[side.index()].contains(&sent.bytes) {
                    self.got[side.index()].push(sent.bytes);
                    self.waiting[side.index()].push_back(sent.message);
                }
            }
        }
    }

    fn hear(&mut self, step: &Step<'_>, side: Side, message: Message) -> Checked {
        self.bed.party(side).hear(&message);
        if step.note.contains("without SDP") {
            same("its body", "", message.body.as_str())?;
        }
        let is_of_invite = message.field("CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"));
        match (side, message.status()) {
            (_, None) if message.method() != "ACK" => self.pending[side.index()].push(message.clone()),
            (Side::Outside, Some(200..)) if is_of_invite => {
                self.is_in_dialog |= message.name() == "200";
                self.final_to_a = Some(message.clone());
            }
            (Side::Inside | Side::Outside, _) => {}
        }
        if side == Side::Inside && message.method() == "INVITE" && self.first_invite.is_none() {
            self.first_invite = Some(message.clone());
        }
        if side == Side::Outside && !message.body.is_empty() {
            self.told.push(message);
        }
        Ok(())
    }

    fn send(&mut self, step: &Step<'_>) -> Checked {
        let side = step.side()?;
        let message = match step.name().parse::<u16>() {
            Ok(status) => self.response(step, side, status)?,
            Err(_) => self.request(step, side)?,
        };
        let own = self.bed.peer_domains.clone();
        if step.value("src") == Some("X") || step.head == "X>P" {
            self.bed.peer_domains = vec!["x.example".to_owned()];
        }
        self.bed.send(side, &message);
        self.bed.peer_domains = own;
        Ok(())
    }

    fn response(&mut self, step: &Step<'_>, side: Side, status: u16) -> Result<Message, CaseError> {
        let pending = &self.pending[side.index()];
        let wanted = |request: &&Message| step.answers().is_none_or(|method| request.method() == method);
        let request = pending.iter().rev().find(wanted).cloned();
        let Some(request) = request else {
            return self.response_to_nothing(side, status);
        };
        if status >= 200 {
            self.pending[side.index()].retain(|one| *one != request);
        }
        let sdp = self.sdp(step, side, Some(&request));
        let response = self.bed.party(side).response(&request, status, sdp.as_deref());
        Ok(if step.note.contains("100rel") {
            response.with("Require", "100rel").with("RSeq", "10")
        } else {
            response
        })
    }

    /// A response to a request that was never sent.
    fn response_to_nothing(&mut self, side: Side, status: u16) -> Result<Message, CaseError> {
        let request = self.bed.party(side).invite(None);
        let response = self.bed.party(side).response(&request, status, None);
        Ok(response.set("Via", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-of-nobody"))
    }

    fn request(&mut self, step: &Step<'_>, side: Side) -> Result<Message, CaseError> {
        if let ("INVITE", Some("same"), Some(invite)) = (step.name(), step.value("branch"), &self.invite_of_a) {
            return Ok(invite.clone());
        }
        let sdp = self.sdp(step, side, None);
        let is_known = self.bed.party(side).invite.is_some() || self.first_invite.is_some();
        let party = self.bed.party(side);
        if !is_known && step.name() != "INVITE" {
            // Only to have a Call-ID and tags: this INVITE is not sent.
            party.invite(None);
        }
        let message = match step.name() {
            "INVITE" if self.is_in_dialog => self.bed.party(side).reinvite(sdp.as_deref()),
            "INVITE" => party.invite(sdp.as_deref()),
            "ACK" => self.ack(side, sdp.as_deref()),
            "CANCEL" => party.cancel(),
            method => {
                let by: i64 = step
                    .value("cseq")
                    .map_or(Ok(1), str::parse)
                    .map_err(|_| malformed("cseq"))?;
                let number = u32::try_from(i64::from(party.cseq) + by).map_err(|_| malformed("cseq"))?;
                party.cseq = party.cseq.max(number);
                party.numbered(method, number).with_sdp(sdp.as_deref())
            }
        };
        if step.name() == "INVITE" {
            self.invite_of_a = Some(message.clone());
        }
        Ok(self.changed(step, message))
    }

    fn ack(&mut self, side: Side, sdp: Option<&str>) -> Message {
        match self.final_to_a.clone().filter(|last| last.name() != "200") {
            Some(refusal) => self.bed.party(side).ack_refusal(&refusal),
            None => self.bed.party(side).ack(sdp),
        }
    }

    fn changed(&self, step: &Step<'_>, message: Message) -> Message {
        let mut message = message;
        if step.value("tag") == Some("bad") {
            message = message.set("To", "<sip:+12125550100@a.example>;tag=of-nobody");
        }
        if step.value("branch") == Some("other") {
            let via = message
                .field("Via")
                .unwrap_or_default()
                .replace("branch=z9hG4bK", "branch=z9hG4bKother");
            message = message.set("Via", via);
        }
        match step.name() {
            "PRACK" => {
                let number = self.invite_of_a.as_ref().map_or(0, |invite| invite.cseq().0);
                message.with("RAck", format!("10 {number} INVITE"))
            }
            "INVITE" if step.note.contains("100rel") => message.with("Supported", "100rel"),
            "NOTIFY" => message.with("Event", "x-none").with("Subscription-State", "active"),
            _ => message,
        }
    }

    /// The description a step asks for.
    fn sdp(&self, step: &Step<'_>, side: Side, request: Option<&Message>) -> Option<String> {
        if !step.has("sdp") {
            return None;
        }
        let mut sdp = match (side, request) {
            (Side::Inside, _) => self.bed.agent_sdp(),
            (Side::Outside, Some(offer)) => self.bed.peer_answer(&offer.body, SrtpSuite::AesCm128HmacSha1_80),
            (Side::Outside, None) => self.bed.peer_sdp(),
        };
        for direction in ["sendonly", "recvonly", "inactive"] {
            if step.has(direction) {
                sdp = sdp.directed(direction);
            }
        }
        sdp.is_refused = step.has("port0");
        Some(sdp.text())
    }

    /// The far party falls silent in a call that was well, and stays so until the agent has got the edge's REFER.
    fn bad_media(&mut self) {
        let Some(mut talk) = self.talk() else { return };
        self.bed.start_ticking();
        let mut speak = |ladder: &mut Self, far_speaks: bool| {
            ladder.sequence = ladder.sequence.wrapping_add(1);
            ladder.bed.inside_speaks(&mut talk, ladder.sequence);
            if far_speaks {
                ladder.bed.outside_speaks(&mut talk, ladder.sequence);
            }
            ladder.bed.wait(FRAME);
        };
        (0..GOOD_FRAMES).for_each(|_| speak(self, true));
        for _ in 0..BAD_FRAMES {
            self.collect();
            if self.waiting[Side::Inside.index()]
                .iter()
                .any(|message| message.name() == "REFER")
            {
                break;
            }
            speak(self, false);
        }
        self.bed.is_ticking = false;
    }

    fn talk(&self) -> Option<Talk> {
        let (invite, told) = (self.first_invite.clone()?, self.told.first().cloned()?);
        Some(
            self.bed
                .talk(Way::Inbound, SrtpSuite::AesCm128HmacSha1_80, invite, told),
        )
    }

    fn afterwards(&mut self, what: &str) -> Checked {
        if what.starts_with("no dialog, transaction, pinhole or port is left") {
            return self.nothing_left();
        }
        if what.starts_with("the INVITE is still ringing") {
            for step in ["B>P 200 sdp", "P>A 200", "A>P ACK", "P>B ACK"] {
                self.step(step)?;
            }
            return self.is_up();
        }
        if what.starts_with("the call is still up") || what.contains("changes nothing in the media path") {
            return self.is_up();
        }
        if what.starts_with("A saw the same key, address and port") {
            let said: Vec<_> = self.told.iter().map(|told| heard(&told.body, 0)).collect();
            let [early, last] = said.as_slice() else {
                return mismatch("descriptions A was told", 2, said.len());
            };
            same("address and port", early.at, last.at)?;
            same("key", format!("{:?}", keys_of(early)), format!("{:?}", keys_of(last)))?;
            return self.is_up();
        }
        if what.starts_with("no 500 for a CSeq that went back") {
            return self.numbers_rise();
        }
        Err(malformed(format!("afterwards is not understood: {what}")))
    }

    /// Media passes both ways, and a BYE of A ends the call so that nothing is left.
    fn is_up(&mut self) -> Checked {
        let Some(mut talk) = self.talk() else {
            return mismatch("the call", "has media", "has none");
        };
        self.sequence += 1;
        same("media to B", true, self.bed.outside_speaks(&mut talk, self.sequence))?;
        same("media to A", true, self.bed.inside_speaks(&mut talk, self.sequence))?;
        for step in ["A>P BYE", "P>B BYE", "B>P 200", "P>A 200"] {
            self.step(step)?;
        }
        self.nothing_left()
    }

    fn nothing_left(&mut self) -> Checked {
        self.bed.wait(Duration::from_secs(40));
        let left = self.bed.leftovers();
        same(
            "calls, transactions and ports left",
            "[0, 0, 0]".to_owned(),
            format!("{left:?}"),
        )
    }

    /// calls.md 7: what B got rises, an ACK has the number of its INVITE, and nobody was told 500.
    fn numbers_rise(&mut self) -> Checked {
        let sent = |side: Side| self.bed.log.iter().filter(move |sent| sent.side == side);
        same(
            "500s",
            0,
            sent(Side::Outside).filter(|sent| sent.message.name() == "500").count(),
        )?;
        let (mut highest, mut invite, mut seen) = (None, None, Vec::new());
        for sent in sent(Side::Inside) {
            let message = &sent.message;
            if message.method().is_empty() || seen.contains(&&sent.bytes) {
                continue;
            }
            seen.push(&sent.bytes);
            let number = message.cseq().0;
            if message.method() == "ACK" {
                same(
                    "the number of an ACK",
                    format!("{invite:?}"),
                    format!("{:?}", Some(number)),
                )?;
                continue;
            }
            same(
                "the numbers B saw rise",
                true,
                highest.is_none_or(|highest| number > highest),
            )?;
            highest = Some(number);
            if message.method() == "INVITE" {
                invite = Some(number);
            }
        }
        self.nothing_left()
    }
}

fn keys_of(heard: &Heard) -> Vec<Vec<u8>> {
    let keys = heard.crypto.iter().flat_map(|line| &line.keys);
    keys.map(|key| key.key_and_salt.expose().to_vec()).collect()
}
