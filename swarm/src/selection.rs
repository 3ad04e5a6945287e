//! Which files of a repository are wanted.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use xet_cas::client::TreeFile;

use crate::Error;

/// Glob patterns as `huggingface_hub` reads them: `*` also matches `/`, and a pattern that ends in `/`
/// means everything below that folder.
#[derive(Debug)]
pub(crate) struct Selection {
    include: Option<GlobSet>,
    exclude: GlobSet,
    patterns: String,
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        Ok(Self {
            include: if include.is_empty() { None } else { Some(compile(include)?) },
            exclude: compile(exclude)?,
            patterns: include.join(", "),
        })
    }

    /// The wanted files, in their order.
    pub(crate) fn apply(&self, files: Vec<TreeFile>) -> Result<Vec<TreeFile>, Error> {
        let is_empty = files.is_empty();
        let wanted = |file: &TreeFile| {
            self.include.as_ref().is_none_or(|include| include.is_match(&file.path))
                && !self.exclude.is_match(&file.path)
        };
        let selected: Vec<TreeFile> = files.into_iter().filter(wanted).collect();
        if selected.is_empty() && !is_empty {
            return Err(Error::NothingSelected { patterns: self.patterns.clone() });
        }
        Ok(selected)
    }
}

fn compile(patterns: &[String]) -> Result<GlobSet, Error> {
    let error = |pattern: &str, error: globset::Error| Error::Pattern {
        pattern: pattern.to_owned(),
        reason: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let text = if pattern.ends_with('/') { format!("{pattern}*") } else { pattern.clone() };
        let glob = GlobBuilder::new(&text).literal_separator(false).backslash_escape(false).build();
        set.add(glob.map_err(|source| error(pattern, source))?);
    }
    set.build().map_err(|source| error("", source))
}

#[cfg(test)]
mod tests {
    use xet_cas::client::{Content, TreeFile};

    use super::Selection;

    fn check(include: &[&str], exclude: &[&str], expected: &[&str]) {
        let owned = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let files = ["a.json", "b.bin", "sub/c.json", "sub/deep/d.bin"].map(|path| TreeFile {
            path: path.to_owned(),
            size: 1,
            blob_id: String::new(),
            content: Content::Regular,
        });

        let selected = Selection::new(&owned(include), &owned(exclude)).unwrap().apply(files.to_vec());

        let paths: Vec<String> = selected.map(|files| files.into_iter().map(|f| f.path).collect()).unwrap_or_default();
        assert_eq!(expected, paths);
    }

    #[test]
    fn given_patterns_when_applied_then_as_huggingface_hub_does() {
        check(&[], &[], &["a.json", "b.bin", "sub/c.json", "sub/deep/d.bin"]);
        check(&["*.json"], &[], &["a.json", "sub/c.json"]);
        check(&["sub/"], &["*.bin"], &["sub/c.json"]);
        check(&["nothing*"], &[], &[]);
    }

    #[test]
    fn given_a_broken_pattern_when_compiled_then_refused() {
        assert!(Selection::new(&["[".to_owned()], &[]).is_err());
    }
}
