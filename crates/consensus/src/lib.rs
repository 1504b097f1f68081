//! What the managers of a cluster agree on.
//!
//! So far: [`founding`], who may create the group that agrees on anything.

pub mod founding;
