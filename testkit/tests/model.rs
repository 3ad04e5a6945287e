//! What `testkit::model` promises about the repositories it writes.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{fs, path::Path};

use testkit::model::{GeneratedFile, ModelSpec, generate};

const SPEC: ModelSpec = ModelSpec { bytes: 3_000_001, seed: 7 };

#[test]
fn given_spec_when_generated_then_sizes_add_up_exactly() {
    for bytes in [ModelSpec::BYTES_MIN, 1_000_000, SPEC.bytes, 20_000_003] {
        let dir = tempfile::tempdir().unwrap();

        let files = generate(dir.path(), &ModelSpec { bytes, seed: 1 }).unwrap();

        assert_eq!(files.iter().map(|file| file.bytes).sum::<u64>(), bytes);
        for file in &files {
            assert_eq!(fs::metadata(dir.path().join(&file.path)).unwrap().len(), file.bytes, "{}", file.path);
        }
        assert!(files.iter().any(|file| file.bytes == 0));
        assert!(files.iter().any(|file| file.bytes == 1));
        assert!(files.iter().any(|file| !file.path.is_ascii()));
    }
}

#[test]
fn given_too_few_bytes_when_generated_then_refused() {
    let dir = tempfile::tempdir().unwrap();

    let error = generate(dir.path(), &ModelSpec { bytes: ModelSpec::BYTES_MIN - 1, seed: 1 }).unwrap_err();

    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn given_same_seed_when_generated_then_same_bytes_and_else_other_weights() {
    let [first, again, other] = [7, 7, 8].map(|seed| contents(&ModelSpec { seed, ..SPEC }));

    assert!(first == again);
    assert!(first.iter().zip(&other).any(|(one, two)| one != two));
}

#[test]
fn given_weights_when_counted_then_random_repeated_and_zero_shares_hold() {
    let files = contents(&ModelSpec { bytes: 24_000_000, seed: 1 });
    let all: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();

    let zero_blocks = all.chunks(4096).filter(|block| block.iter().all(|byte| *byte == 0)).count() * 4096;
    let mut seen = std::collections::HashSet::new();
    // Random data is never the same twice; the pattern of both shards counts once, and the zeros.
    let distinct = files
        .iter()
        .filter(|(path, _)| path.starts_with("model-0"))
        .flat_map(|(_, bytes)| tensors(bytes).chunks(4096))
        .filter(|block| seen.insert(block.to_vec()))
        .count()
        * 4096;

    assert!((0.13..0.20).contains(&(zero_blocks as f64 / all.len() as f64)), "{zero_blocks}");
    assert!((0.45..0.65).contains(&(distinct as f64 / all.len() as f64)), "{distinct}");
}

#[test]
fn given_shards_when_header_is_parsed_then_tensors_cover_the_file() {
    for (path, bytes) in contents(&SPEC).iter().filter(|(path, _)| path.ends_with(".safetensors")) {
        let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
        let (header, tensors) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
        let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).unwrap();

        let mut ranges: Vec<[u64; 2]> = header
            .iter()
            .filter(|(name, _)| *name != "__metadata__")
            .map(|(_, tensor)| serde_json::from_value(tensor["data_offsets"].clone()).unwrap())
            .collect();
        ranges.sort_unstable();

        assert_eq!(ranges.first().unwrap()[0], 0, "{path}");
        assert!(ranges.windows(2).all(|pair| pair[0][1] == pair[1][0]), "{path}");
        assert_eq!(ranges.last().unwrap()[1], tensors.len() as u64, "{path}");
    }
}

#[test]
fn given_export_when_compared_then_it_holds_a_slice_of_the_first_shard() {
    let files = contents(&SPEC);
    let find = |name: &str| &files.iter().find(|(path, _)| path == name).unwrap().1;
    let (shard, export) = (find("model-00001-of-00002.safetensors"), find("onnx/model.onnx"));

    let needle = &export[1000..1100];

    assert!(shard.windows(needle.len()).any(|window| window == needle));
}

/// What follows the header of a safetensors file.
fn tensors(file: &[u8]) -> &[u8] {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    &rest[usize::try_from(u64::from_le_bytes(*length)).unwrap()..]
}

fn contents(spec: &ModelSpec) -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let read = |file: GeneratedFile, dir: &Path| (file.path.clone(), fs::read(dir.join(&file.path)).unwrap());
    generate(dir.path(), spec).unwrap().into_iter().map(|file| read(file, dir.path())).collect()
}
