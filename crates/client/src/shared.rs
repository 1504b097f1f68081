//! Shared entries through the client: read, written, listed, many at once.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use hyper::Method;
use hyper::header::CONTENT_TYPE;

use crate::client::{Call, Client};
use crate::entry::{Batch, BatchResult, BatchResults, Entry, EntryList, Operation, Written};
use crate::error::Error;
use crate::path::{percent_encode, query};
use crate::problem::Code;

/// How sure a write has to be, and how long it lives.
///
/// ```
/// use dui_client::{Ack, WriteOptions};
/// use std::time::Duration;
///
/// let careful = WriteOptions::default()
///     .ack(Ack::Members(2))
///     .ttl(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    ack: Ack,
    timeout: Option<Duration>,
    ttl: Option<Duration>,
    content_type: Option<String>,
}

/// How many members have to hold a write durably before it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// The asked node.
    #[default]
    Node,
    /// So many, the asked node among them.
    Members(u64),
    /// All that are alive.
    All,
}

impl WriteOptions {
    /// Waits until so many hold the write.
    #[must_use]
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    /// Waits for them this long instead of 5 s; 60 s at most.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The entry is gone after this time. Of puts only.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// What the value is. Of puts only.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    fn query(&self, path: &str) -> String {
        let ms = |time: &Duration| format!("{}ms", time.as_millis().max(1));
        let ack = match self.ack {
            Ack::Node => None,
            Ack::Members(count) => Some(count.to_string()),
            Ack::All => Some("all".into()),
        };
        let timeout = self.timeout.as_ref().map(ms);
        let ttl = self.ttl.as_ref().map(ms);
        let mut text = path.to_owned();
        let mut separator = if path.contains('?') { '&' } else { '?' };
        for (name, value) in [("ack", ack), ("timeout", timeout), ("ttl", ttl)] {
            if let Some(value) = value {
                let _ = write!(text, "{separator}{name}={value}");
                separator = '&';
            }
        }
        text
    }

    /// The node answers in its own time; a little more is for the way.
    fn patience(&self, usual: Duration) -> Duration {
        usual.max(self.timeout.unwrap_or(usual) + Duration::from_secs(4))
    }
}

impl Client {
    /// The shared entry of a key, as the asked node has it; `None` if it has none.
    ///
    /// # Errors
    /// See [`Error`]; so for every method below.
    pub async fn entry(&self, key: &str) -> Result<Option<Entry>, Error> {
        match self.json(Call::get(path_of(key)), self.timeout()).await {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.is(Code::UnknownKey) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a key a value: the last writer wins, on every node.
    ///
    /// With [`Client::of`] several nodes, it is sent to another one where
    /// the first does not answer, and may then be written twice: the value is
    /// the same, the second version is newer.
    pub async fn put(
        &self,
        key: &str,
        value: impl Into<Vec<u8>>,
        options: &WriteOptions,
    ) -> Result<Written, Error> {
        let mut call = Call::new(Method::PUT, options.query(&path_of(key))).body(value.into());
        if let Some(content_type) = &options.content_type {
            call = call.with(CONTENT_TYPE, content_type.as_str());
        }
        self.json(call, options.patience(self.timeout())).await
    }

    /// Takes a key's value away; `None` if there was none.
    pub async fn delete(
        &self,
        key: &str,
        options: &WriteOptions,
    ) -> Result<Option<Written>, Error> {
        let call = Call::new(Method::DELETE, options.query(&path_of(key)));
        match self.json(call, options.patience(self.timeout())).await {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.is(Code::UnknownKey) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of the entries whose keys begin with `prefix`, at most 1,000;
    /// `cursor` comes from the page before.
    pub async fn page(
        &self,
        prefix: &str,
        limit: Option<u16>,
        cursor: Option<&str>,
    ) -> Result<EntryList, Error> {
        let limit = limit.map(|limit| limit.to_string());
        let prefix = (!prefix.is_empty()).then_some(prefix);
        let parameters = [
            ("prefix", prefix),
            ("limit", limit.as_deref()),
            ("cursor", cursor),
        ];
        let call = Call::get(query("/v1/shared", &parameters));
        self.json(call, self.timeout()).await
    }

    /// Every entry whose key begins with `prefix`, by key, however many.
    pub fn entries(&self, prefix: &str) -> Entries {
        Entries {
            client: self.clone(),
            prefix: prefix.into(),
            page: VecDeque::new(),
            cursor: None,
            begun: false,
        }
    }

    /// Up to 1,000 operations in one request: writes first, in their order,
    /// then reads; a result for each, in their order.
    pub async fn batch(
        &self,
        operations: Vec<Operation>,
        options: &WriteOptions,
    ) -> Result<Vec<BatchResult>, Error> {
        let body = serde_json::to_vec(&Batch { operations }).unwrap_or_default();
        let call = Call::new(Method::POST, options.query("/v1/batch"))
            .with(CONTENT_TYPE, "application/json")
            .body(body)
            .repeatable();
        let results: BatchResults = self.json(call, options.patience(self.timeout())).await?;
        Ok(results.results)
    }
}

/// Entries by key, fetched a page at a time.
#[derive(Debug)]
pub struct Entries {
    client: Client,
    prefix: String,
    page: VecDeque<Entry>,
    cursor: Option<String>,
    begun: bool,
}

impl Entries {
    /// The next one; `None` after the last.
    ///
    /// # Errors
    /// See [`Error`]; asking again goes on where it failed.
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        while self.page.is_empty() {
            if self.begun && self.cursor.is_none() {
                return Ok(None);
            }
            let cursor = self.cursor.as_deref();
            let page = self.client.page(&self.prefix, Some(1_000), cursor).await?;
            self.page = page.entries.into();
            self.cursor = page.cursor;
            self.begun = true;
        }
        Ok(self.page.pop_front())
    }
}

/// Where the entry is: in the path where that can hold the key. Dots alone
/// between slashes are taken for directories on the way.
fn path_of(key: &str) -> String {
    let lost = key.is_empty() || key.split('/').any(|part| matches!(part, "." | ".." | ""));
    if lost {
        format!("/v1/shared?key={}", percent_encode(key))
    } else {
        format!("/v1/shared/{}", percent_encode(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_where_it_arrives_as_it_is() {
        assert_eq!(path_of("a/b"), "/v1/shared/a%2Fb");
        assert_eq!(path_of("ü ?"), "/v1/shared/%C3%BC%20%3F");
        for key in ["..", "a/../b", "a//b", "/a", "a/", "."] {
            assert!(path_of(key).starts_with("/v1/shared?key="), "{key}");
        }
    }

    #[test]
    fn options_are_asked_for_as_documented() {
        let options = WriteOptions::default()
            .ack(Ack::All)
            .timeout(Duration::from_secs(7))
            .ttl(Duration::from_micros(10));
        assert_eq!(
            options.query("/v1/shared/a"),
            "/v1/shared/a?ack=all&timeout=7000ms&ttl=1ms"
        );
        let two = WriteOptions::default().ack(Ack::Members(2));
        assert_eq!(two.query("/v1/shared?key=."), "/v1/shared?key=.&ack=2");
        assert_eq!(
            options.patience(Duration::from_secs(5)),
            Duration::from_secs(11)
        );
    }
}
