//! Routes that are listed as they are made, so that what is said of them can be compared with what there is.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    routing::{MethodRouter, delete, get, patch, post},
};

use crate::server::Shared;

/// Routes below one path.
pub(super) struct Table {
    pub(super) router: Router<Arc<Shared>>,
    /// Each method, in lowercase, and its path.
    pub(super) listed: Vec<(&'static str, String)>,
    below: &'static str,
}

/// A handler of this server.
pub(super) trait Handles<T>: Handler<T, Arc<Shared>> {}

impl<T, H: Handler<T, Arc<Shared>>> Handles<T> for H {}

impl Table {
    pub(super) fn below(path: &'static str) -> Self {
        Self { router: Router::new(), listed: Vec::new(), below: path }
    }

    pub(super) fn get<T: 'static>(self, path: &'static str, handler: impl Handles<T>) -> Self {
        self.add("get", path, get(handler))
    }

    pub(super) fn post<T: 'static>(self, path: &'static str, handler: impl Handles<T>) -> Self {
        self.add("post", path, post(handler))
    }

    pub(super) fn patch<T: 'static>(self, path: &'static str, handler: impl Handles<T>) -> Self {
        self.add("patch", path, patch(handler))
    }

    pub(super) fn delete<T: 'static>(self, path: &'static str, handler: impl Handles<T>) -> Self {
        self.add("delete", path, delete(handler))
    }

    fn add(mut self, method: &'static str, path: &'static str, handler: MethodRouter<Arc<Shared>>) -> Self {
        self.listed.push((method, format!("{}{path}", self.below)));
        self.router = self.router.route(path, handler);
        self
    }
}
