//! A model repository of any size, the same bytes for the same [`ModelSpec`].
//!
//! About half of the bytes are random (they neither compress nor deduplicate), a third repeats (a
//! pattern of a few megabytes, and a file that holds a slice of another at a different alignment),
//! the rest are zeros (one chunk named by many terms). Around them lie the small files of a real
//! repository: configuration, tokenizer, an empty file, a file of one byte, a nested folder, a name
//! outside ASCII.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct ModelSpec {
    /// Size of all files together, bytes: exactly this many are written.
    pub bytes: u64,
    /// Other seeds give other random bytes, and so other hashes.
    pub seed: u64,
}

impl ModelSpec {
    /// Smallest repository: room for the small files and the headers.
    pub const BYTES_MIN: u64 = 64 << 10;
}

/// A file that [`generate`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Path inside the repository, parts joined with `/`.
    pub path: String,
    /// Size, bytes.
    pub bytes: u64,
}

/// Writes the repository into `dir`, which is created if missing. Files of the same names are
/// replaced.
///
/// # Errors
///
/// `InvalidInput` below [`ModelSpec::BYTES_MIN`], else what the file system says.
pub fn generate(dir: impl AsRef<Path>, spec: &ModelSpec) -> io::Result<Vec<GeneratedFile>> {
    plan(spec)?.into_iter().map(|file| file.write(dir.as_ref(), spec.seed)).collect()
}

/// A file of this many chunks that are hardly larger than the smallest allowed, so that several levels of its tree
/// have nodes no longer than a chunk may be.
#[must_use]
pub fn small_chunks(count: usize, seed: u64) -> Vec<u8> {
    const STREAM: u64 = 9;
    let mut random = SplitMix64::new(seed, STREAM, 0);
    // Where a chunk ends depends on its last 64 bytes alone: one such ending serves all chunks.
    let (mut ending, mut chunk) = ([0; 64], vec![0; xet_cas::CHUNK_BYTES_MIN + 64]);
    while xet_cas::Chunker::new().next_boundary(&chunk) != Some(chunk.len()) {
        random.fill(&mut ending);
        chunk[xet_cas::CHUNK_BYTES_MIN..].copy_from_slice(&ending);
    }
    let mut head = vec![0; xet_cas::CHUNK_BYTES_MIN];
    let mut file = Vec::with_capacity(count * (head.len() + ending.len()));
    for _ in 0..count {
        random.fill(&mut head);
        file.extend_from_slice(&head);
        file.extend_from_slice(&ending);
    }
    file
}

/// The large files share what the small ones leave over; the last of them takes the rounding.
fn plan(spec: &ModelSpec) -> io::Result<Vec<PlannedFile>> {
    if spec.bytes < ModelSpec::BYTES_MIN {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a model needs at least 64 KiB"));
    }
    let mut files = small_files(spec.bytes);
    let weights = spec.bytes - files.iter().map(PlannedFile::bytes).sum::<u64>();

    let random = tensor_bytes(weights / 4);
    let pattern = tensor_bytes(weights / 8);
    let zeros = tensor_bytes(weights / 15);
    let period = (pattern / 4).clamp(256 << 10, 4 << 20);
    for shard in [1, 2] {
        let tensors = [
            ("embed_tokens", Part::Random { stream: shard, skip_words: 0, bytes: random }),
            ("mlp.up_proj", Part::Pattern { period, bytes: pattern }),
            ("norm", Part::Zeros { bytes: zeros }),
        ];
        let mut parts = vec![safetensors_header(shard, &tensors)];
        parts.extend(tensors.map(|(_, part)| part));
        files.push(PlannedFile { path: format!("model-{shard:05}-of-00002.safetensors"), parts });
    }

    // A slice of the first shard, moved by an odd number of bytes: only content-defined chunking
    // finds it.
    let shared = Part::Random { stream: 1, skip_words: random / 8 / 5, bytes: tensor_bytes(weights / 12) };
    let mut export = PlannedFile {
        path: "onnx/model.onnx".into(),
        parts: vec![Part::Text("\u{8}\u{7}zest-testkit export".into()), shared],
    };
    let written = files.iter().map(PlannedFile::bytes).sum::<u64>() + export.bytes();
    export.parts.push(Part::Zeros { bytes: spec.bytes - written });
    files.push(export);
    Ok(files)
}

fn small_files(model_bytes: u64) -> Vec<PlannedFile> {
    let text = |path: &str, content: &str| PlannedFile { path: path.into(), parts: vec![Part::Text(content.into())] };
    let adapter = [("lora_A", Part::Random { stream: 3, skip_words: 0, bytes: 4096 })];
    vec![
        text(".gitattributes", GITATTRIBUTES),
        text("README.md", "---\nlicense: mit\ntags: [test]\n---\n# Generated model\n\nWritten by zest-testkit.\n"),
        text(
            "config.json",
            "{\n  \"architectures\": [\"TestModel\"],\n  \"hidden_size\": 384,\n  \"vocab_size\": 8192\n}\n",
        ),
        text(
            "1_Pooling/config.json",
            "{\n  \"word_embedding_dimension\": 384,\n  \"pooling_mode_mean_tokens\": true\n}\n",
        ),
        text("notes/模型 – naïve.txt", "A name outside ASCII, with a space.\n"),
        text("empty.txt", ""),
        text("one-byte.txt", "1"),
        text("tokenizer.json", &tokenizer((model_bytes / 20_000).clamp(32, 8192))),
        text("model.safetensors.index.json", &weight_map()),
        // Stored with Xet for its name, though it is smaller than one chunk.
        PlannedFile {
            path: "adapter/adapter_model.safetensors".into(),
            parts: [safetensors_header(3, &adapter)].into_iter().chain(adapter.map(|(_, part)| part)).collect(),
        },
    ]
}

/// As the Hub writes it into a new repository, shortened.
const GITATTRIBUTES: &str = "\
*.bin filter=lfs diff=lfs merge=lfs -text
*.gguf filter=lfs diff=lfs merge=lfs -text
*.h5 filter=lfs diff=lfs merge=lfs -text
*.onnx filter=lfs diff=lfs merge=lfs -text
*.pt filter=lfs diff=lfs merge=lfs -text
*.safetensors filter=lfs diff=lfs merge=lfs -text
saved_model/**/* filter=lfs diff=lfs merge=lfs -text
*tfevents* filter=lfs diff=lfs merge=lfs -text
";

fn tokenizer(tokens: u64) -> String {
    let mut json = String::from("{\"version\":\"1.0\",\"model\":{\"type\":\"BPE\",\"vocab\":{");
    for token in 0..tokens {
        let comma = if token == 0 { "" } else { "," };
        let _ = write!(json, "{comma}\n\"token{token}\":{token}");
    }
    json.push_str("}}}\n");
    json
}

fn weight_map() -> String {
    let mut json = String::from("{\"metadata\":{},\"weight_map\":{");
    for shard in [1, 2] {
        for name in ["embed_tokens", "mlp.up_proj", "norm"] {
            let comma = if json.ends_with('{') { "" } else { "," };
            let _ = write!(json, "{comma}\n\"{}\":\"model-{shard:05}-of-00002.safetensors\"", tensor_name(shard, name));
        }
    }
    json.push_str("}}\n");
    json
}

fn tensor_name(shard: u64, name: &str) -> String {
    format!("model.layers.{shard}.{name}.weight")
}

/// `<length: u64 LE><JSON, padded with spaces to a multiple of 8>`, as the safetensors format has
/// it.
fn safetensors_header(shard: u64, tensors: &[(&str, Part)]) -> Part {
    let mut json = String::from("{\"__metadata__\":{\"format\":\"pt\"}");
    let mut begin = 0;
    for (name, part) in tensors {
        let end = begin + part.bytes();
        let name = tensor_name(shard, name);
        let elements = part.bytes() / 2;
        let _ =
            write!(json, ",\"{name}\":{{\"dtype\":\"BF16\",\"shape\":[{elements}],\"data_offsets\":[{begin},{end}]}}");
        begin = end;
    }
    json.push('}');
    let padded = json.len().next_multiple_of(8);
    let mut header = (padded as u64).to_le_bytes().to_vec();
    header.extend_from_slice(json.as_bytes());
    header.resize(8 + padded, b' ');
    Part::Text(header)
}

/// Whole words of random data and whole elements.
const fn tensor_bytes(bytes: u64) -> u64 {
    bytes / 16 * 16
}

struct PlannedFile {
    path: String,
    parts: Vec<Part>,
}

impl PlannedFile {
    fn bytes(&self) -> u64 {
        self.parts.iter().map(Part::bytes).sum()
    }

    fn write(self, dir: &Path, seed: u64) -> io::Result<GeneratedFile> {
        let target = dir.join(&self.path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut out = File::create(target)?;
        for part in &self.parts {
            part.write(&mut out, seed)?;
        }
        Ok(GeneratedFile { bytes: self.bytes(), path: self.path })
    }
}

/// A stretch of a file.
enum Part {
    Text(Vec<u8>),
    Random { stream: u64, skip_words: u64, bytes: u64 },
    Pattern { period: u64, bytes: u64 },
    Zeros { bytes: u64 },
}

impl Part {
    fn bytes(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Random { bytes, .. } | Self::Pattern { bytes, .. } | Self::Zeros { bytes } => *bytes,
        }
    }

    /// In pieces of at most 1 MiB (a pattern: one period), whatever the size.
    fn write(&self, out: &mut File, seed: u64) -> io::Result<()> {
        const PIECE_BYTES: usize = 1 << 20;
        const PATTERN_STREAM: u64 = 0;
        match self {
            Self::Text(text) => out.write_all(text),
            Self::Random { stream, skip_words, bytes } => {
                let mut random = SplitMix64::new(seed, *stream, *skip_words);
                let mut piece = vec![0; PIECE_BYTES];
                write_pieces(out, *bytes, &mut piece, |piece| random.fill(piece))
            }
            Self::Pattern { period, bytes } => {
                let mut piece = vec![0; usize::try_from(*period).expect("a period is at most 4 MiB")];
                SplitMix64::new(seed, PATTERN_STREAM, 0).fill(&mut piece);
                write_pieces(out, *bytes, &mut piece, |_| ())
            }
            Self::Zeros { bytes } => write_pieces(out, *bytes, &mut vec![0; PIECE_BYTES], |_| ()),
        }
    }
}

fn write_pieces(out: &mut File, bytes: u64, piece: &mut [u8], mut refill: impl FnMut(&mut [u8])) -> io::Result<()> {
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let piece = &mut piece[..length];
        refill(piece);
        out.write_all(piece)?;
        left -= length as u64;
    }
    Ok(())
}

/// Steele, Lea and Flood's generator: its state is a counter, so a stream can be entered at any
/// word.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

    pub(crate) const fn new(seed: u64, stream: u64, skip_words: u64) -> Self {
        let start = Self::mix(seed ^ Self::mix(stream.wrapping_add(Self::GAMMA)));
        Self { state: start.wrapping_add(skip_words.wrapping_mul(Self::GAMMA)) }
    }

    fn fill(&mut self, out: &mut [u8]) {
        for word in out.chunks_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(Self::GAMMA);
        Self::mix(self.state)
    }

    const fn mix(word: u64) -> u64 {
        let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
