//! Stories about two nodes whose sets differ.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The naive twin of the sorted slice.
impl Set for BTreeSet<Key> {
    fn fingerprint(&self, lo: &Key, hi: &Key) -> Fingerprint {
        Fingerprint::of(self.range(*lo..=*hi))
    }

    fn nth(&self, lo: &Key, hi: &Key, n: usize) -> Option<Key> {
        self.range(*lo..=*hi).nth(n).copied()
    }

    fn keys(&self, lo: &Key, hi: &Key) -> impl Iterator<Item = Key> {
        self.range(*lo..=*hi).copied()
    }
}

/// Spread over the whole space, the same each time.
fn key(n: u64) -> Key {
    let mut key = [0; 24];
    for word in key.chunks_exact_mut(8) {
        let spread = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        word.copy_from_slice(&spread.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    }
    key
}

fn set(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<Key> {
    numbers.into_iter().map(key).collect()
}

/// Two nodes that talk until nothing is left to say.
struct Talk {
    sets: [BTreeSet<Key>; 2],
    messages: usize,
    bytes: usize,
}

impl Talk {
    fn between(ann: BTreeSet<Key>, bo: BTreeSet<Key>) -> Self {
        let mut talk = Self {
            sets: [ann, bo],
            messages: 0,
            bytes: 0,
        };
        let mut said = open(&talk.sets[0]);
        while !said.is_empty() {
            talk.messages += 1;
            talk.bytes += said.iter().map(bytes_of).sum::<usize>();
            assert!(talk.messages < 40, "they talk in circles");
            said = talk.hear(&said);
        }
        talk
    }

    /// The listener answers in pieces, as if each came in its own packet.
    fn hear(&mut self, said: &[Range]) -> Vec<Range> {
        let listener = self.messages % 2;
        let mut reply = Vec::new();
        for packet in said.chunks(RANGES_MAX) {
            let before: Vec<Key> = self.sets[listener].iter().copied().collect();
            let answer = answer(&before[..], packet);
            assert_eq!(answer, super::answer(&self.sets[listener], packet));
            self.sets[1 - listener].extend(answer.theirs_missing);
            self.sets[listener].extend(answer.ours_missing);
            reply.extend(answer.reply);
        }
        reply
    }

    fn agree(&self) -> bool {
        self.sets[0] == self.sets[1]
    }
}

fn bytes_of(range: &Range) -> usize {
    48 + match &range.body {
        RangeBody::Fingerprint(_) => 16,
        RangeBody::Keys(keys) => 24 * keys.len(),
    }
}

#[test]
fn equal_sets_say_so_in_one_message() {
    for size in [0, 5, 1_000] {
        let talk = Talk::between(set(0..size), set(0..size));
        assert_eq!(talk.messages, 1);
        assert!(talk.bytes <= 1_100, "{} bytes at {size}", talk.bytes);
    }
}

#[test]
fn one_newcomer_among_a_thousand_is_found_for_two_kilobytes() {
    let talk = Talk::between(set(0..1_000), set(0..1_001));
    assert!(talk.agree());
    assert!(talk.messages <= 4, "{} messages", talk.messages);
    assert!(talk.bytes <= 2_000, "{} bytes", talk.bytes);
}

#[test]
fn a_newcomer_names_the_few_it_knows_and_gets_all_others_at_once() {
    let talk = Talk::between(set(0..24), set(0..4_000));
    assert!(talk.agree());
    assert_eq!(talk.messages, 1);
    // The other way round the large side learns first how small the other is.
    let talk = Talk::between(set(0..4_000), set([]));
    assert!(talk.agree());
    assert!(talk.messages <= 3, "{} messages", talk.messages);
    assert!(talk.bytes <= 2_000, "{} bytes", talk.bytes);
}

#[test]
fn two_islands_of_thousands_become_one_for_little_more_than_their_names() {
    let talk = Talk::between(set(0..4_000), set(4_000..8_000));
    assert!(talk.agree());
    assert!(talk.messages <= 8, "{} messages", talk.messages);
    assert!(talk.bytes <= 2 * 8_000 * 24, "{} bytes", talk.bytes);
}

/// Keys that differ in the last bytes only, as those of one id do.
fn number(n: u64) -> Key {
    let mut key = [7; 24];
    key[16..].copy_from_slice(&n.to_be_bytes());
    key
}

#[test]
fn what_happened_since_one_was_cut_off_is_not_cut_into_parts() {
    let ann = (0..500).map(number).collect();
    let bo = (0..1_500).map(number).collect();
    let talk = Talk::between(ann, bo);
    assert!(talk.agree());
    assert!(talk.messages <= 3, "{} messages", talk.messages);
    assert!(talk.bytes <= 2_000, "{} bytes", talk.bytes);
}

#[test]
fn neighbouring_keys_are_told_apart() {
    let ann = (0..1_000).map(number).collect();
    let bo = (0..1_000).filter(|n| n % 97 != 3).map(number).collect();
    assert!(Talk::between(ann, bo).agree());
}

#[test]
fn the_first_message_covers_the_whole_space_without_gap_or_overlap() {
    for size in [0, 1, 32, 33, 500, 10_000] {
        let ranges = open(&set(0..size));
        assert!(ranges.len() <= PARTS_MAX);
        assert_eq!(ranges[0].lo, LOWEST);
        assert_eq!(ranges[ranges.len() - 1].hi, HIGHEST);
        for pair in ranges.windows(2) {
            assert_eq!(predecessor(pair[1].lo), pair[0].hi);
        }
    }
}

#[test]
fn overlapping_ranges_cost_one_pass_and_no_more() {
    let ours = set(0..1_000);
    let everything = Range {
        lo: LOWEST,
        hi: HIGHEST,
        body: RangeBody::Keys(Vec::new()),
    };
    let told = answer(&ours, &vec![everything.clone(); RANGES_MAX]);
    assert_eq!(told, answer(&ours, &[everything]));
    assert_eq!(told.theirs_missing.len(), ours.len());
}

#[test]
fn few_words_do_not_make_us_list_all_that_we_have() {
    let ours: Vec<Key> = set(0..20_000).into_iter().collect();
    let one = ours[MISSING_MAX + 7];
    let nearly_nothing = Range {
        lo: LOWEST,
        hi: HIGHEST,
        body: RangeBody::Keys(vec![one, key(1 << 40)]),
    };
    let told = answer(ours.as_slice(), &[nearly_nothing]);
    assert_eq!(told.theirs_missing, ours[..MISSING_MAX]);
    assert_eq!(told.cut_off, [(ours[MISSING_MAX], HIGHEST)]);
    assert_eq!(told.ours_missing, [key(1 << 40)]);
}

#[test]
fn a_sum_forgets_what_was_removed() {
    let keys: Vec<Key> = (0..10).map(key).collect();
    let mut sum = Fingerprint::of(&keys);
    sum.remove(&keys[3]);
    sum.add(&keys[3]);
    assert_eq!(sum, Fingerprint::of(keys.iter().rev()));
    sum.remove(&keys[9]);
    assert_eq!(sum, Fingerprint::of(&keys[..9]));
}

#[test]
fn the_hash_is_part_of_the_wire_format_and_never_changes() {
    let counting: Key = std::array::from_fn(|i| i as u8);
    assert_eq!(hash(&LOWEST), 0x2382_75bc_38fc_be91);
    assert_eq!(hash(&counting), 0xfa48_7183_8100_ef12);
}

/// Keys that crowd together, as ids and their numbers do.
fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        any::<Key>(),
        (0..4u8, 0..4u8, any::<u8>()).prop_map(|(a, b, c)| {
            let mut key = [0; 24];
            (key[0], key[15], key[23]) = (a, b, c);
            key
        }),
    ]
}

fn any_set() -> impl Strategy<Value = BTreeSet<Key>> {
    proptest::collection::btree_set(any_key(), 0..300)
}

fn any_range() -> impl Strategy<Value = Range> {
    let body = prop_oneof![
        (any::<u64>(), any::<u64>())
            .prop_map(|(count, sum)| RangeBody::Fingerprint(Fingerprint { count, sum })),
        proptest::collection::vec(any_key(), 0..KEYS_TAKEN_MAX + 10).prop_map(RangeBody::Keys),
    ];
    (any_key(), any_key(), body).prop_map(|(lo, hi, body)| Range { lo, hi, body })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_two_sets_become_their_union(
        common in any_set(),
        only_ann in any_set(),
        only_bo in any_set(),
    ) {
        let union: BTreeSet<Key> = common.iter().chain(&only_ann).chain(&only_bo).copied().collect();
        let ann = common.union(&only_ann).copied().collect();
        let bo = common.union(&only_bo).copied().collect();
        let talk = Talk::between(ann, bo);
        prop_assert!(talk.agree());
        prop_assert_eq!(&talk.sets[0], &union);
        prop_assert!(talk.messages <= 8, "{} messages", talk.messages);
    }

    #[test]
    fn bytes_follow_the_difference_and_not_the_size(
        size in 1_000..8_000u64,
        missing in proptest::collection::btree_set(0..1_000u64, 1..20),
    ) {
        let bo = (0..size).filter(|n| !missing.contains(n));
        let talk = Talk::between(set(0..size), set(bo));
        prop_assert!(talk.agree());
        let bound = 1_100 + 2_200 * missing.len();
        prop_assert!(talk.bytes <= bound, "{} bytes for {}", talk.bytes, missing.len());
    }

    #[test]
    fn a_liar_gets_a_bounded_answer_and_never_a_key_we_do_not_have(
        ours in any_set(),
        lies in proptest::collection::vec(any_range(), 0..RANGES_MAX + 10),
    ) {
        let answer = answer(&ours, &lies);
        prop_assert!(answer.reply.len() <= RANGES_MAX * PARTS_MAX);
        prop_assert!(answer.theirs_missing.len() <= ours.len());
        prop_assert!(answer.theirs_missing.iter().all(|key| ours.contains(key)));
        prop_assert!(answer.ours_missing.iter().all(|key| !ours.contains(key)));
        prop_assert!(answer.ours_missing.is_sorted_by(|a, b| a < b));
        prop_assert!(answer.ours_missing.len() <= RANGES_MAX * KEYS_TAKEN_MAX);
        for range in &answer.reply {
            prop_assert!(range.lo <= range.hi);
            if let RangeBody::Keys(keys) = &range.body {
                prop_assert!(keys.len() <= KEYS_MAX);
            }
        }
    }
}
