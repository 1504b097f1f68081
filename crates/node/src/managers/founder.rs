//! Founder: who founds where nobody said how many are expected, on loopback.
//!
//! The manager that binds the abstract socket `\0dui/CLUSTER/founder` founds
//! alone; the others find it taken and join. There is one such name in each
//! network namespace, which is exactly how far loopback reaches, and it goes
//! with the process. Who belongs to a formed cluster sits on one of sixteen
//! further names, so that a founder that comes late knows of those who are
//! left: it founds only where all seats are free. The kernel decides: there
//! is no window of time, and nothing to take back.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use dui_core::ClusterName;

const SEATS: usize = 16;

/// What a manager holds of the names of its cluster.
#[derive(Debug)]
pub(crate) struct Founder {
    cluster: ClusterName,
    founder: Option<UnixDatagram>,
    seat: Option<UnixDatagram>,
}

impl Founder {
    pub(crate) fn new(cluster: ClusterName) -> Self {
        Self {
            cluster,
            founder: None,
            seat: None,
        }
    }

    /// Whether this manager is to found now: it is the founder, and nobody
    /// belongs to a formed cluster.
    ///
    /// # Errors
    /// Where there are no abstract sockets.
    pub(crate) fn may_found(&mut self) -> io::Result<bool> {
        if self.founder.is_none() {
            self.founder = self.bind("founder")?;
        }
        if self.founder.is_none() {
            return Ok(false);
        }
        for seat in 0..SEATS {
            // Free again at once.
            if self.bind(&format!("seat/{seat}"))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Shows that this manager belongs to a formed cluster. More than sixteen
    /// need not: as long as one of those sits, nobody founds.
    ///
    /// # Errors
    /// As [`Self::may_found`].
    pub(crate) fn sit(&mut self) -> io::Result<()> {
        for seat in 0..SEATS {
            if self.seat.is_some() {
                break;
            }
            self.seat = self.bind(&format!("seat/{seat}"))?;
        }
        Ok(())
    }

    /// It belongs to none any more.
    pub(crate) fn stand_up(&mut self) {
        self.seat = None;
    }

    fn bind(&self, name: &str) -> io::Result<Option<UnixDatagram>> {
        let name = format!("dui/{}/{name}", self.cluster);
        let address = SocketAddr::from_abstract_name(name.as_bytes())?;
        match UnixDatagram::bind_addr(&address) {
            Ok(socket) => Ok(Some(socket)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn founders(name: &str, count: usize) -> Vec<Founder> {
        let cluster: ClusterName = format!("{name}-{}", std::process::id()).parse().unwrap();
        (0..count).map(|_| Founder::new(cluster.clone())).collect()
    }

    #[test]
    fn of_many_one_founds_and_after_it_the_next() {
        let mut all = founders("one", 3);
        let may: Vec<bool> = all.iter_mut().map(|one| one.may_found().unwrap()).collect();
        assert_eq!(may, [true, false, false]);
        all.remove(0);
        let may: Vec<bool> = all.iter_mut().map(|one| one.may_found().unwrap()).collect();
        assert_eq!(may, [true, false]);
    }

    #[test]
    fn nobody_founds_while_somebody_belongs_to_a_cluster() {
        let mut all = founders("seat", 3);
        assert!(all[0].may_found().unwrap());
        all[0].sit().unwrap();
        all[1].sit().unwrap();
        all.remove(0);
        assert!(!all[1].may_found().unwrap(), "another one still sits");
        all[0].stand_up();
        assert!(all[1].may_found().unwrap());
    }
}
