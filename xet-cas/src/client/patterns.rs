//! Which files are wanted.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Error;

/// Patterns that choose files by their path in the repository, as `huggingface_hub` reads them: `*` also matches
/// `/`, and a pattern that ends in `/` means everything below that folder.
#[derive(Debug, Clone)]
pub struct Patterns {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Patterns {
    /// Wants what any of `include` matches, or everything if there is none, but for what any of `exclude` matches.
    ///
    /// # Errors
    /// [`Error::Pattern`] with the first that is none.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, Error> {
        let include = if include.is_empty() { None } else { Some(compile(include)?) };
        Ok(Self { include, exclude: compile(exclude)? })
    }

    /// Whether the file at this path is wanted.
    pub fn matches(&self, path: &str) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(path)) && !self.exclude.is_match(path)
    }
}

/// Everything is wanted.
impl Default for Patterns {
    fn default() -> Self {
        Self { include: None, exclude: GlobSet::empty() }
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
