//! A path and a method with what answers them, so that the description can be held against what is served.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::admin::AdminState;

/// A method that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    /// As OpenAPI writes it.
    #[cfg(test)]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }

    /// A handler for this method.
    pub(crate) fn on<T: 'static>(self, handler: impl Handler<T, AdminState>) -> MethodRouter<AdminState> {
        let filter = match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        };
        on(filter, handler)
    }
}

/// One path and method.
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler has it too; tests cannot ask it"))]
    pub(crate) verb: Verb,
    pub(crate) handler: MethodRouter<AdminState>,
}

/// A router of these endpoints.
pub(crate) fn routed(endpoints: Vec<Endpoint>) -> Router<AdminState> {
    let add = |router: Router<AdminState>, endpoint: Endpoint| router.route(endpoint.path, endpoint.handler);
    endpoints.into_iter().fold(Router::new(), add)
}
