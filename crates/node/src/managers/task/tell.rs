//! Tell: what this node tells others of the managers' agreement, and hears of it.
//!
//! The leader tells the latest by gossip, a fact that replaces the one before.
//! The views themselves are too long for that: whoever hears of a newer one
//! and has no log to read it in asks a voter.

use dui_consensus::call::{Answer, Call};
use dui_consensus::founding::ClusterId;
use dui_consensus::group::{Lane, Wire};
use dui_consensus::machine::Agreed;
use dui_core::{LeaderNews, NodeId};

use super::super::{Input, lock};
use super::{ASK_MAX, Task};

impl Task {
    pub(super) fn seen_until(&self, cluster: ClusterId) -> u64 {
        let outlook = lock(&self.front.outlook);
        match outlook.cluster() {
            Some(seen) if seen == cluster => outlook.number(),
            _ => 0,
        }
    }

    pub(super) fn take_views(&mut self, cluster: ClusterId, views: dui_consensus::call::Views) {
        let new = lock(&self.front.outlook).take(cluster, views);
        for view in new {
            tracing::info!(
                target: "dui", event = "view_changed", number = view.number,
                revision = view.revision, joined = view.joined.len(), gone = view.gone.len(),
            );
            self.history.add_view(cluster, view);
        }
    }

    pub(super) fn tell_views(&self, cluster: ClusterId, after: u64) -> Answer {
        let agreed = self.part.as_ref().map(|part| part.agreed.borrow().clone());
        match agreed {
            Some(agreed) if self.is_of(cluster) => {
                let next = agreed.state.views_after(after).filter(|_| after > 0);
                Answer::Views(match next {
                    Some(views) => dui_consensus::call::Views::Next(views),
                    None => whole(&agreed),
                })
            }
            _ => Answer::Refused {
                code: "other_cluster".into(),
                why: format!("this node has no views of cluster {cluster}"),
            },
        }
    }

    pub(super) fn is_of(&self, cluster: ClusterId) -> bool {
        let part = self.part.as_ref();
        part.is_some_and(|part| part.group.cluster() == cluster)
    }

    /// Asks a voter for the views that this node lacks.
    pub(super) async fn ask_views(&mut self) {
        let Some(news) = self.news().await else {
            return;
        };
        let cluster = ClusterId(news.cluster_id);
        // Two clusters may have met: a manager sees the views of its own.
        if self
            .founding
            .record()
            .member
            .is_some_and(|own| own != cluster)
        {
            return;
        }
        let after = self.seen_until(cluster);
        // Who votes has them in its log; who stood down may have an old one.
        let votes = self.is_of(cluster) && news.voters.contains(&self.setup.me);
        if self.asking_views || after >= news.view || votes {
            return;
        }
        let voters = news.voters.iter().filter(|id| **id != self.setup.me);
        let voters: Vec<NodeId> = voters.copied().collect();
        // Who asks whom is spread by the asker's id.
        let place = (self.setup.me.0 % (voters.len().max(1) as u128)) as usize;
        let turned = voters.iter().cycle().skip(place).take(voters.len());
        let turned: Vec<NodeId> = turned.copied().collect();
        if turned.is_empty() {
            return;
        }
        self.asking_views = true;
        let (calls, sender) = (self.calls.clone(), self.sender.clone());
        tokio::spawn(async move {
            let call = Call::Views(cluster, after).encode();
            let mut found = None;
            for voter in turned {
                let bytes = calls.call(voter, Lane::Log, call.clone(), ASK_MAX).await;
                if let Ok(bytes) = bytes
                    && let Ok(Answer::Views(views)) = Answer::decode(&bytes)
                    && !views.is_empty()
                {
                    found = Some(views);
                    break;
                }
            }
            // No task any more, nobody to tell.
            let _ = sender.send(Input::Views(cluster, found)).await;
        });
    }

    /// A leader tells everybody what was agreed on.
    pub(super) async fn tell_news(&mut self, agreed: &Agreed) {
        let Some(part) = &self.part else {
            return;
        };
        // Not before this process has claimed it.
        let reign = self.reign.as_ref();
        let reign = reign.filter(|reign| reign.is_claimed());
        let leads = |leader, term| {
            leader == self.setup.me && reign.is_some_and(|reign| reign.term() == term)
        };
        let Some(election) = agreed.state.election() else {
            return;
        };
        if !leads(election.leader, election.term) {
            return;
        }
        let news = LeaderNews {
            cluster_id: part.group.cluster().0,
            revision: agreed.state.revision(),
            leader: election.leader,
            term: election.term,
            elected_at: election.revision,
            view: agreed.state.view(),
            voters: agreed.voters(),
            ephemeral: agreed.is_ephemeral(),
        };
        if self.news_told.as_ref() == Some(&news) {
            return;
        }
        self.news_told = Some(news.clone());
        self.course.note(&self.founding, Some(&news));
        // A node that has stopped tells nobody.
        let _ = self
            .handle
            .ask(move |peer, now| peer.tell_leader(now, news))
            .await;
    }

    pub(super) async fn hear_news(&mut self, news: LeaderNews) {
        let same = |last: &LeaderNews| {
            (last.cluster_id, last.leader, last.elected_at)
                == (news.cluster_id, news.leader, news.elected_at)
        };
        if !self.news_logged.as_ref().is_some_and(same) {
            let member = self.members().await;
            let member = member.iter().find(|member| member.id == news.leader);
            tracing::info!(
                target: "dui", event = "leader_changed",
                member = member.map_or_else(String::new, |member| member.name.to_string()),
                id = %news.leader, term = news.term, revision = news.elected_at,
                cluster_id = %ClusterId(news.cluster_id),
            );
        }
        self.news_logged = Some(news.clone());
        if !self.departing {
            self.meet(&news).await;
        }
        self.course.note(&self.founding, Some(&news));
        if let Some(part) = &mut self.part {
            let beat = part.pulse.beat();
            self.set_campaigning(&beat).await;
        }
        if self.reign.is_some() {
            self.rule().await;
        }
        self.ask_views().await;
    }
}

pub(super) fn whole(agreed: &Agreed) -> dui_consensus::call::Views {
    let newest = agreed.state.views().last();
    dui_consensus::call::Views::Whole {
        number: agreed.state.view(),
        revision: newest.map_or(0, |view| view.revision),
        members: agreed.state.members().values().cloned().collect(),
    }
}
