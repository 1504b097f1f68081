//! Desk: where other nodes' calls come in.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dui_consensus::call::{Answer, Call};
use dui_consensus::founding::ClusterId;
use dui_consensus::group::Group;
use dui_core::NodeId;
use tokio::sync::oneshot;

use super::{Front, Input};
use crate::calls::Service;

/// Answers what is for the Raft library at once, and hands the rest to the
/// task: a heartbeat waits for nothing else.
pub(crate) struct Desk(pub(crate) Arc<Front>);

impl Service for Desk {
    fn answer(
        &self,
        from: NodeId,
        call: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>> {
        let front = self.0.clone();
        Box::pin(async move {
            let answer = match Call::decode(&call) {
                Ok(Call::Raft(cluster, raft)) => match group_of(&front, cluster).await {
                    Some(group) => group.answer(from, *raft).await,
                    None => Answer::Refused {
                        code: "other_cluster".into(),
                        why: format!("this manager has no part in cluster {cluster}"),
                    },
                },
                Ok(call) => {
                    let (reply, answer) = oneshot::channel();
                    let input = Input::Call { from, call, reply };
                    front.inputs.send(input).await.ok()?;
                    answer.await.ok()?
                }
                // Of a newer dui, perhaps.
                Err(bad) => Answer::Refused {
                    code: "bad_call".into(),
                    why: bad.to_string(),
                },
            };
            Some(answer.encode())
        })
    }
}

/// The group, started if it has to be.
async fn group_of(front: &Front, cluster: ClusterId) -> Option<Group> {
    if let Some(group) = front.group()
        && group.cluster() == cluster
    {
        return Some(group);
    }
    let (reply, started) = oneshot::channel();
    front.inputs.send(Input::Group(cluster, reply)).await.ok()?;
    started.await.ok()?
}
