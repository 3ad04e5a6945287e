//! The chunk index at two million chunks, beside a redb table of the same content and a sorted list in memory, each in
//! a process of its own: to open, to look up, what it keeps in memory, and to add a file.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reads the clock and prints")]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase as _, TableDefinition};
use swarm::Index;
use xet_cas::{ChunkHash, FileHash, Leaf};

/// 125 files of about a gigabyte.
const FILES: u32 = 125;
const CHUNKS_A_FILE: u32 = 16_000;
const LOOKUPS: u32 = 100_000;
/// Lookups that a pull has together: what a peer's list of 64 MiB brings.
const BATCH: usize = 1_000;
/// Beginning of the hash, file → place.
const TABLE: TableDefinition<'_, (u64, u32), u32> = TableDefinition::new("chunks");
const CONTENDERS: [&str; 3] = ["segments", "redb", "list"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match (arguments.next(), arguments.next()) {
        (Some(contender), Some(home)) => measure(&contender, Path::new(&home)),
        _ => run(),
    }
}

/// Builds both indexes, and has each contender measured in a process of its own.
fn run() -> Result<()> {
    let home = tempfile::tempdir()?;
    let index = Index::new(home.path());
    // So that there is one, and the first file is not the moment at which all are found.
    index.rebuild_chunks()?;
    let names: Vec<FileHash> = (0..FILES).map(|file| store_list(&index, file)).collect::<Result<_>>()?;
    let (before, mut slowest) = (written_bytes()?, Duration::ZERO);
    let begun = Instant::now();
    for name in &names {
        let (took, added) = timed(|| index.index_chunks(&[*name]));
        added?;
        slowest = slowest.max(took);
    }
    let took = begun.elapsed();
    let written = (written_bytes()? - before) as f64;
    let entries = f64::from(FILES * CHUNKS_A_FILE);
    println!(
        "{FILES} files of {CHUNKS_A_FILE} chunks, added one by one: {:.1} ms each, {:.0} ms the slowest",
        millis(took) / f64::from(FILES),
        millis(slowest)
    );
    println!("written: {:.2} times the {:.1} MB of the entries", written / entries / 16.0, entries * 16e-6);
    println!(
        "on the disk: {:.1} MB in {} files",
        folder_bytes(&home.path().join("chunks"))? as f64 / 1e6,
        folder_files(&home.path().join("chunks"))?
    );

    let rebuilt = tempfile::tempdir()?;
    std::os::unix::fs::symlink(home.path().join("leaves"), rebuilt.path().join("leaves"))?;
    let (took, made) = timed(|| Index::new(rebuilt.path()).rebuild_chunks());
    made?;
    println!("made again from the leaf lists: {:.0} ms", millis(took));
    build_table(&home.path().join("table.redb"))?;

    println!(
        "\n{:>9} {:>10} {:>9} {:>9} {:>11} {:>11} {:>9} {:>9}",
        "", "open ms", "hit µs", "miss µs", "batch hit", "batch miss", "MiB", "add ms"
    );
    for contender in CONTENDERS {
        let status = Command::new(std::env::current_exe()?).arg(contender).arg(home.path()).status()?;
        if !status.success() {
            return Err(format!("{contender} failed").into());
        }
    }
    Ok(())
}

fn measure(contender: &str, home: &Path) -> Result<()> {
    let wanted = |base: u32| -> Vec<ChunkHash> {
        (0..LOOKUPS)
            .map(|i| i.wrapping_mul(2_654_435_761))
            .map(|i| chunk(base + i % FILES, i / 7 % CHUNKS_A_FILE))
            .collect()
    };
    let (hits, misses) = (wanted(0), wanted(1_000));
    let memory = resident_bytes()?;
    let (opened, lookup) = match contender {
        "segments" => {
            let index = Index::new(home);
            let (took, _) = timed(|| index.find_chunks(&[chunk(0, 0)]));
            (took, Lookup::Segments(index))
        }
        "redb" => {
            let (took, database) = timed(|| Database::create(home.join("table.redb")));
            (took, Lookup::Redb(database?))
        }
        _ => {
            let (took, list) = timed(|| {
                let index = (0..FILES).flat_map(entries);
                let mut list: Vec<(u64, u32, u32)> = index.collect();
                list.sort_unstable();
                list
            });
            (took, Lookup::List(list))
        }
    };
    // Both once before, so that what is measured is not the disk.
    let [hit, miss] = [(&hits, 1), (&misses, 0)].map(|(chunks, expected)| {
        let found: usize = chunks.iter().map(|chunk| lookup.find(std::slice::from_ref(chunk))).sum();
        assert_eq!(found, expected * chunks.len());
        let single =
            timed(|| chunks.iter().for_each(|chunk| _ = black_box(lookup.find(std::slice::from_ref(chunk))))).0;
        let batched = timed(|| chunks.chunks(BATCH).for_each(|chunks| _ = black_box(lookup.find(chunks)))).0;
        [single, batched].map(|took| took.as_secs_f64() * 1e6 / f64::from(LOOKUPS))
    });
    let kept = resident_bytes()?.saturating_sub(memory) as f64 / (1024.0 * 1024.0);
    let add = lookup.add()?;
    println!(
        "{contender:>9} {:>10.2} {:>9.2} {:>9.2} {:>11.2} {:>11.2} {kept:>9.1} {:>9.1}",
        millis(opened),
        hit[0],
        miss[0],
        hit[1],
        miss[1],
        millis(add),
    );
    Ok(())
}

enum Lookup {
    Segments(Index),
    Redb(Database),
    List(Vec<(u64, u32, u32)>),
}

impl Lookup {
    /// How many of these chunks are somewhere.
    fn find(&self, chunks: &[ChunkHash]) -> usize {
        match self {
            Self::Segments(index) => index.find_chunks(chunks).iter().filter(|places| !places.is_empty()).count(),
            Self::Redb(database) => {
                let find = || -> Result<usize> {
                    let table = database.begin_read()?.open_table(TABLE)?;
                    let mut found = 0;
                    for chunk in chunks {
                        let prefix = prefix(chunk);
                        found += usize::from(table.range((prefix, 0)..=(prefix, u32::MAX))?.next().is_some());
                    }
                    Ok(found)
                };
                find().expect("the table was just made")
            }
            Self::List(list) => {
                let is_there = |chunk: &&ChunkHash| {
                    let prefix = prefix(chunk);
                    list.get(list.partition_point(|entry| entry.0 < prefix)).is_some_and(|entry| entry.0 == prefix)
                };
                chunks.iter().filter(is_there).count()
            }
        }
    }

    /// Adds another file, so that a process that begins after that finds it. Three, and the one in the middle.
    fn add(self) -> Result<Duration> {
        let mut took = Vec::new();
        match self {
            Self::Segments(index) => {
                for file in 10_000..10_003 {
                    let name = store_list(&index, file)?;
                    took.push(timed(|| index.index_chunks(&[name])).0);
                }
            }
            Self::Redb(database) => {
                for file in 10_000..10_003 {
                    let (time, added) = timed(|| add_to_table(&database, file..file + 1));
                    added?;
                    took.push(time);
                }
            }
            Self::List(mut list) => {
                for file in 10_000..10_003 {
                    let add = || {
                        list.extend(entries(file));
                        list.sort();
                    };
                    took.push(timed(add).0);
                }
            }
        }
        took.sort();
        Ok(took[1])
    }
}

fn build_table(path: &Path) -> Result<()> {
    add_to_table(&Database::create(path)?, 0..FILES)
}

fn add_to_table(database: &Database, files: std::ops::Range<u32>) -> Result<()> {
    let mut all: Vec<(u64, u32, u32)> = files.flat_map(entries).collect();
    all.sort_unstable();
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(TABLE)?;
    for (prefix, file, chunk) in all {
        table.insert((prefix, file), chunk)?;
    }
    drop(table);
    Ok(transaction.commit()?)
}

fn chunk(file: u32, number: u32) -> ChunkHash {
    ChunkHash::of(&[file.to_le_bytes(), number.to_le_bytes()].concat())
}

fn prefix(chunk: &ChunkHash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *chunk.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn entries(file: u32) -> impl Iterator<Item = (u64, u32, u32)> {
    (0..CHUNKS_A_FILE).map(move |number| (prefix(&chunk(file, number)), file, number))
}

fn store_list(index: &Index, file: u32) -> Result<FileHash> {
    let leaves: Vec<Leaf> =
        (0..CHUNKS_A_FILE).map(|number| Leaf { hash: chunk(file, number), length: 65_536 }).collect();
    let name = Leaf::file_hash(&leaves);
    index.store_leaves(name, &leaves)?;
    Ok(name)
}

/// Bytes that this process gave to the kernel to write.
fn written_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).ok_or("no count of written bytes")?;
    Ok(line.parse()?)
}

fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no resident size")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

fn folder_files(folder: &Path) -> Result<usize> {
    Ok(std::fs::read_dir(folder)?.count())
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let made = run();
    (begun.elapsed(), made)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
