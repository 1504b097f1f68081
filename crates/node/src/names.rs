//! Names: what a node is called when nobody names it.
//!
//! A pioneer of computing, chosen by the id, and the first four hex digits of
//! the id: easy to say, and two nodes of one cluster rarely share it. Names
//! identify nothing, so a clash is a nuisance and no error.

use dui_core::{NodeId, NodeName};

/// The default name of a node; the same id always gets the same one.
pub(crate) fn of(id: NodeId) -> NodeName {
    let pioneer = PIONEERS[(id.0 % PIONEERS.len() as u128) as usize];
    let digits = (id.0 >> 112) as u16;
    format!("{pioneer}-{digits:04x}")
        .parse()
        .expect("pioneers are short names of letters and hyphens")
}

const PIONEERS: [&str; 80] = [
    "ada-lovelace",
    "adele-goldberg",
    "alan-kay",
    "alan-perlis",
    "alan-turing",
    "alonzo-church",
    "andrei-ershov",
    "anita-borg",
    "annie-easley",
    "barbara-liskov",
    "betty-holberton",
    "blaise-pascal",
    "bob-kahn",
    "butler-lampson",
    "charles-babbage",
    "christopher-strachey",
    "claude-shannon",
    "clifford-cocks",
    "corrado-bohm",
    "dana-scott",
    "david-gries",
    "david-wheeler",
    "dennis-ritchie",
    "donald-knuth",
    "dorothy-vaughan",
    "douglas-engelbart",
    "edgar-codd",
    "edsger-dijkstra",
    "elizabeth-feinler",
    "evelyn-berezin",
    "frances-allen",
    "frances-spence",
    "fred-brooks",
    "friedrich-bauer",
    "gene-amdahl",
    "george-boole",
    "gladys-west",
    "gottfried-leibniz",
    "grace-hopper",
    "hedy-lamarr",
    "herbert-simon",
    "howard-aiken",
    "ida-rhodes",
    "ivan-sutherland",
    "jean-bartik",
    "jean-sammet",
    "jim-gray",
    "joan-clarke",
    "john-atanasoff",
    "john-backus",
    "john-mccarthy",
    "john-vonneumann",
    "karen-sparckjones",
    "katherine-johnson",
    "kathleen-antonelli",
    "kathleen-booth",
    "ken-thompson",
    "konrad-zuse",
    "kristen-nygaard",
    "kurt-goedel",
    "leslie-lamport",
    "lynn-conway",
    "margaret-hamilton",
    "marlyn-meltzer",
    "mary-wilkes",
    "maurice-wilkes",
    "niklaus-wirth",
    "ole-johan-dahl",
    "peter-landin",
    "peter-naur",
    "radia-perlman",
    "richard-hamming",
    "robin-milner",
    "rozsa-peter",
    "ruth-teitelbaum",
    "sophie-wilson",
    "stephen-kleene",
    "tommy-flowers",
    "tony-hoare",
    "vint-cerf",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_id_always_gets_the_same_pioneer_and_its_own_digits() {
        let id = NodeId(0x7f3a_0000_0000_0000_0000_0000_0000_0026);
        assert_eq!(of(id).as_str(), "grace-hopper-7f3a");
        assert_eq!(of(id), of(id));
    }

    #[test]
    fn every_pioneer_makes_a_valid_name_and_appears_once() {
        let names: BTreeSet<_> = (0..PIONEERS.len() as u128)
            .map(|low| of(NodeId(low)))
            .collect();
        assert_eq!(names.len(), PIONEERS.len());
    }
}
