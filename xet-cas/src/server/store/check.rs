//! Whether everything that is named is there, and everything that is there is named.

use std::collections::HashSet;
use std::io::Read as _;
use std::sync::Arc;

use super::blobs::{Blobs, Kind};
use super::commit::Content;
use super::files::{hex, terms_of};
use super::metadata::{COMMITS, FILES, NUMBERS, OBJECTS, REFS, REPOS, STORED_BYTES, TREES, XORBS, decode};
use super::xorbs::read_footer;
use super::{Commit, Entry, RepoRecord, Store, StoreError};
use crate::xorb::{Footer, SERIALIZED_BYTES_MAX};
use crate::{FileHash, GitBlobHasher, RootBuilder, XorbHash};

/// Longest list of findings of a kind. More are counted only.
const FINDINGS_MAX: usize = 1_000;

/// How an origin's data is looked at.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct CheckOptions {
    /// Read and hash every byte, not only what says where they are.
    pub deep: bool,
    /// Remove bytes that nothing names, which a crash leaves, and forget bytes that are missing or damaged, and the files that
    /// need them: clients send them again then.
    pub repair: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Commits that were looked at.
    pub commits: u64,
    /// Files that are in xorbs.
    pub files: u64,
    /// Xorbs.
    pub xorbs: u64,
    /// Regular files.
    pub objects: u64,
    /// Bytes of the last two.
    pub bytes: u64,
    /// Bytes that nothing names, by their names: the first thousand.
    pub orphans: Vec<String>,
    /// How many there are, and whether they were removed is up to the options.
    pub orphans_count: u64,
    /// Bytes of them.
    pub orphans_bytes: u64,
    /// What is missing or other than its name says, each with what is wrong with it: the first thousand.
    pub damage: Vec<String>,
    /// How many there are.
    pub damage_count: u64,
}

impl CheckReport {
    fn damaged(&mut self, what: String) {
        self.damage_count += 1;
        if self.damage.len() < FINDINGS_MAX {
            self.damage.push(what);
        }
    }
}

impl Store {
    /// Looks at everything. Nobody else may use the store meanwhile.
    pub(in super::super) fn check(&self, options: CheckOptions) -> Result<CheckReport, StoreError> {
        let mut report = CheckReport::default();
        let mut lost = Vec::new();
        for kind in Kind::ALL {
            lost.extend(self.check_bytes(kind, options, &mut report)?.into_iter().map(|name| (kind, name)));
        }
        let is_xorb = |(kind, name): &(Kind, String)| (*kind == Kind::Xorb).then(|| name.parse().ok()).flatten();
        let xorbs: HashSet<XorbHash> = lost.iter().filter_map(is_xorb).collect();
        let files = self.check_files(&xorbs, &mut report)?;
        self.check_commits(&mut report)?;
        let counted = self.metadata.read(|transaction| {
            Ok(transaction.open_table(NUMBERS)?.get(STORED_BYTES)?.map_or(0, |bytes| bytes.value()))
        })?;
        let sound = report.bytes;
        if counted != sound && lost.is_empty() {
            report.damaged(format!("{counted} bytes are said to be stored, and {sound} are"));
        }
        if options.repair {
            self.forget(&lost, &files, sound)?;
        }
        Ok(report)
    }

    /// Forgets bytes that are not as they should be, and files that cannot be put together. So many bytes are left.
    fn forget(&self, lost: &[(Kind, String)], files: &[FileHash], left: u64) -> Result<(), StoreError> {
        self.metadata.write(|transaction| {
            for (kind, name) in lost {
                match kind {
                    Kind::Xorb => drop(
                        transaction
                            .open_table(XORBS)?
                            .remove(name.parse::<XorbHash>().map_err(StoreError::from)?.as_bytes())?,
                    ),
                    Kind::Object => drop(transaction.open_table(OBJECTS)?.remove(name.as_str())?),
                }
            }
            for file in files {
                transaction.open_table(FILES)?.remove(file.as_bytes())?;
            }
            transaction.open_table(NUMBERS)?.insert(STORED_BYTES, left)?;
            Ok(())
        })?;
        for (kind, name) in lost {
            if *kind == Kind::Xorb {
                self.footers.forget(name.parse()?);
            }
            self.blobs.remove(*kind, name)?;
        }
        Ok(())
    }

    /// Returns the names of those that are missing or damaged.
    fn check_bytes(
        &self,
        kind: Kind,
        options: CheckOptions,
        report: &mut CheckReport,
    ) -> Result<Vec<String>, StoreError> {
        let mut named = self.named(kind)?;
        let names_nothing = named.is_empty();
        let mut orphans = Vec::new();
        let (mut there, mut wrong, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        self.blobs.list(kind, &mut |name, bytes| match named.remove(&name) {
            None => orphans.push((name, bytes)),
            Some(expected) if expected != bytes => {
                wrong.push(format!("{name} has {bytes} bytes, not {expected}"));
                lost.push(name);
            }
            Some(_) => there.push((name, bytes)),
        })?;
        wrong.into_iter().for_each(|what| report.damaged(what));
        for name in named.into_keys() {
            report.damaged(format!("{name} is missing"));
            lost.push(name);
        }
        for (name, bytes) in there {
            match kind {
                Kind::Xorb => report.xorbs += 1,
                Kind::Object => report.objects += 1,
            }
            match self.check_blob(kind, &name, options.deep) {
                Ok(()) => report.bytes += bytes,
                Err(error) => {
                    report.damaged(format!("{name}: {error}"));
                    lost.push(name);
                }
            }
        }
        // A bucket may be another origin's: then the folder is the wrong one, and nothing of it may go.
        let may_be_anothers = names_nothing && !orphans.is_empty() && !matches!(self.blobs, Blobs::Directory(_));
        if may_be_anothers {
            report.damaged(format!("nothing that is in the bucket's {kind:?}s is known here: is this its folder?"));
        }
        for (name, bytes) in orphans {
            report.orphans_count += 1;
            report.orphans_bytes += bytes;
            if options.repair && !may_be_anothers {
                self.blobs.remove(kind, &name)?;
            }
            if report.orphans.len() < FINDINGS_MAX {
                report.orphans.push(name);
            }
        }
        Ok(lost)
    }

    /// Names and bytes of what there has to be.
    fn named(&self, kind: Kind) -> Result<std::collections::HashMap<String, u64>, StoreError> {
        self.metadata.read(|transaction| {
            let mut named = std::collections::HashMap::new();
            match kind {
                Kind::Xorb => {
                    for entry in transaction.open_table(XORBS)?.range::<&[u8; 32]>(..)? {
                        let (xorb, row) = entry?;
                        named.insert(XorbHash::from_bytes(*xorb.value()).to_string(), row.value().0);
                    }
                }
                Kind::Object => {
                    for entry in transaction.open_table(OBJECTS)?.range::<&str>(..)? {
                        let (oid, row) = entry?;
                        named.insert(oid.value().to_owned(), row.value().0);
                    }
                }
            }
            Ok(named)
        })
    }

    fn check_blob(&self, kind: Kind, name: &str, is_deep: bool) -> Result<(), StoreError> {
        let missing = || StoreError::Corrupt { path: name.into(), reason: "it is missing".into() };
        let read_failed = |source| StoreError::Io { what: "read", path: name.into(), source };
        let blob = self.blobs.open(kind, name)?.ok_or_else(missing)?;
        match kind {
            Kind::Xorb => {
                let xorb: XorbHash = name.parse()?;
                let footer = read_footer(&blob, xorb)?;
                if is_deep {
                    let mut body = Vec::new();
                    let records = blob.reader(0).take(SERIALIZED_BYTES_MAX.min(footer.serialized_bytes()));
                    { records }.read_to_end(&mut body).map_err(read_failed)?;
                    if Footer::validate(xorb, &body)? != footer {
                        let reason = "its footer is that of other records".into();
                        return Err(StoreError::Corrupt { path: name.into(), reason });
                    }
                }
            }
            Kind::Object if is_deep => {
                let mut content = Vec::new();
                { blob.reader(0) }.read_to_end(&mut content).map_err(read_failed)?;
                if GitBlobHasher::of(&content) != name {
                    return Err(StoreError::Corrupt { path: name.into(), reason: "it has other bytes".into() });
                }
            }
            Kind::Object => {}
        }
        Ok(())
    }

    /// Every file's terms must be in xorbs that are here, and make up the file's name. Returns those of which that is not
    /// so.
    fn check_files(
        &self,
        lost_xorbs: &HashSet<XorbHash>,
        report: &mut CheckReport,
    ) -> Result<Vec<FileHash>, StoreError> {
        let files = self.metadata.read(|transaction| {
            let mut files = Vec::new();
            for entry in transaction.open_table(FILES)?.range::<&[u8; 32]>(..)? {
                files.push(*entry?.0.value());
            }
            Ok(files)
        })?;
        let (mut last, mut lost) = (None, Vec::new());
        for file in files {
            report.files += 1;
            let file = FileHash::from_bytes(file);
            if let Err(error) = self.check_file(file, lost_xorbs, &mut last) {
                report.damaged(format!("file {file}: {error}"));
                lost.push(file);
            }
        }
        Ok(lost)
    }

    fn check_file(
        &self,
        file: FileHash,
        lost_xorbs: &HashSet<XorbHash>,
        last: &mut Option<Arc<Footer>>,
    ) -> Result<(), StoreError> {
        let record = self.metadata.read(|transaction| {
            Ok(transaction.open_table(FILES)?.get(file.as_bytes())?.map(|record| record.value().to_vec()))
        })?;
        let mut root = RootBuilder::new();
        for term in terms_of(file, &record.unwrap_or_default())? {
            if lost_xorbs.contains(&term.xorb) {
                return Err(StoreError::MissingXorb { xorb: term.xorb });
            }
            let footer = match last.take().filter(|footer| footer.hash() == term.xorb) {
                Some(footer) => footer,
                None => self.footer(term.xorb)?,
            };
            let (start, end) = (term.chunks.start as usize, term.chunks.end as usize);
            let outside = || StoreError::Corrupt { path: file.to_string().into(), reason: "a term is outside".into() };
            footer.leaves().get(start..end).ok_or_else(outside)?.iter().for_each(|leaf| root.push(leaf));
            *last = Some(footer);
        }
        match root.finish_file() == file {
            true => Ok(()),
            false => Err(StoreError::Corrupt { path: file.to_string().into(), reason: "its chunks are others".into() }),
        }
    }

    /// Every ref must lead to a commit, and every commit to files that are here.
    fn check_commits(&self, report: &mut CheckReport) -> Result<(), StoreError> {
        let (commits, dangling) = self.metadata.read(|transaction| {
            let trees = transaction.open_table(TREES)?;
            let mut commits = Vec::new();
            for entry in transaction.open_table(COMMITS)?.range::<(u64, &str)>(..)? {
                let key = entry?.0;
                let (number, sha) = key.value();
                commits.push((number, sha.to_owned()));
            }
            let mut dangling = Vec::new();
            for entry in transaction.open_table(REFS)?.range::<(u64, &str)>(..)? {
                let (key, sha) = entry?;
                if trees.get((key.value().0, sha.value()))?.is_none() {
                    dangling.push(format!("{} leads to no commit", key.value().1));
                }
            }
            Ok((commits, dangling))
        })?;
        dangling.into_iter().for_each(|what| report.damaged(what));
        let mut good: HashSet<String> = HashSet::new();
        for (number, sha) in commits {
            report.commits += 1;
            let is_mirrored = self.metadata.read(|transaction| {
                let repos = transaction.open_table(REPOS)?;
                let record = repos.get(number)?.map(|record| decode::<RepoRecord>(record.value())).transpose()?;
                Ok(record.is_some_and(|record| record.mirrored.is_some()))
            })?;
            let files = self.metadata.read(|transaction| {
                let tree = transaction.open_table(TREES)?.get((number, sha.as_str()))?;
                Ok(tree.map(|tree| decode(tree.value())).transpose()?)
            });
            let files: std::collections::BTreeMap<String, Entry> = match files {
                Ok(Some(files)) => files,
                Ok(None) => {
                    report.damaged(format!("commit {sha} has no list of files"));
                    continue;
                }
                Err(error) => {
                    report.damaged(format!("commit {sha}: {error}"));
                    continue;
                }
            };
            if let Err(error) = (Commit { files: files.clone(), ..Commit::default() }).check() {
                report.damaged(format!("commit {sha}: {error}"));
            }
            // Of these, files come when they are asked for.
            for (path, entry) in files.into_iter().filter(|_| !is_mirrored) {
                let name = match &entry.content {
                    Content::Regular => entry.oid.clone(),
                    Content::Xet { hash, .. } => hex(hash.as_bytes()),
                    Content::Lfs { sha256 } => sha256.clone(),
                };
                if good.contains(&name) {
                    continue;
                }
                let is_here = match &entry.content {
                    Content::Regular => self.has_object(&entry.oid)?,
                    Content::Xet { hash, .. } => self.file(*hash).is_ok_and(|file| file.is_some()),
                    Content::Lfs { .. } => false,
                };
                match is_here {
                    true => drop(good.insert(name)),
                    false => report.damaged(format!("{path} of commit {sha} is missing")),
                }
            }
        }
        Ok(())
    }
}
