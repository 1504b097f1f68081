//! Stories of files on disks that crash, fill up and rot, and their bytes.

#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use proptest::prelude::*;

use crate::memory::{Memory, dice};
use crate::{
    Appender, Directory, Disk, Format, Frames, HEADER_BYTES, Header, ReadError, Rest, Wrong, frame,
    is_full, prepare, put, unfinished,
};

const FORMAT: Format = Format {
    magic: *b"duitest\0",
    version: 1,
    mismatch: "not a file of tests",
};

const HEADER: Header = Header {
    kind: 2,
    number: 7,
    mark: 1234,
    salt: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
};

/// What can be read of it, up to `end`, and what lies behind that.
fn read(bytes: &[u8], end: Option<u64>) -> Result<(Vec<Vec<u8>>, Rest), ReadError> {
    let mut frames = Frames::open(Box::new(Cursor::new(bytes.to_vec())), &FORMAT)?;
    assert_eq!(frames.header(), &HEADER);
    let mut bodies = Vec::new();
    frames.each(end, |body| {
        bodies.push(body.to_vec());
        Ok(())
    })?;
    Ok((bodies, frames.rest(u64::MAX)?))
}

/// A file of these bodies, and where the frame of each begins.
fn file(bodies: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = HEADER.encode(&FORMAT).to_vec();
    let mut places = Vec::new();
    for body in bodies {
        places.push(bytes.len());
        let frame = frame(HEADER.salt, bytes.len() as u64, body);
        bytes.extend_from_slice(&frame);
    }
    (bytes, places)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// --- bytes ---

/// Other bytes are another version, which has to read these.
#[test]
fn version_1_is_laid_out_as_it_always_was() {
    let managers = Format {
        magic: *b"duiraft\0",
        ..FORMAT
    };
    let header = Header { kind: 0, ..HEADER };
    assert_eq!(
        hex(&header.encode(&managers)),
        "647569726166740001000000000000000700000000000000d204000000000000\
         ffeeddccbbaa99887766554433221100d4807d8005ac1ce0"
    );
    let entries = Format {
        magic: *b"duientry",
        ..FORMAT
    };
    assert_eq!(
        hex(&HEADER.encode(&entries)),
        "647569656e74727901000000020000000700000000000000d204000000000000\
         ffeeddccbbaa9988776655443322110090f5e78993f2945f"
    );
    assert_eq!(
        hex(&frame(HEADER.salt, 56, b"what was said")),
        "0d00000080a818dbf3b75e1190a07abb77686174207761732073616964"
    );
}

#[test]
fn a_newer_version_is_told_apart_from_another_format_and_from_damage() {
    let newer = Format {
        version: 9,
        ..FORMAT
    };
    let bytes = HEADER.encode(&newer);
    assert_eq!(Header::decode(&bytes, &newer), Ok(HEADER));
    assert_eq!(Header::decode(&bytes, &FORMAT), Err(Wrong::Newer(9)));
    let damaged = |what| Err(Wrong::Damaged { offset: 0, what });
    for at in 0..HEADER_BYTES {
        let mut bytes = bytes;
        bytes[at] ^= 16;
        let what = match at {
            ..8 => FORMAT.mismatch,
            _ => "its header's checksum is wrong",
        };
        assert_eq!(Header::decode(&bytes, &FORMAT), damaged(what), "{at}");
        let short = damaged("too short for a header");
        assert_eq!(Header::decode(&bytes[..at], &FORMAT), short, "{at}");
    }
}

// --- frames ---

#[test]
fn a_file_cut_anywhere_gives_back_the_frames_before() {
    let bodies: [&[u8]; 3] = [b"one", &[0; 40], b"three"];
    let (bytes, places) = file(&bodies);
    for length in HEADER_BYTES..=bytes.len() {
        let (found, rest) = read(&bytes[..length], None).unwrap();
        let whole = (1..=3).filter(|n| length >= places.get(*n).copied().unwrap_or(bytes.len()));
        assert_eq!(found, bodies[..whole.count()], "{length}");
        assert!(!rest.good, "{length}");
    }
}

#[test]
fn a_bad_frame_is_told_apart_from_a_torn_one_by_a_good_one_behind() {
    let (bytes, places) = file(&[b"one", b"two", &[0; 9]]);
    for at in places[0]..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes.resize(bytes.len() + 500, 0);
        let (found, rest) = read(&bytes, None).unwrap();
        let bad = places.partition_point(|place| *place <= at) - 1;
        assert_eq!(found.len(), bad, "{at}");
        assert_eq!(rest.good, bad < 2, "{at}");
        assert!(rest.bytes > 0, "{at}");
        // Nobody looks behind where a file is known to end.
        let end = Some(places[bad] as u64);
        assert_eq!(read(&bytes, end).unwrap().0.len(), bad, "{at}");
    }
}

#[test]
fn a_frame_that_lies_elsewhere_than_it_was_written_is_none() {
    let (bytes, places) = file(&[b"one", b"two"]);
    let [first, second] = [places[0]..places[1], places[1]..bytes.len()];
    let swapped = [&bytes[..places[0]], &bytes[second], &bytes[first]].concat();
    let (found, rest) = read(&swapped, None).unwrap();
    assert!(found.is_empty() && !rest.good);
}

proptest! {
    /// Neither a wrong length nor anything else that rots makes the reader
    /// serve what was not written, or ask for more memory than there are bytes.
    #[test]
    fn bytes_from_anywhere_are_no_frames(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        let (mut bytes, _) = file(&[b"one"]);
        bytes.extend_from_slice(&noise);
        let (found, rest) = read(&bytes, None).unwrap();
        prop_assert_eq!(found, [b"one"]);
        prop_assert!(!rest.good && rest.bytes <= noise.len() as u64);
    }
}

// --- writing ---

#[test]
fn what_was_synced_is_read_again_after_a_crash_and_what_was_cut_is_not() {
    let disk = Memory::default();
    let header = HEADER.encode(&FORMAT);
    let file = put(&disk, "log", &header).unwrap();
    let mut log = Appender::new(file, HEADER.salt, HEADER_BYTES as u64);
    log.make_room(4_096);
    log.write(b"one").unwrap();
    log.write(b"two").unwrap();
    assert_eq!(log.unsynced(), 2 * (16 + 3));
    log.sync().unwrap();
    log.write(b"three").unwrap();
    for seed in 0..40 {
        let found = disk.after_crash(dice(seed)).contents("log");
        let (found, rest) = read(&found, None).unwrap();
        assert_eq!(found[..2], [b"one", b"two"], "{seed}");
        assert!(found.len() == 3 || rest.bytes < 16 + 5, "{seed}");
    }
    log.cut();
    assert_eq!(disk.contents("log").len() as u64, log.end());
    log.write(b"four").unwrap();
    log.sync().unwrap();
    let (found, rest) = read(&disk.after_crash(|_| 0).contents("log"), None).unwrap();
    assert_eq!(found, [b"one".as_slice(), b"two", b"four"]);
    assert_eq!(rest.bytes, 0);
}

#[test]
fn a_full_disk_gives_no_room_ahead_and_its_last_to_frames() {
    let disk = Memory::default();
    let file = put(&disk, "log", &HEADER.encode(&FORMAT)).unwrap();
    let mut log = Appender::new(file, HEADER.salt, HEADER_BYTES as u64);
    disk.room(Some(HEADER_BYTES + 30));
    log.make_room(4_096);
    log.write(b"one").unwrap();
    log.sync().unwrap();
    let error = log.write(b"two").unwrap_err();
    assert!(is_full(&error), "{error}");
    log.cut();
    assert_eq!(read(&disk.contents("log"), None).unwrap().0, [b"one"]);
}

// --- names ---

#[test]
fn a_name_belongs_to_a_whole_file_whenever_the_disk_crashes() {
    let whole = Memory::default();
    put(&whole, "file", &[1; 2_000]).unwrap();
    let first = whole.calls();
    put(&whole, "file", &[2; 3_000]).unwrap();
    for crash_at in 0..=whole.calls() {
        for seed in 0..8 {
            let disk = Memory::crashing_at(crash_at);
            let told = put(&disk, "file", &[1; 2_000]).is_ok();
            assert_eq!(told, crash_at >= first);
            let told_again = told && put(&disk, "file", &[2; 3_000]).is_ok();
            let disk = disk.after_crash(dice(seed));
            let found = disk.names().contains(&"file".into());
            let found = found.then(|| disk.contents("file"));
            let possible = [None, Some(vec![1; 2_000]), Some(vec![2; 3_000])];
            let least = usize::from(told) + usize::from(told_again);
            assert!(possible[least..].contains(&found), "{crash_at}, {seed}");
        }
    }
}

#[test]
fn what_there_is_no_room_for_leaves_the_file_before_and_nothing_else() {
    let disk = Memory::with_file("file", b"before");
    disk.room(Some(1_000));
    let error = prepare(&disk, "file", &[1; 2_000]).unwrap_err();
    assert!(is_full(&error), "{error}");
    assert_eq!(disk.names(), ["file"]);
    assert_eq!(disk.contents("file"), b"before");
}

#[test]
fn a_real_directory_and_the_one_in_memory_answer_alike() {
    let dir = tempfile::tempdir().unwrap();
    let real = Directory(dir.path().to_owned());
    let memory = Memory::default();
    for disk in [&real as &dyn Disk, &memory] {
        let missing = std::io::ErrorKind::NotFound;
        assert_eq!(disk.read("a").err().unwrap().kind(), missing);
        assert_eq!(disk.remove("a").unwrap_err().kind(), missing);
        assert_eq!(disk.rename("a", "b").unwrap_err().kind(), missing);
        put(disk, "a", b"first").unwrap();
        let mut file = put(disk, "b", b"second").unwrap();
        disk.rename("b", "a").unwrap();
        file.write_at(b"third", 8).unwrap();
        file.truncate(11).unwrap();
        file.sync().unwrap();
        disk.create(&unfinished("c")).unwrap();
        let mut names = disk.list().unwrap();
        names.sort();
        assert_eq!(names, ["a", "c.new"]);
        let mut bytes = Vec::new();
        disk.read("a").unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"second\0\0thi");
    }
}
