//! Holder: which process has a port, as far as this system tells us.
//!
//! `/proc/net` lists the sockets of our network namespace with their inodes,
//! and every process's `fd` directory names those that it holds. Without the
//! right to look there, nobody is named.

use std::fs;
use std::net::SocketAddr;

/// `python3 (pid 42)`, or the like.
pub(crate) fn of(address: SocketAddr) -> Option<String> {
    let inodes = inodes(address);
    let mut processes: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable();
    let pid = processes.into_iter().find(|pid| holds(*pid, &inodes))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", name.trim()))
}

/// Sockets that are in the way of listening at `address`.
fn inodes(address: SocketAddr) -> Vec<String> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let Ok(text) = fs::read_to_string(format!("/proc/net/{table}")) else {
            continue;
        };
        found.extend(text.lines().filter_map(|line| inode(line, table, address)));
    }
    found
}

fn inode(line: &str, table: &str, address: SocketAddr) -> Option<String> {
    const LISTENS: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (ip, port) = local.split_once(':')?;
    let listens = table.starts_with("udp") || *state == LISTENS;
    let everywhere = ip.bytes().all(|digit| digit == b'0');
    // Only sockets of another address of this host are not in the way.
    let here = everywhere || table.ends_with('6') || Some(ip) == hex(address).as_deref();
    let same_port = u16::from_str_radix(port, 16) == Ok(address.port());
    (listens && here && same_port).then(|| format!("socket:[{inode}]"))
}

/// An IPv4 address as `/proc/net` writes it: a number in the machine's order.
fn hex(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(v4) => Some(format!("{:08X}", u32::from_ne_bytes(v4.ip().octets()))),
        SocketAddr::V6(_) => None,
    }
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| {
            inodes
                .iter()
                .any(|inode| target.as_os_str() == inode.as_str())
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_process_that_has_a_port_is_named() {
        let ours = format!("(pid {})", std::process::id());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        for taken in [
            tcp.local_addr().unwrap(),
            SocketAddr::from(([127, 0, 0, 1], port)),
        ] {
            let holder = of(taken).unwrap();
            assert!(holder.ends_with(&ours), "{holder}");
        }
    }

    #[test]
    fn a_free_port_has_no_holder() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        drop(tcp);
        assert_eq!(of(address), None);
    }
}
