//! Which files of a repository are wanted.

use xet_cas::client::{Patterns, TreeFile};

use crate::Error;

/// The patterns of a pull.
#[derive(Debug)]
pub(crate) struct Selection {
    patterns: Patterns,
    /// As they were given, for messages.
    include: String,
}

impl Selection {
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        Ok(Self { patterns: Patterns::new(include, exclude)?, include: include.join(", ") })
    }

    /// The wanted files, in their order.
    pub(crate) fn apply(&self, files: Vec<TreeFile>) -> Result<Vec<TreeFile>, Error> {
        let is_empty = files.is_empty();
        let selected: Vec<TreeFile> = files.into_iter().filter(|file| self.patterns.matches(&file.path)).collect();
        if selected.is_empty() && !is_empty {
            return Err(Error::NothingSelected { patterns: self.include.clone() });
        }
        Ok(selected)
    }
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
