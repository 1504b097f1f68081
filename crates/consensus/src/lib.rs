//! What the managers of a cluster agree on.
//!
//! [`founding`] says who may create the group that agrees on anything, [`course`]
//! which cluster a manager seeks, and [`reign`] what a leader does;
//! [`group`] is that group, by the Raft library; [`machine`] is what its log
//! amounts to, [`record`] what lies in it, [`store`] where it lies, and
//! [`call`] what managers ask of one another.

pub mod backup;
pub mod call;
pub mod course;
pub mod founding;
pub mod group;
pub mod machine;
mod patience;
pub mod record;
pub mod reign;
pub mod seats;
pub mod seed;
pub mod store;
pub mod types;
