//! File: peer addresses that something else writes down, one a line.
//!
//! Read again whenever it changes. A line that is no address is named and the
//! others are used; a file that cannot be read leaves what was known.

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::background::{ADDRESSES_MAX, Background, Findings};
use super::state::Line;
use crate::options::{Host, PeerPlace};

pub(super) const NAME: &str = "file";

/// How often the file is looked at; it is read when it looks different.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// More is no list of peers.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What tells one version of the file from the next.
type Look = (u64, u64, Option<SystemTime>);

/// Starts reading.
pub(super) fn start(path: PathBuf, line: Line) -> Background {
    Background::start(NAME, move |findings| follow(path, line, findings))
}

async fn follow(path: PathBuf, line: Line, mut findings: Findings) {
    let mut seen: Option<Look> = None;
    loop {
        let (from, last) = (path.clone(), seen);
        // A file system may hang; the node may not.
        let read = spawn_blocking(move || read_if_changed(&from, last)).await;
        match read {
            Ok(Ok(Some((look, text)))) => {
                seen = Some(look);
                let (addresses, junk) = parse(&text);
                match junk {
                    None => line.works(),
                    Some(junk) => line.fails(format!("{}: {junk}", path.display())),
                }
                if !findings.tell(addresses).await {
                    return;
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                seen = None;
                line.fails(format!(
                    "cannot read {}: {error}; what was read before is kept",
                    path.display()
                ));
            }
            Err(_) => return,
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn read_if_changed(path: &Path, last: Option<Look>) -> io::Result<Option<(Look, String)>> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let look = (metadata.ino(), metadata.len(), metadata.modified().ok());
    if last == Some(look) {
        return Ok(None);
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(Some((look, String::from_utf8_lossy(&bytes).into_owned())))
}

/// The addresses, and what is wrong with the first line that is none.
fn parse(text: &str) -> (Vec<SocketAddr>, Option<String>) {
    let (mut addresses, mut junk, mut junk_lines) = (Vec::new(), None, 0);
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match line.parse::<PeerPlace>() {
            Ok(PeerPlace {
                host: Host::Address(ip),
                port,
            }) if addresses.len() < ADDRESSES_MAX => addresses.push(SocketAddr::new(ip, port)),
            Ok(PeerPlace {
                host: Host::Address(_),
                ..
            }) => {
                junk = Some(format!("only the first {ADDRESSES_MAX} addresses are used"));
            }
            _ => {
                junk_lines += 1;
                let shown: String = line.chars().take(40).collect();
                junk.get_or_insert(format!(
                    "line {}: '{}' is no address IP[:PORT]",
                    number + 1,
                    shown.escape_debug()
                ));
            }
        }
    }
    if junk_lines > 1 {
        junk = junk.map(|first| format!("{first} (and {} more lines)", junk_lines - 1));
    }
    (addresses, junk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_lines_are_named_and_the_others_used() {
        let text = "# peers\n10.0.0.1\n\n10.0.0.2:99 # two\nseed.example\n\u{7}\n[fd00::7]:1\n";
        let (addresses, junk) = parse(text);
        let expected = ["10.0.0.1:7781", "10.0.0.2:99", "[fd00::7]:1"];
        let expected = expected.map(|text| text.parse().expect("an address"));
        assert_eq!(addresses, expected);
        assert_eq!(
            junk.expect("two lines are no address"),
            "line 5: 'seed.example' is no address IP[:PORT] (and 1 more lines)"
        );
    }

    #[test]
    fn a_list_without_end_is_cut() {
        let text: String = (0..2_000)
            .map(|n| format!("10.0.{}.{}\n", n / 250, 1 + n % 250))
            .collect();
        let (addresses, junk) = parse(&text);
        assert_eq!(addresses.len(), ADDRESSES_MAX);
        assert!(junk.is_some_and(|junk| junk.contains("1024")));
    }
}
