//! Why a request failed, and what to do about it.

use std::time::Duration;

use crate::problem::{Code, Problem};

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The base URL cannot be used. Nothing was sent.
    #[error("'{given}' is not an address of a node: {why}, for example http://127.0.0.1:7777")]
    BadAddress {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing answers there. Nothing was changed.
    #[error("no node answers at {address} ({why}): is dui running? start it with \"dui run\"")]
    Unreachable {
        /// The base URL.
        address: String,
        /// What the system said.
        why: String,
    },
    /// No answer in time. Whether the request was carried out is unknown.
    #[error(
        "the node at {address} did not answer within {after:?}: it may be overloaded or stopped; try again, or ask another node"
    )]
    Timeout {
        /// The base URL.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke off. Whether the request was carried out is unknown.
    #[error("the connection to {address} broke off ({why}): try again")]
    Broken {
        /// The base URL.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The node refused; see the problem's `code` and `detail`.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is none of a node of this version.
    #[error(
        "{address} answers, but not as a dui node does ({why}): check the address and the port"
    )]
    NotUnderstood {
        /// The base URL.
        address: String,
        /// What was wrong with the answer.
        why: String,
    },
}

impl Error {
    /// The stable code, when the node itself refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// Whether the node refused with this code.
    pub fn is(&self, code: Code) -> bool {
        self.code() == Some(code.as_str())
    }
}
