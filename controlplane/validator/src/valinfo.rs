//! ValInfo: what a terminating validator tells of a proven number, as XML.
//!
//! Reads and writes the document; whether number, ticket and URIs are any good is [`checks`](crate::checks)'s question.
//! Document types are refused and entities are never expanded but the five of XML itself. Sources: vap.md 8 and 9,
//! validator.md 6 (draft-jennings-vipr-vap-02 §8.9, draft-petithuguenin-vipr-pvp-02 §7.3).

use std::mem;

use quick_xml::NsReader;
use quick_xml::events::{BytesRef, Event};
use quick_xml::name::{LocalName, ResolveResult};
use tollgate_contract::Pii;

/// Longest document, in bytes: ServiceContent is below 32 KiB (draft-jennings-vipr-vap-02 §10.3.12).
pub const MAX_DOCUMENT_LEN: usize = 32 * 1024 - 1;

/// Deepest nesting; the document itself has three levels, foreign elements may have more.
const MAX_DEPTH: usize = 16;

/// Most groups of a document, and most URIs of a group.
const MAX_GROUPS: usize = 64;
const MAX_URIS: usize = 64;

/// Longest text of an element, in bytes: over the 1024 of a ticket and the 614 of a URI, so that those have their own
/// fault.
const MAX_TEXT_LEN: usize = 4_096;

/// One proven number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValInfo {
    /// The number as written.
    pub number: Pii<String>,
    /// The ticket as written.
    pub ticket: Pii<String>,
    /// The URIs of all routes, in their order; 1 or more.
    pub uris: Vec<String>,
}

/// Why a document is no ValInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValInfoFault {
    /// Over 32 KiB, or not UTF-8.
    Document,
    /// Not well-formed XML.
    Xml,
    /// A document type declaration.
    DocType,
    /// An entity that is not one of XML's five.
    Entity,
    /// Nested too deep.
    Depth,
    /// The root is not `valinfo`, or there is more than one.
    Root,
    /// A group lacks its number, ticket or routes, or has one twice.
    Group,
    /// More groups, URIs or text than allowed.
    TooMuch,
}

impl ValInfoFault {
    /// The name in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Xml => "xml",
            Self::DocType => "doctype",
            Self::Entity => "entity",
            Self::Depth => "depth",
            Self::Root => "root",
            Self::Group => "group",
            Self::TooMuch => "too_much",
        }
    }
}

/// Reads a document: zero or more groups.
///
/// # Errors
/// The first [`ValInfoFault`] found.
pub fn parse(document: &[u8]) -> Result<Vec<ValInfo>, ValInfoFault> {
    if document.len() > MAX_DOCUMENT_LEN {
        return Err(ValInfoFault::Document);
    }
    let text = str::from_utf8(document).map_err(|_| ValInfoFault::Document)?;
    let mut xml = NsReader::from_str(text);
    xml.config_mut().expand_empty_elements = true;
    let mut state = Document::default();
    loop {
        let (namespace, event) = xml.read_resolved_event().map_err(|_| ValInfoFault::Xml)?;
        match event {
            Event::Start(tag) => state.on_start(element(&namespace, tag.local_name()))?,
            Event::End(_) => state.on_end()?,
            Event::Text(text) => state.on_text(&text.xml10_content())?,
            Event::CData(text) => state.on_text(&text.xml10_content())?,
            Event::GeneralRef(reference) => state.on_text(resolved(&reference)?.encode_utf8(&mut [0; 4]))?,
            Event::DocType(_) => return Err(ValInfoFault::DocType),
            Event::Empty(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return state.finish(),
        }
    }
}

/// Writes a document of some groups.
#[must_use]
pub fn write(groups: &[ValInfo]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<valinfo>");
    let element = |out: &mut String, name: &str, text: &str| {
        let escaped = quick_xml::escape::escape(text);
        out.push_str(&format!("<{name}>{escaped}</{name}>"));
    };
    for group in groups {
        element(&mut out, "number", &group.number.0);
        element(&mut out, "ticket", &group.ticket.0);
        out.push_str("<route>");
        for uri in &group.uris {
            element(&mut out, "SIPURI", uri);
        }
        out.push_str("</route>");
    }
    out.push_str("</valinfo>\n");
    out
}

/// An element by what it is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    ValInfo,
    Number,
    Ticket,
    Route,
    SipUri,
    Foreign,
}

/// The draft's schema and its examples differ in the namespace, and shipped products may have none: all three are ours.
fn element(namespace: &ResolveResult<'_>, name: LocalName<'_>) -> Element {
    let is_ours = match namespace {
        ResolveResult::Unbound => true,
        ResolveResult::Bound(namespace) => {
            let last = namespace.0.rsplit(['/', ':', '#']).next();
            matches!(last, Some("saf-uc" | "viprtrunk"))
        }
        ResolveResult::Unknown(_) => false,
    };
    if !is_ours {
        return Element::Foreign;
    }
    match name.as_ref() {
        "valinfo" => Element::ValInfo,
        "number" => Element::Number,
        "ticket" => Element::Ticket,
        "route" => Element::Route,
        "SIPURI" => Element::SipUri,
        _ => Element::Foreign,
    }
}

fn resolved(reference: &BytesRef<'_>) -> Result<char, ValInfoFault> {
    if let Some(letter) = reference.resolve_char_ref().map_err(|_| ValInfoFault::Entity)? {
        return Ok(letter);
    }
    match reference.xml10_content().as_ref() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(ValInfoFault::Entity),
    }
}

/// The document as read so far.
#[derive(Default)]
struct Document {
    open: Vec<Element>,
    has_root: bool,
    text: String,
    number: Option<String>,
    ticket: Option<String>,
    uris: Vec<String>,
    groups: Vec<ValInfo>,
}

impl Document {
    fn on_start(&mut self, element: Element) -> Result<(), ValInfoFault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(ValInfoFault::Depth);
        }
        let element = match (self.open.as_slice(), element) {
            ([], Element::ValInfo) if !mem::replace(&mut self.has_root, true) => Element::ValInfo,
            ([], _) => return Err(ValInfoFault::Root),
            ([Element::ValInfo], Element::Number | Element::Ticket | Element::Route)
            | ([Element::ValInfo, Element::Route], Element::SipUri) => element,
            // In any other place even a known name is foreign, and all below it.
            _ => Element::Foreign,
        };
        if element == Element::Number {
            self.finish_group()?;
        }
        self.open.push(element);
        if element != Element::Foreign {
            self.text.clear();
        }
        Ok(())
    }

    fn on_text(&mut self, text: &str) -> Result<(), ValInfoFault> {
        let is_wanted = matches!(
            self.open.last(),
            Some(Element::Number | Element::Ticket | Element::SipUri)
        );
        if self.open.is_empty() && !text.trim_ascii().is_empty() {
            return Err(ValInfoFault::Xml);
        }
        if is_wanted {
            if self.text.len() + text.len() > MAX_TEXT_LEN {
                return Err(ValInfoFault::TooMuch);
            }
            self.text.push_str(text);
        }
        Ok(())
    }

    fn on_end(&mut self) -> Result<(), ValInfoFault> {
        let element = self.open.pop().ok_or(ValInfoFault::Xml)?;
        let text = |document: &Self| document.text.trim_ascii().to_owned();
        match element {
            Element::Number => self.number = Some(text(self)),
            Element::Ticket if self.ticket.is_none() && self.number.is_some() => self.ticket = Some(text(self)),
            Element::Ticket => return Err(ValInfoFault::Group),
            Element::SipUri if self.uris.len() >= MAX_URIS => return Err(ValInfoFault::TooMuch),
            Element::SipUri => self.uris.push(text(self)),
            Element::Route | Element::ValInfo | Element::Foreign => {}
        }
        Ok(())
    }

    fn finish_group(&mut self) -> Result<(), ValInfoFault> {
        let uris = mem::take(&mut self.uris);
        match (self.number.take(), self.ticket.take()) {
            (Some(number), Some(ticket)) if !uris.is_empty() => {
                if self.groups.len() >= MAX_GROUPS {
                    return Err(ValInfoFault::TooMuch);
                }
                let (number, ticket) = (Pii(number), Pii(ticket));
                self.groups.push(ValInfo { number, ticket, uris });
                Ok(())
            }
            (None, None) if uris.is_empty() => Ok(()),
            _ => Err(ValInfoFault::Group),
        }
    }

    fn finish(mut self) -> Result<Vec<ValInfo>, ValInfoFault> {
        if !self.open.is_empty() {
            return Err(ValInfoFault::Xml);
        }
        if !self.has_root {
            return Err(ValInfoFault::Root);
        }
        self.finish_group()?;
        Ok(self.groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "sip:u@peer.example:5061;maddr=192.0.2.4";

    #[test]
    fn several_groups_are_read_in_their_order() {
        let groups = parse(
            format!(
                "<?xml version='1.0'?>\n<valinfo><number>+1</number><ticket>\n AA \n</ticket><route><SIPURI>{URI}</SIPURI>\
                 <SIPURI>b&amp;c</SIPURI></route><route><SIPURI>d</SIPURI></route>\
                 <number>+2</number><ticket>B&#66;</ticket><route><SIPURI><![CDATA[e]]></SIPURI></route></valinfo>\n"
            )
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!((groups[0].number.0.as_str(), groups[0].ticket.0.as_str()), ("+1", "AA"));
        assert_eq!(groups[0].uris, [URI, "b&c", "d"]);
        assert_eq!((groups[1].ticket.0.as_str(), groups[1].uris[0].as_str()), ("BB", "e"));
    }

    #[test]
    fn a_document_may_have_no_group() {
        for document in ["<valinfo/>", "<valinfo></valinfo>", "<valinfo><!-- none --></valinfo>"] {
            assert_eq!(parse(document.as_bytes()), Ok(vec![]), "{document}");
        }
    }

    #[test]
    fn either_namespace_is_read_and_foreign_elements_are_stripped() {
        for namespace in ["http://a.example/ns/saf-uc", "urn:x:viprtrunk"] {
            let document = format!(
                "<v:valinfo xmlns:v='{namespace}' xmlns:o='urn:other'><o:number>+9</o:number><v:number>+1<o:x>7</o:x></v:number>\
                 <v:ticket>AA</v:ticket><o:route><SIPURI>bad</SIPURI></o:route>\
                 <v:route><o:a><v:SIPURI>bad</v:SIPURI></o:a><v:SIPURI>{URI}</v:SIPURI></v:route><x><number/></x></v:valinfo>"
            );
            let groups = parse(document.as_bytes()).unwrap();
            assert_eq!(groups.len(), 1);
            assert_eq!(
                (groups[0].number.0.as_str(), &groups[0].uris[..]),
                ("+1", &[URI.to_owned()][..])
            );
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let groups = vec![
            ValInfo {
                number: Pii("+14085550100".into()),
                ticket: Pii("AAEAEGun.".into()),
                uris: vec!["sip:a&b<c@x:1;maddr=192.0.2.4".into(), "y".into()],
            };
            3
        ];
        assert_eq!(parse(write(&groups).as_bytes()), Ok(groups));
    }

    #[test]
    fn documents_that_are_no_valinfo_are_refused_by_name() {
        let deep = format!("<valinfo>{}", "<a>".repeat(20));
        let long = format!("<valinfo><number>{}</number></valinfo>", "1".repeat(5_000));
        let huge = "a".repeat(32_768);
        let many = "<number>1</number><ticket>2</ticket><route><SIPURI>3</SIPURI></route>".repeat(65);
        let many = format!("<valinfo>{many}</valinfo>");
        for (document, fault) in [
            ("", ValInfoFault::Root),
            ("<other/>", ValInfoFault::Root),
            ("<valinfo/><valinfo/>", ValInfoFault::Root),
            ("<valinfo>", ValInfoFault::Xml),
            ("<valinfo></number>", ValInfoFault::Xml),
            ("<valinfo/>tail", ValInfoFault::Xml),
            (
                "<!DOCTYPE valinfo [<!ENTITY a \"b\">]><valinfo/>",
                ValInfoFault::DocType,
            ),
            (
                "<!DOCTYPE valinfo SYSTEM \"file:///etc/passwd\"><valinfo/>",
                ValInfoFault::DocType,
            ),
            ("<valinfo><number>&a;</number></valinfo>", ValInfoFault::Entity),
            ("<valinfo><number>&#0;</number></valinfo>", ValInfoFault::Entity),
            ("<valinfo><number>+1</number></valinfo>", ValInfoFault::Group),
            ("<valinfo><ticket>AA</ticket></valinfo>", ValInfoFault::Group),
            (
                "<valinfo><route><SIPURI>x</SIPURI></route></valinfo>",
                ValInfoFault::Group,
            ),
            (
                "<valinfo><number>+1</number><ticket>A</ticket><ticket>B</ticket></valinfo>",
                ValInfoFault::Group,
            ),
            (&deep, ValInfoFault::Depth),
            (&long, ValInfoFault::TooMuch),
            (&many, ValInfoFault::TooMuch),
            (&huge, ValInfoFault::Document),
        ] {
            assert_eq!(parse(document.as_bytes()), Err(fault), "{document:.60}");
        }
        assert_eq!(parse(b"<valinfo>\xff</valinfo>"), Err(ValInfoFault::Document));
    }
}
