//! The query of a request's path.

use std::borrow::Cow;

/// Names and values, decoded, in their order.
#[derive(Debug)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Of a request's URI.
    pub fn of(uri: &'a axum::http::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// The first value with this name.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// Every value with this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        form_urlencoded::parse(self.0.as_bytes()).filter(move |(n, _)| n == name).map(|(_, value)| value)
    }
}
