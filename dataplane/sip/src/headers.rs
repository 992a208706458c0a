//! The header fields the edge knows by name; all others are carried as they are.

macro_rules! headers {
    ($($name:ident = $long:literal $(, $compact:literal)?;)*) => {
        /// A header field name, known or not (RFC 3261 §7.3; compact forms §7.3.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Header {
            $(#[doc = concat!("`", $long, "`.")] $name,)*
            /// Any other field; carried byte for byte.
            Other,
        }

        impl Header {
            /// Recognises a name, long or compact, without case.
            #[must_use]
            pub fn from_name(name: &[u8]) -> Self {
                $(if name.eq_ignore_ascii_case($long.as_bytes()) $(|| name.eq_ignore_ascii_case($compact.as_bytes()))? {
                    return Self::$name;
                })*
                Self::Other
            }

            /// The long form.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $long,)*
                    Self::Other => "",
                }
            }
        }
    };
}

headers! {
    Via = "Via", "v";
    From = "From", "f";
    To = "To", "t";
    CallId = "Call-ID", "i";
    CSeq = "CSeq";
    MaxForwards = "Max-Forwards";
    Contact = "Contact", "m";
    Route = "Route";
    RecordRoute = "Record-Route";
    ContentLength = "Content-Length", "l";
    ContentType = "Content-Type", "c";
    Require = "Require";
    ProxyRequire = "Proxy-Require";
    Supported = "Supported", "k";
    Allow = "Allow";
    RAck = "RAck";
    RSeq = "RSeq";
    Event = "Event", "o";
    ReferTo = "Refer-To", "r";
    ReferredBy = "Referred-By", "b";
    Replaces = "Replaces";
    Join = "Join";
    TargetDialog = "Target-Dialog";
    Server = "Server";
    UserAgent = "User-Agent";
    Warning = "Warning";
    Reason = "Reason";
    RetryAfter = "Retry-After";
    AlertInfo = "Alert-Info";
    CallInfo = "Call-Info";
    ErrorInfo = "Error-Info";
    PAssertedIdentity = "P-Asserted-Identity";
    PPreferredIdentity = "P-Preferred-Identity";
    RemotePartyId = "Remote-Party-ID";
    Diversion = "Diversion";
    HistoryInfo = "History-Info";
    InReplyTo = "In-Reply-To";
    TicketCiscoUcIme = "X-Cisco-UC-IME-Ticket";
    TicketCiscoVipr = "X-Cisco-ViPR-Ticket";
    Ticket = "Ticket";
    TicketVipr = "ViPR-Ticket";
}

impl Header {
    /// Whether this is one of the four names a ticket travels under (ticket.md 2).
    #[must_use]
    pub const fn is_ticket(self) -> bool {
        matches!(
            self,
            Self::TicketCiscoUcIme | Self::TicketCiscoVipr | Self::Ticket | Self::TicketVipr
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_and_mixed_case_names_are_known() {
        assert_eq!(Header::from_name(b"v"), Header::Via);
        assert_eq!(Header::from_name(b"CALL-id"), Header::CallId);
        assert_eq!(Header::from_name(b"X-Other"), Header::Other);
        assert!(Header::from_name(b"x-cisco-uc-ime-ticket").is_ticket());
    }
}
