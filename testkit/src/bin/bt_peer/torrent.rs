use std::fs;
use std::path::{Path, PathBuf};

use bencode::Value;
use bt_wire::{Block, InfoHash, Pieces};
use bytes::Bytes;
use sha1::{Digest as _, Sha1};

use crate::Failure;

/// Content of a torrent, bytes: it is held in memory, and tests need no more.
const CONTENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An info dictionary, read.
pub(crate) struct Info {
    pub(crate) pieces: Pieces,
    pub(crate) piece_bytes: u32,
    pub(crate) content_bytes: usize,
    hashes: Vec<[u8; 20]>,
    /// Below the directory that the torrent names.
    files: Vec<PathBuf>,
}

impl Info {
    pub(crate) fn read(metadata: &[u8]) -> Result<Self, Failure> {
        let document = bencode::decode(metadata)?;
        let info = document.root();
        let number =
            |value: Option<Value<'_, '_>>| value.and_then(|value| value.as_u64()).ok_or("info without a number");
        let piece_bytes = number(info.get(b"piece length"))?.try_into()?;
        let (mut files, mut content_bytes) = (Vec::new(), 0_u64);
        for file in info.get(b"files").and_then(|files| files.as_list()).ok_or("info without files")? {
            let names = file.get(b"path").and_then(|path| path.as_list()).ok_or("a file without a path")?;
            let name = |name: Value<'_, '_>| Some(str::from_utf8(name.as_bytes()?).ok()?.to_owned());
            files.push(names.into_iter().map(name).collect::<Option<_>>().ok_or("a name that is not text")?);
            content_bytes = content_bytes.saturating_add(number(file.get(b"length"))?);
        }
        if content_bytes > CONTENT_BYTES_MAX {
            return Err(format!("{content_bytes} bytes of content").into());
        }
        let pieces = Pieces::new(content_bytes, piece_bytes).ok_or("info without pieces")?;
        let (hashes, rest) = info.get(b"pieces").and_then(|hashes| hashes.as_bytes()).unwrap_or(b"").as_chunks();
        if hashes.len() != pieces.count() as usize || !rest.is_empty() {
            return Err("info with hashes for another number of pieces".into());
        }
        Ok(Self { pieces, piece_bytes, content_bytes: content_bytes as usize, hashes: hashes.to_vec(), files })
    }

    /// Where a block lies in the content.
    pub(crate) fn offset(&self, block: &Block) -> usize {
        block.piece as usize * self.piece_bytes as usize + block.begin as usize
    }

    pub(crate) fn check(&self, content: &[u8]) -> Result<(), Failure> {
        let mut pieces = content.chunks(self.piece_bytes as usize).zip(&self.hashes);
        match pieces.position(|(piece, hash)| Sha1::digest(piece)[..] != hash[..]) {
            None => Ok(()),
            Some(piece) => Err(format!("piece {piece} has another hash").into()),
        }
    }
}

/// A torrent with its content.
pub(crate) struct Torrent {
    pub(crate) metadata: Bytes,
    pub(crate) info: Info,
    pub(crate) content: Bytes,
}

impl Torrent {
    /// Of a metainfo file, and the directory that it names.
    pub(crate) fn open(metainfo: &Path, directory: &Path) -> Result<Self, Failure> {
        let metainfo = fs::read(metainfo)?;
        let document = bencode::decode(&metainfo)?;
        let metadata = Bytes::copy_from_slice(document.root().get(b"info").ok_or("metainfo without info")?.raw());
        let info = Info::read(&metadata)?;
        let files: Vec<_> = info.files.iter().map(|file| fs::read(directory.join(file))).collect::<Result<_, _>>()?;
        let content = files.concat();
        info.check(&content)?;
        Ok(Self { metadata, info, content: content.into() })
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        InfoHash::from_bytes(Sha1::digest(&self.metadata).into())
    }
}
