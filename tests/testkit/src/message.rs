//! SIP messages as a test writes and reads them: a start line, fields in order, a body.
//!
//! It is deliberately not the parser under test and knows no rule but the shape of a message (RFC 3261 §7).

/// One SIP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The request or status line, without its line end.
    pub start: String,
    /// Field names and values in order.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Message {
    /// An empty request.
    #[must_use]
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start: format!("{method} {uri} SIP/2.0"),
            fields: Vec::new(),
            body: String::new(),
        }
    }

    /// An empty response.
    #[must_use]
    pub fn status_line(status: u16) -> Self {
        Self {
            start: format!("SIP/2.0 {status} Whatever"),
            fields: Vec::new(),
            body: String::new(),
        }
    }

    /// Reads a message the edge wrote.
    ///
    /// # Panics
    /// If it does not have the shape of one, or its Content-Length is not that of its body.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).expect("the edge writes UTF-8 here");
        let (head, body) = text.split_once("\r\n\r\n").expect("a message has an empty line");
        let mut lines = head.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a field has a colon");
            (name.trim_end().to_owned(), value.trim().to_owned())
        });
        let message = Self {
            start,
            fields: fields.collect(),
            body: body.to_owned(),
        };
        let length = message.field("Content-Length").map_or(Ok(0), str::parse);
        assert_eq!(length, Ok(body.len()), "Content-Length of\n{text}");
        message
    }

    /// The bytes on the wire. Content-Length is added where there is none.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{}\r\n", self.start);
        for (name, value) in &self.fields {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.field("Content-Length").is_none() {
            out.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        out.push_str("\r\n");
        out.push_str(&self.body);
        out.into_bytes()
    }

    /// The first value of a field, by its long name, case-insensitively.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value of a field.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The same message with one more field at its end.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// The same message with a field set to one value, where it stood or at the end.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        match self
            .fields
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
        {
            Some(field) => field.1 = value,
            None => self.fields.push((name.to_owned(), value)),
        }
        self
    }

    /// The same message without a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The same message with a session description as its body.
    #[must_use]
    pub fn with_sdp(mut self, sdp: Option<&str>) -> Self {
        if let Some(sdp) = sdp {
            self = self.set("Content-Type", "application/sdp");
            self.body = sdp.to_owned();
        }
        self
    }

    /// The same request with another Request-URI.
    #[must_use]
    pub fn to_uri(mut self, uri: &str) -> Self {
        self.start = format!("{} {uri} SIP/2.0", self.method());
        self
    }

    /// The method, or the empty string of a response.
    #[must_use]
    pub fn method(&self) -> &str {
        match self.start.split_once(' ') {
            Some(("SIP/2.0", _)) | None => "",
            Some((method, _)) => method,
        }
    }

    /// The Request-URI, or the status of a response.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request or the status of a response, as in a ladder diagram.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.method().is_empty() {
            self.uri()
        } else {
            self.method()
        }
    }

    /// The CSeq's number and method.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self
            .field("CSeq")
            .and_then(|cseq| cseq.split_once(' '))
            .expect("a CSeq");
        (number.parse().expect("a number"), method)
    }

    /// A parameter of the first value of a field.
    #[must_use]
    pub fn param(&self, field: &str, name: &str) -> Option<&str> {
        let value = self.field(field)?;
        let params = value.rsplit_once('>').map_or(value, |(_, params)| params);
        let mut pairs = params.split(';').filter_map(|param| param.split_once('='));
        pairs.find(|(known, _)| known.trim() == name).map(|(_, value)| value)
    }

    /// The URI within the angle brackets of a field.
    #[must_use]
    pub fn bracketed(&self, field: &str) -> Option<&str> {
        self.field(field)?
            .split_once('<')?
            .1
            .split_once('>')
            .map(|(uri, _)| uri)
    }
}
