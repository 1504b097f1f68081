//! A watch: one node's events as a stream that ends when the node leaves.
//!
//! The server sends a comment every 15 s, so silence means that it is gone:
//! after three missed ones the stream fails instead of waiting for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep};

use crate::error::Error;
use crate::path::query;
use crate::sse::{Message, Parser};
use crate::watch_event::WatchEvent;

const SILENCE_MAX: Duration = Duration::from_secs(50);

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFilter {
    /// Changes of members.
    pub members: bool,
    /// Who leads, and the numbered views.
    pub leader: bool,
    /// User events: none, all, or those of one name.
    pub events: EventFilter,
    /// Shared entries whose keys begin with this; empty: all of them.
    pub shared: Option<String>,
}

/// Which user events to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventFilter {
    /// None.
    #[default]
    None,
    /// Every one.
    All,
    /// Those of this name.
    Named(String),
}

impl WatchFilter {
    /// Members, the leader with the views, and user events.
    pub fn all() -> Self {
        Self {
            members: true,
            leader: true,
            events: EventFilter::All,
            shared: None,
        }
    }

    /// Shared entries whose keys begin with `prefix`, and nothing else.
    pub fn shared(prefix: impl Into<String>) -> Self {
        Self {
            shared: Some(prefix.into()),
            ..Self::default()
        }
    }

    pub(crate) fn path(&self) -> String {
        let events = match &self.events {
            EventFilter::None => None,
            EventFilter::All => Some(""),
            EventFilter::Named(name) => Some(name.as_str()),
        };
        let parameters = [
            ("members", self.members.then_some("")),
            ("leader", self.leader.then_some("")),
            ("events", events),
            ("shared", self.shared.as_deref()),
        ];
        query("/v1/watch", &parameters)
    }
}

/// An event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Where to resume after this event; `None` before the first event that has a place.
    pub id: Option<String>,
    /// What happened.
    pub event: WatchEvent,
}

/// Events of one node in order. Dropping it ends the watch.
///
/// The stream ends after [`WatchEvent::Leaving`], and after an error. Events
/// of a kind that this version does not know are skipped.
#[derive(Debug)]
pub struct Watch {
    /// `None` once the stream is over.
    body: Option<Incoming>,
    parser: Parser,
    silence: Pin<Box<Sleep>>,
    address: String,
}

impl Watch {
    pub(crate) fn new(body: Incoming, address: String) -> Self {
        Self {
            body: Some(body),
            parser: Parser::default(),
            silence: Box::pin(tokio::time::sleep(SILENCE_MAX)),
            address,
        }
    }

    /// The next event; `None` when the stream is over.
    pub async fn next(&mut self) -> Option<Result<Watched, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Whom it watches.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What is in the parser already.
    fn parsed(&mut self) -> Option<Result<Watched, Error>> {
        while let Some(message) = self.parser.pop() {
            match typed(&message) {
                Ok(Some(event)) => {
                    if event == WatchEvent::Leaving {
                        self.body = None;
                    }
                    let id = message.id;
                    return Some(Ok(Watched { id, event }));
                }
                Ok(None) => {}
                Err(why) => {
                    let why = format!("event {}: {why}", message.event);
                    return Some(Err(
                        self.over(|address| Error::NotUnderstood { address, why })
                    ));
                }
            }
        }
        None
    }

    /// Ends the stream with this error.
    fn over(&mut self, error: impl FnOnce(String) -> Error) -> Error {
        self.body = None;
        error(self.address.clone())
    }
}

impl Stream for Watch {
    type Item = Result<Watched, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.parsed() {
                return Poll::Ready(Some(event));
            }
            let Some(body) = &mut this.body else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                std::task::ready!(this.silence.as_mut().poll(cx));
                let after = SILENCE_MAX;
                let error = this.over(|address| Error::Timeout { address, after });
                return Poll::Ready(Some(Err(error)));
            };
            this.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            let broken = match frame {
                None => Some("the stream ended without a goodbye".to_owned()),
                Some(Err(why)) => Some(why.to_string()),
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    this.parser.push(&data).err().map(|why| why.to_string())
                }
            };
            if let Some(why) = broken {
                let error = this.over(|address| Error::Broken { address, why });
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

/// The event in a message; `None` for one of a kind that is not known here.
fn typed(message: &Message) -> Result<Option<WatchEvent>, serde_json::Error> {
    fn data<T: DeserializeOwned>(message: &Message) -> Result<T, serde_json::Error> {
        serde_json::from_str(&message.data)
    }
    Ok(Some(match message.event.as_str() {
        "reset" => WatchEvent::Reset(data(message)?),
        "member_alive" => WatchEvent::MemberAlive(data(message)?),
        "member_suspect" => WatchEvent::MemberSuspect(data(message)?),
        "member_failed" => WatchEvent::MemberFailed(data(message)?),
        "member_left" => WatchEvent::MemberLeft(data(message)?),
        "member_forgotten" => WatchEvent::MemberForgotten(data(message)?),
        "leader_changed" => WatchEvent::LeaderChanged(data(message)?),
        "view_changed" => WatchEvent::ViewChanged(data(message)?),
        "user_event" => WatchEvent::UserEvent(data(message)?),
        "shared_changed" => WatchEvent::SharedChanged(data(message)?),
        "complete" => WatchEvent::Complete,
        "leaving" => WatchEvent::Leaving,
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_filter_is_asked_for_as_documented() {
        let deploys = WatchFilter {
            events: EventFilter::Named("de ploy".into()),
            ..WatchFilter::default()
        };
        assert_eq!(deploys.path(), "/v1/watch?events=de%20ploy");
        assert_eq!(WatchFilter::shared("a/").path(), "/v1/watch?shared=a%2F");
        assert_eq!(
            WatchFilter::all().path(),
            "/v1/watch?members=&leader=&events="
        );
    }

    #[test]
    fn an_event_of_the_future_is_skipped_and_a_garbled_one_is_not() {
        let message = |event: &str, data: &str| Message {
            event: event.into(),
            data: data.into(),
            id: None,
        };
        assert_eq!(typed(&message("sun_rose", "{}")).unwrap(), None);
        assert_eq!(
            typed(&message("leaving", "{}")).unwrap(),
            Some(WatchEvent::Leaving)
        );
        for kind in ["member_alive", "leader_changed", "view_changed"] {
            assert!(typed(&message(kind, "{}")).is_err(), "{kind}");
        }
    }
}
