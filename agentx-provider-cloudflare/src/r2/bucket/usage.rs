use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use object_store::client::HttpRequest;

/// What a file system of R2 has asked of its bucket, in the classes by which R2 bills. Each attempt counts, and so does
/// each page of a list; what the store turned away (429, 5xx) does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct R2Usage {
    /// Operations that change or list: put, copy, list, and the steps of an upload in parts.
    pub class_a: u64,
    /// Operations that read: get and head.
    pub class_b: u64,
    /// Operations that are free: delete, and the end of an upload that was given up.
    pub free: u64,
}

impl R2Usage {
    /// What was used since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            class_a: self.class_a.saturating_sub(earlier.class_a),
            class_b: self.class_b.saturating_sub(earlier.class_b),
            free: self.free.saturating_sub(earlier.free),
        }
    }

    /// The operations that cost something.
    pub fn billed(&self) -> u64 {
        self.class_a.saturating_add(self.class_b)
    }
}

/// How one request is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    A,
    B,
    Free,
}

impl Class {
    pub(super) fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or_default();
        match request.method().as_str() {
            "GET" if query.contains("list-type=") => Self::A,
            "GET" | "HEAD" => Self::B,
            "DELETE" => Self::Free,
            "POST" if query.split('&').any(|part| part == "delete" || part == "delete=") => Self::Free,
            _ => Self::A,
        }
    }
}

#[derive(Debug, Default)]
pub(in crate::r2) struct Counters {
    class_a: AtomicU64,
    class_b: AtomicU64,
    free: AtomicU64,
}

impl Counters {
    pub(super) fn add(&self, class: Class) {
        let counter = match class {
            Class::A => &self.class_a,
            Class::B => &self.class_b,
            Class::Free => &self.free,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(in crate::r2) fn snapshot(&self) -> R2Usage {
        R2Usage {
            class_a: self.class_a.load(Relaxed),
            class_b: self.class_b.load(Relaxed),
            free: self.free.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    #[test]
    fn requests_have_the_class_by_which_they_are_billed() {
        for (method, path, class) in [
            ("PUT", "/b/k", Class::A),
            ("PUT", "/b/k?partNumber=1&uploadId=x", Class::A),
            ("POST", "/b/k?uploads=", Class::A),
            ("POST", "/b/k?uploadId=x", Class::A),
            ("GET", "/b?list-type=2&prefix=a", Class::A),
            ("GET", "/b/k", Class::B),
            ("HEAD", "/b/k", Class::B),
            ("DELETE", "/b/k?uploadId=x", Class::Free),
            ("POST", "/b?delete", Class::Free),
        ] {
            let mut request = HttpRequest::new(HttpRequestBody::empty());
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = path.parse().unwrap();
            assert_eq!(Class::of(&request), class, "{method} {path}");
        }
    }
}
