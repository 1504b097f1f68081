//! Asking the node: every question has a bound, so that a stuck node shows as one.

use std::time::Duration;

use dui_client::Code;
use dui_node::ApiError;

use crate::refusal::Refusal;

/// Longest wait for the node's main loop. It answers within microseconds
/// unless the process is starved.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the node answers.
pub(crate) async fn ask<T>(
    question: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, Refusal> {
    ask_within(PATIENCE, question).await
}

/// What the node answers within this time; a refusal `stalled` after it.
pub(crate) async fn ask_within<T>(
    patience: Duration,
    question: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(patience, question).await {
        Ok(answer) => answer.map_err(Refusal::from),
        Err(_) => Err(Refusal::new(
            Code::Stalled,
            format!(
                "the node's main loop did not answer within {patience:?}: look at the load of its host, or ask another node"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_node_that_is_stuck_is_called_stalled() {
        let never = std::future::pending::<Result<(), ApiError>>();
        let refusal = ask_within(Duration::from_millis(1), never)
            .await
            .unwrap_err();
        assert!(refusal.problem().is(Code::Stalled));
    }

    #[tokio::test]
    async fn a_node_that_has_stopped_is_no_stalled_one() {
        let stopped = async { Err::<(), _>(ApiError::Stopped) };
        assert!(ask(stopped).await.unwrap_err().problem().is(Code::Stopped));
    }
}
