//! Wire: the fields of calls and answers, as they lie in a message. A number
//! once used is never given another meaning.

use prost::Message;

use crate::machine::store::ProtoView;
use crate::record::proto::{Entry, Ids, LogId, StoredMembership, Vote};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Call {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) cluster: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(super) append: Option<Append>,
    #[prost(message, optional, tag = "3")]
    pub(super) vote: Option<VoteFor>,
    #[prost(message, optional, tag = "4")]
    pub(super) pre_vote: Option<VoteFor>,
    #[prost(message, optional, tag = "5")]
    pub(super) snapshot: Option<Snapshot>,
    #[prost(message, optional, tag = "6")]
    pub(super) transfer: Option<Transfer>,
    #[prost(message, optional, tag = "7")]
    pub(super) word: Option<Word>,
    #[prost(bool, tag = "8")]
    pub(super) standing: bool,
    #[prost(uint64, optional, tag = "9")]
    pub(super) views_after: Option<u64>,
    #[prost(message, optional, tag = "10")]
    pub(super) operate: Option<Operate>,
    #[prost(bool, tag = "20")]
    pub(super) backup: bool,
    #[prost(bool, tag = "21")]
    pub(super) origins: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Append {
    #[prost(message, optional, tag = "1")]
    pub(super) vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub(super) prev: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub(super) commit: Option<LogId>,
    #[prost(message, repeated, tag = "4")]
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct VoteFor {
    #[prost(message, optional, tag = "1")]
    pub(super) vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub(super) last: Option<LogId>,
    #[prost(bool, tag = "3")]
    pub(super) transfer: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Snapshot {
    #[prost(message, optional, tag = "1")]
    pub(super) vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub(super) last: Option<LogId>,
    #[prost(message, optional, tag = "3")]
    pub(super) membership: Option<StoredMembership>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Transfer {
    #[prost(message, optional, tag = "1")]
    pub(super) from: Option<Vote>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) to: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(super) last: Option<LogId>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Word {
    #[prost(message, optional, tag = "1")]
    pub(super) voters: Option<Ids>,
    #[prost(uint32, tag = "2")]
    pub(super) word: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Operate {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) manager: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) what: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    /// 1 success, 2 conflict.
    #[prost(uint32, tag = "1")]
    pub(super) append: u32,
    #[prost(message, optional, tag = "2")]
    pub(super) partial: Option<Partial>,
    #[prost(message, optional, tag = "3")]
    pub(super) higher: Option<Vote>,
    #[prost(message, optional, tag = "4")]
    pub(super) vote: Option<Voted>,
    #[prost(message, optional, tag = "5")]
    pub(super) snapshot: Option<Vote>,
    #[prost(bool, tag = "6")]
    pub(super) done: bool,
    #[prost(message, optional, tag = "7")]
    pub(super) standing: Option<Standing>,
    #[prost(message, optional, tag = "8")]
    pub(super) views: Option<Views>,
    #[prost(message, optional, tag = "9")]
    pub(super) refused: Option<Refused>,
    #[prost(bytes = "vec", optional, tag = "20")]
    pub(super) backup: Option<Vec<u8>>,
    /// 16 bytes an id, end to end.
    #[prost(bytes = "vec", optional, tag = "21")]
    pub(super) origins: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Partial {
    #[prost(message, optional, tag = "1")]
    pub(super) last: Option<LogId>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Voted {
    #[prost(message, optional, tag = "1")]
    pub(super) vote: Option<Vote>,
    #[prost(bool, tag = "2")]
    pub(super) granted: bool,
    #[prost(message, optional, tag = "3")]
    pub(super) last: Option<LogId>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Standing {
    #[prost(uint32, tag = "1")]
    pub(super) expect: u32,
    #[prost(bool, tag = "2")]
    pub(super) fresh: bool,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) member: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    pub(super) sees: Option<Ids>,
    #[prost(bool, tag = "5")]
    pub(super) ephemeral: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Views {
    #[prost(message, repeated, tag = "1")]
    pub(super) next: Vec<ProtoView>,
    #[prost(message, optional, tag = "2")]
    pub(super) whole: Option<ProtoView>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Refused {
    #[prost(string, tag = "1")]
    pub(super) code: String,
    #[prost(string, tag = "2")]
    pub(super) why: String,
}
