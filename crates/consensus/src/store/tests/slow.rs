//! Disks that are slow: whoever votes waits for them, and a leader is elected.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dui_core::NodeId;
use dui_disk::memory::Memory;

use super::super::{COMPACT_BYTES_MIN, open_on};
use crate::call::{Call, Raft};
use crate::founding::ClusterId;
use crate::group::{Beat, Calling, Group, Lane, Unreached, Wire};
use crate::types::Kind;

const CLUSTER: ClusterId = ClusterId(7);
const ALL: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

/// Longer than a vote is waited for where disks are fast.
const SLOW: Duration = Duration::from_millis(700);

/// Managers in one process, each with a disk.
#[derive(Clone, Default)]
struct Town {
    groups: Arc<Mutex<BTreeMap<NodeId, Group>>>,
    disks: BTreeMap<NodeId, Memory>,
}

/// How one of them reaches the others.
struct Way(NodeId, Town);

impl Wire for Way {
    fn call(&self, to: NodeId, _: Lane, call: Vec<u8>, limit: Duration) -> Calling {
        let (from, group) = (self.0, self.1.group(to));
        let answering = async move {
            let Ok(Call::Raft(CLUSTER, call)) = Call::decode(&call) else {
                panic!("groups speak of nothing else");
            };
            let call: Raft = *call;
            Some(group?.answer(from, call).await.encode())
        };
        // As with a connection, what is asked is done though nobody waits.
        let answering = tokio::spawn(answering);
        Box::pin(async move {
            let answered = tokio::time::timeout(limit, answering).await;
            let answer = answered.ok().and_then(Result::unwrap);
            answer.ok_or_else(|| Unreached("it does not answer".into()))
        })
    }
}

impl Town {
    fn new() -> Self {
        let disks = ALL.map(|id| (id, Memory::default()));
        Self {
            disks: disks.into(),
            ..Self::default()
        }
    }

    fn group(&self, id: NodeId) -> Option<Group> {
        self.groups.lock().unwrap().get(&id).cloned()
    }

    fn groups(&self) -> Vec<Group> {
        self.groups.lock().unwrap().values().cloned().collect()
    }

    fn slow_down(&self) {
        for disk in self.disks.values() {
            disk.slow_syncs(SLOW);
        }
    }

    async fn start(&self, id: NodeId) {
        let disk = Arc::new(self.disks[&id].clone());
        let opening =
            tokio::task::spawn_blocking(|| open_on(disk, Path::new("raft"), COMPACT_BYTES_MIN));
        let opened = opening.await.unwrap().unwrap();
        let way = Arc::new(Way(id, self.clone()));
        let group = Group::start_on(CLUSTER, id, opened, way).await.unwrap();
        self.groups.lock().unwrap().insert(id, group);
    }

    async fn stop(&self, id: NodeId) {
        let group = self.groups.lock().unwrap().remove(&id);
        group.unwrap().stop().await;
    }

    /// Once all agree on it.
    async fn leader(&self) -> NodeId {
        let groups = self.groups();
        let leaders = || groups.iter().map(|group| group.pulse().beat().leader);
        until("a leader", || {
            let first = leaders().next().flatten();
            first.filter(|_| leaders().all(|leader| leader == first))
        })
        .await
    }
}

async fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(there) = there() {
            return there;
        }
        assert!(began.elapsed() < Duration::from_secs(12), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All at once.
async fn each<F: Future<Output = ()> + Send + 'static>(ids: &[NodeId], what: impl Fn(NodeId) -> F) {
    let tasks: Vec<_> = ids.iter().map(|id| tokio::spawn(what(*id))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_leader_that_dies_is_replaced_though_a_vote_takes_longer_than_it_is_waited_for() {
    let town = Town::new();
    for id in ALL {
        town.start(id).await;
    }
    for group in town.groups() {
        let kind = Kind { ephemeral: false };
        group.begin(&ALL, kind).await.unwrap();
    }
    let first = town.leader().await;
    assert!(!town.groups().iter().any(Group::is_outpaced));

    town.slow_down();
    town.stop(first).await;
    let rest: Vec<NodeId> = ALL.into_iter().filter(|id| *id != first).collect();
    for group in town.groups() {
        group.leader_died(first).await.unwrap();
    }
    let outpaced = || town.groups().iter().all(Group::is_outpaced).then_some(());
    until("a sync that was measured", outpaced).await;

    // As the managers do: started anew, they wait for the disk.
    each(&rest, |id| {
        let town = town.clone();
        async move {
            town.stop(id).await;
            town.start(id).await;
        }
    })
    .await;
    let second = town.leader().await;
    assert!(rest.contains(&second));
    assert!(!town.groups().iter().any(Group::is_outpaced));
    let beats: Vec<Beat> = town
        .groups()
        .iter()
        .map(|group| group.pulse().beat())
        .collect();
    assert!(
        beats.iter().all(|beat| beat.leader == Some(second)),
        "{beats:?}"
    );
    for group in town.groups() {
        group.stop().await;
    }
}
