//! Fault: everything bad that can happen, and some that is just life.
//!
//! Faults name hosts by numbers that are taken modulo their count, so that a
//! plan makes sense with fewer of them, too.

use std::time::Duration;

/// One thing that befalls a cluster. Numbers are hosts.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// SIGKILL.
    Kill(u64),
    /// Power off: nobody answers for the host any more.
    Vanish(u64),
    /// SIGTERM: says goodbye and ends.
    Leave(u64),
    /// One that does not run starts again, with what its disk remembers.
    Restart(u64),
    /// The same, at another address.
    RestartElsewhere(u64),
    /// One that does not run starts again as a new node, at the same address.
    Replace(u64),
    /// Two are killed and start again, each at the other's address.
    Swap(u64, u64),
    /// One is killed and moves away; another is, too, and takes its address.
    TakeOver(u64, u64),
    /// A running one gets another address, and its node follows.
    Move(u64),
    /// Two running ones exchange their addresses, both at once.
    Exchange(u64, u64),
    /// SIGSTOP for so long.
    Stop(u64, Duration),
    /// The machine sleeps for so long.
    Sleep(u64, Duration),
    /// Each input costs so much CPU time, for so long.
    Slow(u64, Duration, Duration),
    /// Nothing gets from one to the other.
    CutOneWay(u64, u64),
    /// Nothing gets between two.
    Cut(u64, u64),
    /// No packet gets out of one; streams do.
    BlockUdpOut(u64),
    /// No packet gets into one; streams do.
    BlockUdpIn(u64),
    /// Each host is in the group that its two bits say.
    Partition(u128),
    /// All are in one group again; other faults stay.
    Join,
    /// Packets lost everywhere, per million.
    Lose(u32),
    /// Packets lost at one, in and out, per million.
    LoseAt(u64, u32, u32),
    /// Packets that arrive twice, per million.
    Duplicate(u32),
    /// Packets that are overtaken, per million.
    Reorder(u32),
    /// Larger packets than this do not get into one.
    Narrow(u64, usize),
    /// Packets to and from one take so much longer.
    Delay(u64, Duration),
    /// A clock is set ahead, or behind.
    ClockAhead(u64, i64),
    /// A clock runs fast, or slow, by millionths.
    Drift(u64, i32),
    /// Every clock shows so many hours more: time passes while nothing happens.
    HoursPass(u64),
    /// Peers see one at another address (a NAT that maps anew), until all heals.
    Readdress(u64),
    /// A disk is full.
    DiskFull(u64),
    /// It is not any more.
    DiskFree(u64),
    /// Somebody publishes an event of so many bytes.
    Publish(u64, usize),
    /// Somebody is told leader news: the next revision, or so many before it.
    Lead(u64, u64),
    /// Somebody forgets somebody, alive or not.
    Forget(u64, u64),
    /// All faults end, and nothing happens for so long.
    Rest(Duration),
}
