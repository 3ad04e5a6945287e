//! JSON of the CAS. Hashes are in text form; chunk ranges have an exclusive end, byte ranges an
//! inclusive one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(feature = "server")]
use crate::FileHash;
use crate::{ByteRange, ChunkRange, Error, FetchEntry, Reconstruction, Term, XorbHash};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeJson {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl RangeJson {
    fn chunks(self) -> Result<ChunkRange, Error> {
        let index = |value: u64| {
            u32::try_from(value).map_err(|_| Error::OutOfBounds {
                what: "chunk index",
                value,
                min: 0,
                max: u32::MAX.into(),
            })
        };
        Ok(ChunkRange { start: index(self.start)?, end: index(self.end)? })
    }

    fn inclusive_bytes(self) -> Result<ByteRange, Error> {
        Error::check_bounds("end of a byte range", self.end, self.start, u64::MAX - 1)?;
        Ok(ByteRange { start: self.start, end: self.end + 1 })
    }
}

impl From<ChunkRange> for RangeJson {
    fn from(chunks: ChunkRange) -> Self {
        Self { start: chunks.start.into(), end: chunks.end.into() }
    }
}

impl From<ByteRange> for RangeJson {
    fn from(bytes: ByteRange) -> Self {
        Self { start: bytes.start, end: bytes.end.saturating_sub(1) }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TermJson {
    pub(crate) hash: String,
    pub(crate) unpacked_length: u32,
    pub(crate) range: RangeJson,
}

impl TermJson {
    fn term(&self) -> Result<Term, Error> {
        Ok(Term { xorb: self.hash.parse()?, chunks: self.range.chunks()?, unpacked_length: self.unpacked_length })
    }
}

impl From<&Term> for TermJson {
    fn from(term: &Term) -> Self {
        Self { hash: term.xorb.to_string(), unpacked_length: term.unpacked_length, range: term.chunks.into() }
    }
}

/// Answer of `GET /v2/reconstructions/{file}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReconstructionV2 {
    #[serde(default)]
    pub(crate) offset_into_first_range: u64,
    pub(crate) terms: Vec<TermJson>,
    pub(crate) xorbs: BTreeMap<String, Vec<XorbUrlV2>>,
}

/// One signed URL, which covers one or more ranges of its xorb.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct XorbUrlV2 {
    pub(crate) url: String,
    pub(crate) ranges: Vec<XorbRangeV2>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct XorbRangeV2 {
    pub(crate) chunks: RangeJson,
    pub(crate) bytes: RangeJson,
}

/// Answer of `GET /v1/reconstructions/{file}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReconstructionV1 {
    #[serde(default)]
    pub(crate) offset_into_first_range: u64,
    pub(crate) terms: Vec<TermJson>,
    pub(crate) fetch_info: BTreeMap<String, Vec<FetchInfoV1>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FetchInfoV1 {
    pub(crate) range: RangeJson,
    pub(crate) url: String,
    pub(crate) url_range: RangeJson,
}

impl TryFrom<ReconstructionV2> for Reconstruction {
    type Error = Error;

    fn try_from(answer: ReconstructionV2) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for (hash, urls) in answer.xorbs {
            let xorb: XorbHash = hash.parse()?;
            for XorbUrlV2 { url, ranges } in urls {
                let url = Arc::from(url);
                for range in ranges {
                    let (chunks, bytes) = (range.chunks.chunks()?, range.bytes.inclusive_bytes()?);
                    entries.push(FetchEntry { xorb, chunks, bytes, url: Arc::clone(&url) });
                }
            }
        }
        let terms = answer.terms.iter().map(TermJson::term).collect::<Result<_, _>>()?;
        Ok(Self { offset_into_first_term: answer.offset_into_first_range, terms, entries })
    }
}

impl TryFrom<ReconstructionV1> for Reconstruction {
    type Error = Error;

    fn try_from(answer: ReconstructionV1) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for (hash, infos) in answer.fetch_info {
            let xorb: XorbHash = hash.parse()?;
            for FetchInfoV1 { range, url, url_range } in infos {
                entries.push(FetchEntry {
                    xorb,
                    chunks: range.chunks()?,
                    bytes: url_range.inclusive_bytes()?,
                    url: url.into(),
                });
            }
        }
        let terms = answer.terms.iter().map(TermJson::term).collect::<Result<_, _>>()?;
        Ok(Self { offset_into_first_term: answer.offset_into_first_range, terms, entries })
    }
}

impl From<&Reconstruction> for ReconstructionV2 {
    fn from(reconstruction: &Reconstruction) -> Self {
        let mut xorbs: BTreeMap<String, Vec<XorbUrlV2>> = BTreeMap::new();
        for entry in &reconstruction.entries {
            let range = XorbRangeV2 { chunks: entry.chunks.into(), bytes: entry.bytes.into() };
            let url = XorbUrlV2 { url: entry.url.to_string(), ranges: vec![range] };
            xorbs.entry(entry.xorb.to_string()).or_default().push(url);
        }
        let terms = reconstruction.terms.iter().map(TermJson::from).collect();
        Self { offset_into_first_range: reconstruction.offset_into_first_term, terms, xorbs }
    }
}

impl From<&Reconstruction> for ReconstructionV1 {
    fn from(reconstruction: &Reconstruction) -> Self {
        let mut fetch_info: BTreeMap<String, Vec<FetchInfoV1>> = BTreeMap::new();
        for entry in &reconstruction.entries {
            let info =
                FetchInfoV1 { range: entry.chunks.into(), url: entry.url.to_string(), url_range: entry.bytes.into() };
            fetch_info.entry(entry.xorb.to_string()).or_default().push(info);
        }
        let terms = reconstruction.terms.iter().map(TermJson::from).collect();
        Self { offset_into_first_range: reconstruction.offset_into_first_term, terms, fetch_info }
    }
}

/// The answers of a CAS. With the feature `client` or `server`.
impl Reconstruction {
    /// Reads the answer of `GET /v2/reconstructions/{file}`. It is as the CAS says it: see
    /// [`check_whole_file`](Self::check_whole_file).
    ///
    /// # Errors
    /// [`Error::Reconstruction`] for JSON of another shape; hashes that are none, and ranges that cannot be.
    pub fn from_json_v2(json: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice::<ReconstructionV2>(json).map_err(not_an_answer)?.try_into()
    }

    /// Reads the answer of `GET /v1/reconstructions/{file}`.
    ///
    /// # Errors
    /// As those of [`from_json_v2`](Self::from_json_v2).
    pub fn from_json_v1(json: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice::<ReconstructionV1>(json).map_err(not_an_answer)?.try_into()
    }

    /// The answer of `GET /v2/reconstructions/{file}`. Entries come in the order of their xorbs.
    pub fn to_json_v2(&self) -> Vec<u8> {
        serde_json::to_vec(&ReconstructionV2::from(self)).unwrap_or_default()
    }

    /// The answer of `GET /v1/reconstructions/{file}`. Entries come in the order of their xorbs.
    pub fn to_json_v1(&self) -> Vec<u8> {
        serde_json::to_vec(&ReconstructionV1::from(self)).unwrap_or_default()
    }
}

/// The reason says where, and does not quote: a URL in the answer is a secret.
fn not_an_answer(error: serde_json::Error) -> Error {
    let reason = format!("not the JSON of an answer (line {}, column {})", error.line(), error.column());
    Error::Reconstruction { reason }
}

/// Answer of `GET /v1/reconstructions?file_id=..&file_id=..`.
#[cfg(feature = "server")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BatchV1 {
    pub(crate) files: BTreeMap<String, Vec<TermJson>>,
    pub(crate) fetch_info: BTreeMap<String, Vec<FetchInfoV1>>,
}

#[cfg(feature = "server")]
impl BatchV1 {
    /// Describes several whole files. The entries are those of each file, one after the other.
    pub(crate) fn new<'t>(files: impl IntoIterator<Item = (FileHash, &'t [Term])>, entries: Vec<FetchEntry>) -> Self {
        let files = files
            .into_iter()
            .map(|(hash, terms)| (hash.to_string(), terms.iter().map(TermJson::from).collect()))
            .collect();
        let ReconstructionV1 { fetch_info, .. } = (&Reconstruction { entries, ..Reconstruction::default() }).into();
        Self { files, fetch_info }
    }
}

/// Answer of `POST /v1/xorbs/default/{xorb}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct XorbAnswer {
    /// False: it was there already.
    pub(crate) was_inserted: bool,
}

/// Body of `POST /v1/xorb-grants/default/{xorb}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantRequest {
    /// Bytes of the serialized xorb.
    pub(crate) length: u64,
    pub(crate) checksum: GrantChecksum,
}

/// What the bytes of a xorb sum up to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrantChecksum {
    /// [`GRANT_CHECKSUM`] is the only one there is.
    pub(crate) algo: String,
    /// Decimal, as a string: it does not fit into a number of JSON.
    pub(crate) value: String,
}

/// CRC-64/NVME.
pub(crate) const GRANT_CHECKSUM: &str = "crc64nvme";

/// Answer of `POST /v1/xorb-grants/default/{xorb}` with status 201.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct GrantAnswer {
    /// Names the upload when it is to be kept.
    pub(crate) id: String,
    /// How the bytes are to be sent.
    pub(crate) method: String,
    /// Where to. As good as a token.
    pub(crate) url: String,
    /// To be sent along.
    pub(crate) headers: BTreeMap<String, String>,
}

/// Answer of `POST /v1/shards`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShardAnswer {
    /// 0: it was there already; 1: registered.
    pub(crate) result: u8,
}

/// Which bytes of a file are to change, in a question about its chunks.
#[cfg(feature = "server")]
pub(crate) const DIRTY_RANGES_HEADER: &str = "x-range-dirty";

/// Answer of `GET /v2/file-chunk-hashes/{file}`.
#[cfg(feature = "server")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileChunkHashes {
    total_chunks: u64,
    /// Bytes.
    file_size: u64,
    windows: Vec<WindowJson>,
    /// One more than there are windows.
    hash_ranges: Vec<Option<crate::MerkleHashSubtree>>,
    gap_verification: Vec<String>,
}

#[cfg(feature = "server")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WindowJson {
    /// First byte and the one behind the last.
    dirty_byte_range: [u64; 2],
}

#[cfg(feature = "server")]
impl FileChunkHashes {
    pub(crate) fn new(found: crate::reconstruction::edit::Windows, total_chunks: u64, file_size: u64) -> Self {
        let window = |bytes: &ByteRange| WindowJson { dirty_byte_range: [bytes.start, bytes.end] };
        Self {
            total_chunks,
            file_size,
            windows: found.windows.iter().map(window).collect(),
            hash_ranges: found.gaps,
            gap_verification: found.gap_verification.iter().map(ToString::to_string).collect(),
        }
    }
}

/// One line of the answer of `POST /v2/shards`.
#[cfg(feature = "server")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ShardFrame {
    /// Still at it; `total` may grow.
    Validating { verified: u64, total: u64 },
    /// Done.
    Result,
    /// Refused.
    Error {
        message: String,
        /// Whether the same shard may be taken later.
        #[serde(default)]
        retryable: bool,
    },
}

/// Answer of `xet-{read|write}-token`, in the body. The same values also stand in headers.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenAnswer {
    pub(crate) cas_url: String,
    /// Unix seconds.
    pub(crate) exp: u64,
    pub(crate) access_token: String,
}

/// Header form of [`TokenAnswer::cas_url`].
pub(crate) const CAS_URL_HEADER: &str = "x-xet-cas-url";
/// Header form of [`TokenAnswer::exp`].
pub(crate) const TOKEN_EXPIRATION_HEADER: &str = "x-xet-token-expiration";
/// Header form of [`TokenAnswer::access_token`].
pub(crate) const ACCESS_TOKEN_HEADER: &str = "x-xet-access-token";
