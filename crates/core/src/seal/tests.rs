//! Stories about packets that are sealed, opened, altered and recorded.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use super::window::WINDOWS_MAX;
use super::*;

/// A node that talks: each body is an echo of the hearer's cookie and a text.
struct Node {
    seal: Seal,
    rng: ChaCha12Rng,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    News(String),
    /// Not acted on; the sender is shown this cookie.
    Challenge(u64),
    Refused(OpenError),
}

impl Node {
    fn with_keys(keys: &[u8], seed: u64) -> Self {
        let keys = keys.iter().map(|&n| key(n)).collect();
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let seal = Seal::new(Keyring::new(keys).unwrap(), &mut rng);
        Self { seal, rng }
    }

    fn new(seed: u64) -> Self {
        Self::with_keys(&[7], seed)
    }

    fn restarted(&self, seed: u64) -> Self {
        Self::new(seed)
    }

    fn say(&mut self, text: &str, echo: u64) -> Vec<u8> {
        let body = [&echo.to_be_bytes(), text.as_bytes()].concat();
        self.seal.seal(Channel::Packet, &body, &mut self.rng)
    }

    fn hear(&mut self, bytes: &[u8]) -> Heard {
        let opened = match self.seal.open(Channel::Packet, bytes) {
            Ok(opened) => opened,
            Err(why) => return Heard::Refused(why),
        };
        let (echo, text) = opened.plain.split_first_chunk().unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        match opened.standing {
            Standing::Unproven(packet) => {
                let echo = u64::from_be_bytes(*echo);
                if !self.seal.admit(packet, echo, &mut self.rng) {
                    return Heard::Challenge(self.seal.cookie());
                }
            }
            Standing::Clear | Standing::Proven => {}
        }
        Heard::News(text)
    }

    /// From now on `peer` is heard without an echo.
    fn met(mut self, peer: &mut Node) -> Self {
        let hello = peer.say("hello", self.seal.cookie());
        assert_eq!(self.hear(&hello), news("hello"));
        self
    }
}

fn key(n: u8) -> Key {
    Key::from_slice(&[n; 32]).unwrap()
}

fn news(text: &str) -> Heard {
    Heard::News(text.into())
}

const REPLAYED: Heard = Heard::Refused(OpenError::Replayed);

#[test]
fn what_one_seals_the_other_opens_once_it_was_challenged() {
    let (mut ann, mut bo) = (Node::new(1), Node::new(2));
    let cookie = bo.seal.cookie();
    assert_eq!(bo.hear(&ann.say("one", 0)), Heard::Challenge(cookie));
    assert_eq!(bo.hear(&ann.say("two", cookie)), news("two"));
    assert_eq!(bo.hear(&ann.say("three", 0)), news("three"));
}

/// What a node of "town" with other keys answers to these bytes.
fn turned_away(by: &Node, bytes: &[u8]) -> Option<Vec<u8>> {
    let own = Stranger::new(&by.seal.keys, &"town".parse().unwrap(), 1_234);
    by.seal.turn_away(bytes, &own)
}

#[test]
fn who_has_another_key_is_told_so_in_fewer_bytes_than_it_sent() {
    let (mut ann, mut eve) = (Node::new(1), Node::with_keys(&[9], 2));
    let shortest = ann.seal.seal(Channel::Packet, &[], &mut ann.rng);
    assert_eq!(
        eve.hear(&shortest),
        Heard::Refused(OpenError::Key(key(7).fingerprint()))
    );
    let answer = turned_away(&eve, &shortest).unwrap();
    assert!(answer.len() < shortest.len());
    let Heard::Refused(OpenError::TurnedAway(told)) = ann.hear(&answer) else {
        panic!("ann saw her own salt come back");
    };
    assert_eq!((told.key, told.wall_ms), (key(9).fingerprint(), 1_234));
    assert!(told.may_be_of(&"town".parse().unwrap()));
    assert!(!told.may_be_of(&"green".parse().unwrap()));
    assert_eq!(turned_away(&ann, &answer), None, "that is never answered");
    assert_eq!(turned_away(&eve, &answer), None);
}

/// ac03: BLAKE3's key derivation of "town" in this context, by another library.
#[test]
fn a_card_is_what_was_written_down() {
    let keys = Keyring::new(vec![key(9)]).unwrap();
    let card = Stranger::new(&keys, &"town".parse().unwrap(), 0x0102_0304_0506_0708).to_bytes();
    assert_eq!(card[..4], key(9).fingerprint().0);
    assert_eq!(card[4..12], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(card[12..], [0xac, 0x03]);
    assert_eq!(Stranger::from_bytes(&card).to_bytes(), card);
}

#[test]
fn nobody_is_turned_away_by_whom_it_did_not_speak_to() {
    let (mut ann, mut bo) = (Node::new(1), Node::new(3));
    let eve = Node::with_keys(&[9], 2);
    let answer = turned_away(&eve, &ann.say("hi", 0)).unwrap();
    assert_eq!(bo.hear(&answer), Heard::Refused(OpenError::Forged));
    let mut guessed = answer.clone();
    guessed[5] ^= 1;
    assert_eq!(ann.hear(&guessed), Heard::Refused(OpenError::Forged));
    let short = &answer[..answer.len() - 1];
    assert_eq!(ann.hear(short), Heard::Refused(OpenError::Forged));
    // Beacons are turned away by nobody.
    let beacon = ann.seal.open(Channel::Beacon, &answer);
    assert_eq!(beacon, Err(OpenError::Forged));
}

#[test]
fn nothing_is_answered_to_friends_to_what_is_in_clear_and_to_less_than_a_seal() {
    let (mut ann, mut open) = (Node::new(1), Node::with_keys(&[], 4));
    assert_eq!(turned_away(&Node::new(2), &ann.say("hi", 0)), None);
    assert_eq!(turned_away(&ann, &open.say("hi", 0)), None);
    let sealed = ann.seal.seal(Channel::Packet, &[], &mut ann.rng);
    let eve = Node::with_keys(&[9], 2);
    assert_eq!(turned_away(&eve, &sealed[..sealed.len() - 1]), None);
    // Who has no key at all says that.
    let answer = turned_away(&open, &sealed).unwrap();
    let Heard::Refused(OpenError::TurnedAway(told)) = ann.hear(&answer) else {
        panic!("ann saw her own salt come back");
    };
    assert_eq!(told.key, KeyFingerprint::NONE);
}

#[test]
fn a_wrong_echo_proves_nothing() {
    let (mut ann, mut bo) = (Node::new(1), Node::new(2));
    let cookie = bo.seal.cookie();
    let guess = ann.say("guess", cookie ^ 1);
    assert_eq!(bo.hear(&guess), Heard::Challenge(cookie));
}

#[test]
fn packets_may_overtake_one_another_and_each_is_taken_once() {
    let mut ann = Node::new(1);
    let mut bo = Node::new(2).met(&mut ann);
    let (one, two) = (ann.say("one", 0), ann.say("two", 0));
    assert_eq!(bo.hear(&two), news("two"));
    assert_eq!(bo.hear(&one), news("one"));
    assert_eq!(bo.hear(&one), REPLAYED);
    assert_eq!(bo.hear(&two), REPLAYED);
}

#[test]
fn a_packet_from_long_ago_is_refused_although_it_never_arrived() {
    let mut ann = Node::new(1);
    let mut bo = Node::new(2).met(&mut ann);
    let late = ann.say("late", 0);
    for _ in 0..128 {
        assert_eq!(bo.hear(&ann.say("later", 0)), news("later"));
    }
    assert_eq!(bo.hear(&late), REPLAYED);
}

#[test]
fn a_receiver_that_restarted_takes_no_recorded_packet_for_news() {
    let mut ann = Node::new(1);
    let mut bo = Node::new(2);
    let recorded = [
        ann.say("zero", 0),
        ann.say("one", bo.seal.cookie()),
        ann.say("two", 0),
    ];
    assert_eq!(bo.hear(&recorded[1]), news("one"));
    assert_eq!(bo.hear(&recorded[2]), news("two"));

    let mut bo = bo.restarted(3);
    let cookie = bo.seal.cookie();
    for packet in &recorded {
        assert_eq!(bo.hear(packet), Heard::Challenge(cookie));
    }
    // Ann's proof opens a window, but not for what she said before it.
    assert_eq!(bo.hear(&ann.say("three", cookie)), news("three"));
    for packet in &recorded {
        assert_eq!(bo.hear(packet), REPLAYED);
    }
    assert_eq!(bo.hear(&ann.say("four", 0)), news("four"));
}

#[test]
fn a_window_lost_for_want_of_room_takes_the_cookie_with_it() {
    let mut ann = Node::new(1);
    let mut bo = Node::new(2);
    let cookie = bo.seal.cookie();
    let proof = ann.say("once", cookie);
    assert_eq!(bo.hear(&proof), news("once"));

    for n in 1..=WINDOWS_MAX {
        assert_eq!(bo.seal.cookie(), cookie, "room for {n} more");
        let mut other = Node::new(100 + n as u64);
        assert_eq!(bo.hear(&other.say("hi", cookie)), news("hi"));
    }
    let fresh = bo.seal.cookie();
    assert_ne!(fresh, cookie);
    assert_eq!(bo.hear(&proof), Heard::Challenge(fresh));
    assert_eq!(bo.hear(&ann.say("twice", fresh)), news("twice"));
}

#[test]
fn two_copies_opened_before_either_is_admitted_are_acted_on_once() {
    let (mut ann, mut bo) = (Node::new(1), Node::new(2));
    let cookie = bo.seal.cookie();
    let packet = ann.say("once", cookie);
    let mut admit = || match bo.seal.open(Channel::Packet, &packet).unwrap().standing {
        Standing::Unproven(unproven) => unproven,
        other => panic!("bo has no window for ann yet: {other:?}"),
    };
    let (first, second) = (admit(), admit());
    assert!(bo.seal.admit(first, cookie, &mut bo.rng));
    assert!(!bo.seal.admit(second, cookie, &mut bo.rng));
}

#[test]
fn a_beacon_is_never_more_than_a_hint() {
    let (mut ann, mut bo) = (Node::new(1), Node::new(2));
    let beacon = ann.seal.seal(Channel::Beacon, b"here I am", &mut ann.rng);
    assert_eq!(bo.hear(&beacon), Heard::Refused(OpenError::Forged));
    for _ in 0..2 {
        let opened = bo.seal.open(Channel::Beacon, &beacon).unwrap();
        assert_eq!(opened.plain, b"here I am");
        let Standing::Unproven(hint) = opened.standing else {
            panic!("a beacon proves nothing");
        };
        let cookie = bo.seal.cookie();
        assert!(!bo.seal.admit(hint, cookie, &mut bo.rng));
    }
}

#[test]
fn a_beacon_does_not_open_as_a_packet_nor_spend_its_counter() {
    let mut ann = Node::new(1);
    let mut bo = Node::new(2).met(&mut ann);
    let mut beacon = || ann.seal.seal(Channel::Beacon, &[0; 8], &mut ann.rng);
    let (_, beacon) = (beacon(), beacon());
    assert_eq!(bo.hear(&beacon), Heard::Refused(OpenError::Forged));
    assert!(bo.seal.open(Channel::Beacon, &beacon).is_ok());
    assert_eq!(bo.hear(&ann.say("packet", 0)), news("packet"));
}

#[test]
fn nobody_proves_anything_by_handing_our_packets_back() {
    let mut ann = Node::new(1);
    let reflected = ann.say("echo of my own cookie", ann.seal.cookie());
    assert_eq!(ann.hear(&reflected), Heard::Refused(OpenError::Own));
    // Nor do two nodes that were given the same randomness, and so the same
    // salt, believe one another.
    let mut clone = Node::new(1);
    assert_eq!(clone.hear(&reflected), Heard::Refused(OpenError::Own));
}

#[test]
fn two_runs_never_encrypt_with_the_same_key_stream() {
    let (mut first_run, mut second_run) = (Node::new(1), Node::new(2));
    let (a, b) = (first_run.say("same", 0), second_run.say("same", 0));
    let header_bytes = PREFIX_BYTES + SALT_BYTES;
    assert_eq!(a[header_bytes], b[header_bytes], "the same counter");
    assert_ne!(a[header_bytes + 1..], b[header_bytes + 1..]);
}

#[test]
fn another_key_is_refused_by_its_fingerprint() {
    let (mut ann, mut cy) = (Node::with_keys(&[7], 1), Node::with_keys(&[8], 2));
    let theirs = OpenError::Key(key(7).fingerprint());
    assert_eq!(cy.hear(&ann.say("psst", 0)), Heard::Refused(theirs));
}

#[test]
fn the_first_key_seals_and_all_of_them_open() {
    let mut old = Node::with_keys(&[7], 1);
    let mut new = Node::with_keys(&[8, 7], 2).met(&mut old);
    assert_eq!(new.hear(&old.say("old key", 0)), news("old key"));
    let theirs = OpenError::Key(key(8).fingerprint());
    assert_eq!(old.hear(&new.say("new key", 0)), Heard::Refused(theirs));
}

#[test]
fn with_a_key_nothing_is_taken_in_clear_and_without_one_nothing_sealed() {
    let (mut open, mut keyed) = (Node::with_keys(&[], 1), Node::new(2));
    let clear = open.say("anybody", 0);
    assert_eq!(&clear[..PREFIX_BYTES], [1, 0, 0, 0, 0]);
    assert_eq!(
        keyed.hear(&clear),
        Heard::Refused(OpenError::Key(KeyFingerprint::NONE))
    );
    let theirs = OpenError::Key(key(7).fingerprint());
    assert_eq!(open.hear(&keyed.say("secret", 0)), Heard::Refused(theirs));
    for _ in 0..2 {
        assert_eq!(open.hear(&clear), news("anybody"));
    }
}

#[test]
fn a_foreign_version_is_named() {
    let mut bo = Node::new(2);
    assert_eq!(bo.hear(&[9, 0, 0]), Heard::Refused(OpenError::Version(9)));
    assert_eq!(bo.hear(&[]), Heard::Refused(OpenError::Truncated));
}

#[test]
fn after_a_thaw_salt_and_cookie_are_new_and_windows_forgotten() {
    let mut ann = Node::new(1);
    let mut bo = Node::new(2).met(&mut ann);
    let acted_on_after_the_snapshot = ann.say("one", 0);
    let before = bo.say("mine", 0);
    let (cookie, generation) = (bo.seal.cookie(), bo.seal.salt_generation());

    bo.seal.reseed(&mut ChaCha12Rng::seed_from_u64(99));
    assert_ne!(bo.seal.cookie(), cookie);
    assert!(bo.seal.salt_generation() > generation);
    assert_ne!(bo.say("mine", 0)[5..21], before[5..21]);
    let fresh = bo.seal.cookie();
    assert_eq!(
        bo.hear(&acted_on_after_the_snapshot),
        Heard::Challenge(fresh)
    );
}

#[test]
fn a_salt_wears_out() {
    let mut ann = Node::new(1);
    let mut bo = Node::new(2).met(&mut ann);
    let generation = ann.seal.salt_generation();
    ann.seal.own.as_mut().unwrap().packet.next = PACKETS_PER_SALT - 1;
    let last = ann.say("last", 0);
    assert_eq!(last.len(), 8 + "last".len() + ann.seal.overhead());
    assert_eq!(bo.hear(&last), news("last"));

    let first = ann.say("first", 0);
    assert_eq!(ann.seal.salt_generation(), generation + 1);
    let cookie = bo.seal.cookie();
    assert_eq!(bo.hear(&first), Heard::Challenge(cookie));
    assert_eq!(bo.hear(&ann.say("second", cookie)), news("second"));
}

#[test]
fn what_debug_shows_is_no_secret() {
    let ann = Node::new(1);
    let shown = format!("{:?}", ann.seal);
    assert!(shown.contains(&key(7).fingerprint().to_string()));
    assert!(!shown.contains(&ann.seal.cookie().to_string()));
}

#[test]
fn a_packet_cut_at_any_length_is_refused() {
    let (mut ann, mut bo) = (Node::new(1), Node::new(2));
    let packet = ann.say("whole", 0);
    for cut in 0..packet.len() {
        let heard = bo.hear(&packet[..cut]);
        assert!(matches!(heard, Heard::Refused(_)), "{cut}: {heard:?}");
    }
    assert!(matches!(bo.hear(&packet), Heard::Challenge(_)));
}

proptest! {
    #[test]
    fn a_packet_with_any_bit_flipped_is_refused(
        body in proptest::collection::vec(any::<u8>(), 0..64),
        at in any::<proptest::sample::Index>(),
        bit in 0..8u8,
    ) {
        let (mut ann, mut bo) = (Node::new(1), Node::new(2));
        let mut packet = ann.seal.seal(Channel::Packet, &body, &mut ann.rng);
        prop_assert_eq!(bo.seal.open(Channel::Packet, &packet).unwrap().plain, body);
        let at = at.index(packet.len());
        packet[at] ^= 1 << bit;
        prop_assert!(bo.seal.open(Channel::Packet, &packet).is_err());
    }

    #[test]
    fn what_nobody_sealed_is_refused(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        as_if_keyed in any::<bool>(),
    ) {
        let mut bo = Node::new(2);
        let mut packet = vec![VERSION];
        if as_if_keyed {
            packet.extend(key(7).fingerprint().0);
        }
        packet.extend(noise);
        prop_assert!(bo.seal.open(Channel::Packet, &packet).is_err());
    }

    #[test]
    fn counters_read_back_as_written(counter in any::<u64>(), shift in 0..64u32) {
        let counter = counter >> shift;
        let mut bytes = Vec::new();
        push_counter(&mut bytes, counter);
        bytes.push(42);
        prop_assert_eq!(take_counter(&bytes), Ok((counter, &[42][..])));
    }

    #[test]
    fn a_counter_that_overflows_or_never_ends_is_refused(bytes in proptest::collection::vec(0x80..=0xffu8, 0..20)) {
        prop_assert!(take_counter(&bytes).is_err());
    }
}
