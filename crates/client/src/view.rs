//! Views: the members as the managers have agreed on them, numbered.
//!
//! Unlike the members of `GET /v1/members`, which each node judges by itself,
//! the views of a cluster are the same everywhere and in the same order; they
//! come a little later, and only while somebody leads.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::member::Role;

/// A member of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewMember {
    /// Names the node for good.
    pub id: String,
    /// Its label for people.
    pub name: String,
    /// Its peer address.
    pub address: String,
    /// Manager or worker.
    pub role: Role,
}

/// A change of the members: what this view has that the one before had not,
/// and the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct View {
    /// Names the cluster, and with `number` the view.
    pub cluster_id: String,
    /// From 1, without gaps.
    pub number: u64,
    /// The revision at which it was agreed on.
    pub revision: u64,
    /// New ones, or such with another name, address or role. Of a node's first
    /// view: all of its members.
    pub joined: Vec<ViewMember>,
    /// Ids of those that said goodbye.
    pub left: Vec<String>,
    /// Ids of those that failed or were forgotten.
    pub failed: Vec<String>,
}

/// Views that are still kept (the last 1,024), oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewList {
    /// Names the cluster; `null` before it is formed.
    pub cluster_id: Option<String>,
    /// The views that were asked for.
    pub views: Vec<View>,
    /// All members of the newest view.
    pub members: Vec<ViewMember>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_view_reads_as_documented() {
        let text = r#"{"cluster_id":null,"views":[{"cluster_id":"c1","number":3,"revision":12,
            "joined":[{"id":"a1","name":"ann","address":"127.0.0.1:7781","role":"worker"}],
            "left":["b0"],"failed":[],"mood":"good"}],"members":[]}"#;
        let list: ViewList = serde_json::from_str(text).unwrap();
        let view = &list.views[0];
        assert_eq!((view.number, view.joined[0].role), (3, Role::Worker));
        let back = serde_json::to_value(&list).unwrap();
        assert!(back["cluster_id"].is_null());
        assert_eq!(back["views"][0]["left"][0], "b0");
    }
}
