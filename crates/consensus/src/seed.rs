//! Seed: a group that begins with a state instead of with nothing.
//!
//! After what no manager may decide by itself, an operator has one of them
//! found a cluster anew, alone: from its own copy of what was agreed, or from
//! a backup. The state is laid down as a snapshot, the log begins behind it,
//! and everybody who joins later gets it the way a late follower gets any.
//! It is all there and synced before the manager writes that it belongs to
//! the new cluster: until then it is nobody's, from then on it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use dui_core::NodeId;
use openraft::storage::RaftLogStorage;

use crate::machine::State;
use crate::machine::store::{Agreed, encode};
use crate::store::{self, Opened, StoreError};
use crate::types::{Kind, LogId, Membership, RaftId, StoredMembership, Vote};

/// The term in which the state is taken for agreed on.
const TERM: u64 = 1;
/// The record that the snapshot takes the place of.
const INDEX: u64 = 1;

/// Lays the beginning of a group down in `dir`, which nobody has used: `me`
/// alone votes. Durable on return.
///
/// # Errors
/// [`StoreError`]: what is in `dir` then is of no use.
pub async fn on_disk(dir: &Path, me: NodeId, state: State) -> Result<(), StoreError> {
    let at = dir.to_owned();
    let opened = off_the_runtime(dir, move || store::open(&at)).await??;
    let laid = lay(&opened, dir, me, Kind { ephemeral: false }, state).await;
    let log = opened.log.clone();
    off_the_runtime(dir, move || log.close()).await?;
    laid
}

/// As [`on_disk`], for a manager without one.
///
/// # Errors
/// As [`on_disk`].
pub async fn in_memory(me: NodeId, state: State) -> Result<Opened, StoreError> {
    let opened = store::in_memory();
    let kind = Kind { ephemeral: true };
    lay(&opened, Path::new(""), me, kind, state).await?;
    Ok(opened)
}

async fn lay(
    opened: &Opened,
    dir: &Path,
    me: NodeId,
    kind: Kind,
    state: State,
) -> Result<(), StoreError> {
    let failed = |source| StoreError::Io {
        path: dir.to_owned(),
        source,
    };
    let leader_id = openraft::impls::leader_id_adv::LeaderId {
        term: TERM,
        node_id: RaftId(me),
    };
    let id = LogId::new(leader_id, INDEX);
    let voters = vec![BTreeSet::from([RaftId(me)])];
    let membership = Membership::new(voters, BTreeMap::from([(RaftId(me), kind)]));
    let membership = membership.map_err(|wrong| failed(io::Error::other(wrong)))?;
    let bytes = encode(&Agreed {
        state: state.into(),
        applied: Some(id),
        membership: StoredMembership::new(Some(id), membership),
    });
    // A log that begins behind a snapshot never lies beside none.
    let snapshots = opened.snapshots.clone();
    off_the_runtime(dir, move || snapshots.save(&bytes))
        .await?
        .map_err(failed)?;
    let mut log = opened.log.clone();
    log.purge(id).await.map_err(failed)?;
    log.save_committed(Some(id)).await.map_err(failed)?;
    // The log is written in order: what is waited for last is synced last.
    let vote = Vote::new_committed(TERM, RaftId(me));
    log.save_vote(&vote).await.map_err(failed)
}

async fn off_the_runtime<T: Send + 'static>(
    dir: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    let path: PathBuf = dir.to_owned();
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|gone| StoreError::Io {
        path,
        source: io::Error::other(gone),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::founding::{ClusterId, Decision};
    use crate::group::{Calling, Group, Lane, Unreached, Wire};
    use crate::machine::RAISE;
    use crate::record::{Command, Seen};

    const ANN: NodeId = NodeId(1);
    const OLD: ClusterId = ClusterId(7);
    const NEW: ClusterId = ClusterId(8);

    struct Alone;

    impl Wire for Alone {
        fn call(&self, _: NodeId, _: Lane, _: Vec<u8>, _: Duration) -> Calling {
            Box::pin(async { Err(Unreached("there is nobody else".into())) })
        }
    }

    fn old() -> State {
        let mut state = State::default();
        state.apply(&Command::Decide {
            decision: Decision::Created,
            base: 40,
        });
        state.apply(&Command::Elected {
            leader: NodeId(2),
            term: 9,
            above: 0,
        });
        state.apply(&Command::View {
            joined: vec![Seen {
                id: ANN,
                name: "ann".into(),
                address: "127.0.0.1:7781".into(),
                manager: true,
            }],
            gone: Vec::new(),
        });
        state
    }

    async fn leads(group: &Group) {
        let mut pulse = group.pulse();
        while !pulse.beat().leads {
            assert!(pulse.changed().await, "the group goes on");
        }
    }

    /// What a group that was laid down does, from its beginning on.
    async fn goes_on(group: &Group, term: u64) -> u64 {
        leads(group).await;
        group.confirm().await.unwrap();
        let agreed = group.agreed().borrow().clone();
        assert_eq!(agreed.voters(), [ANN]);
        assert_eq!(agreed.state.origins(), [OLD]);
        assert_eq!(agreed.state.members().len(), 1, "nothing is lost");
        assert!(agreed.state.revision() >= 43 + RAISE);
        let elected = Command::Elected {
            leader: ANN,
            term,
            above: 0,
        };
        group.write(elected).await.unwrap().revision
    }

    #[tokio::test]
    async fn a_group_goes_on_from_the_state_it_was_given_with_one_voter() {
        let state = old().refounded(ANN, OLD, 0);
        let opened = in_memory(ANN, state).await.unwrap();
        let group = Group::start_on(NEW, ANN, opened, Arc::new(Alone)).await;
        let group = group.unwrap();
        assert_eq!(goes_on(&group, 1).await, 43 + RAISE + 1);
        assert!(group.agreed().borrow().is_ephemeral());
        group.stop().await;
    }

    #[tokio::test]
    async fn what_lies_on_disk_is_the_same_after_any_number_of_starts() {
        let dir = tempfile::tempdir().unwrap();
        on_disk(dir.path(), ANN, old().refounded(ANN, OLD, 0))
            .await
            .unwrap();
        let mut last = 0;
        for term in 1..4 {
            let group = Group::start(NEW, ANN, Some(dir.path()), Arc::new(Alone)).await;
            let group = group.unwrap();
            let token = goes_on(&group, term).await;
            assert!(token > last, "{token} after {last}");
            last = token;
            group.stop().await;
        }
    }
}
