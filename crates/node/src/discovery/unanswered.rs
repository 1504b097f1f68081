//! Unanswered: why a name gave no address, in words for whoever has to mend it.
//!
//! Who was asked, what came back, what to do. The resolver's own words are
//! those of its developers, and change with them.

use std::net::IpAddr;

use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;

/// Why `servers` gave no address of this family for `name`.
pub(super) fn lookup(name: &str, ipv4: bool, servers: &[IpAddr], error: &NetError) -> String {
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    let asked = servers.iter().map(ToString::to_string);
    let asked = asked.collect::<Vec<_>>().join(", ");
    let (came_back, remedy) = match error {
        NetError::Dns(
            DnsError::NoRecordsFound(NoRecords {
                response_code: code,
                ..
            })
            | DnsError::ResponseCode(code),
        ) => match code {
            ResponseCode::NXDomain => (
                "there is no such name".into(),
                "mend the name, or have it made",
            ),
            ResponseCode::NoError => (
                format!("the name has no {family} address"),
                "give it one, or bind the node to an address of the other family",
            ),
            code => (
                format!("an answer that says '{code}'"),
                "look into that server's log",
            ),
        },
        NetError::Timeout => (
            "no answer that fits the question".into(),
            "see that a name server runs there and that port 53 passes, UDP and TCP",
        ),
        NetError::Io(error) => (
            format!("it cannot be reached ({error})"),
            "see that a name server runs there and that port 53 passes, UDP and TCP",
        ),
        // Whatever else an answer is, it is none.
        _ => (
            "nothing that is an answer".into(),
            "see that what runs there is a name server",
        ),
    };
    format!("'{name}' was asked of {asked}: {came_back}; {remedy}")
}

/// Why there is nobody to ask.
pub(super) fn servers(error: Option<&NetError>) -> String {
    let why = match error {
        None => "names no server".into(),
        Some(NetError::Io(error)) => format!("cannot be read ({error})"),
        Some(_) => "cannot be understood".into(),
    };
    format!(
        "nobody to ask for names: /etc/resolv.conf {why}; put 'nameserver ADDRESS' there, \
         or name peers by their addresses"
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn told(error: &NetError) -> String {
        lookup("seed.town", true, &[IpAddr::from([10, 0, 0, 53])], error)
    }

    #[test]
    fn a_failure_names_who_was_asked_what_came_back_and_what_to_do() {
        let code = |code| NetError::from(DnsError::ResponseCode(code));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        for (error, came_back) in [
            (code(ResponseCode::NXDomain), "there is no such name;"),
            (code(ResponseCode::NoError), "has no IPv4 address;"),
            (code(ResponseCode::ServFail), "'Server Failure';"),
            (NetError::Timeout, "no answer that fits"),
            (NetError::from(refused), "(connection refused);"),
            (NetError::NoConnections, "nothing that is an answer;"),
        ] {
            let told = told(&error);
            assert!(
                told.starts_with("'seed.town' was asked of 10.0.0.53: "),
                "{told}"
            );
            assert!(told.contains(came_back), "{told}");
        }
    }

    #[test]
    fn no_server_to_ask_names_the_file() {
        let gone = NetError::from(io::Error::from(io::ErrorKind::NotFound));
        for (error, why) in [
            (None, "names no server"),
            (Some(&gone), "entity not found"),
            (Some(&NetError::Busy), "cannot be understood"),
        ] {
            let told = servers(error);
            assert!(
                told.contains("/etc/resolv.conf") && told.contains(why),
                "{told}"
            );
        }
    }
}
