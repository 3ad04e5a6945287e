//! `.gitattributes`: which paths go through Xet whatever their size.

use globset::{GlobBuilder, GlobMatcher};

/// How much of a file is read, bytes. The Hub's own has 1.5 KiB.
pub(super) const ATTRIBUTES_BYTES_MAX: u64 = 128 * 1024;
/// Lines that are taken; each becomes an automaton.
const LINES_MAX: usize = 1_000;

/// The lines that say something about LFS.
pub(super) struct Attributes(Vec<Line>);

struct Line {
    pattern: GlobMatcher,
    /// The pattern has no slash: it is for file names in any folder.
    is_name: bool,
    is_lfs: bool,
}

impl Attributes {
    /// Reads a file's text. Lines that cannot be understood say nothing, as in git.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().take(LINES_MAX).filter_map(line).collect())
    }

    /// How many lines each path is compared with.
    pub(super) fn lines(&self) -> usize {
        self.0.len()
    }

    /// Whether the file at this path goes through Xet: the last line that matches decides.
    pub(super) fn is_lfs(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let deciding = self.0.iter().rev().find(|line| line.pattern.is_match(if line.is_name { name } else { path }));
        deciding.is_some_and(|line| line.is_lfs)
    }
}

/// `<pattern> <attribute>...`
fn line(text: &str) -> Option<Line> {
    let text = text.trim();
    if text.starts_with('#') {
        return None;
    }
    let (pattern, attributes) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_once(char::is_whitespace)?,
    };
    let is_lfs = attributes.split_whitespace().rev().find_map(|attribute| match attribute {
        "filter=lfs" => Some(true),
        "-filter" | "!filter" | "filter" => Some(false),
        other => other.starts_with("filter=").then_some(false),
    })?;
    let is_name = !pattern.contains('/');
    // Git knows no alternatives in braces, and this is how git-lfs writes a space.
    let pattern = pattern.trim_start_matches('/').replace("[[:space:]]", " ").replace('{', "[{]").replace('}', "[}]");
    let pattern = GlobBuilder::new(&pattern).literal_separator(true).build().ok()?.compile_matcher();
    Some(Line { pattern, is_name, is_lfs })
}

#[cfg(test)]
mod tests {
    use super::Attributes;

    fn check(text: &str, lfs: &[&str], regular: &[&str]) {
        let attributes = Attributes::parse(text);
        for path in lfs {
            assert!(attributes.is_lfs(path), "{text}: {path}");
        }
        for path in regular {
            assert!(!attributes.is_lfs(path), "{text}: {path}");
        }
    }

    #[test]
    fn given_a_pattern_without_slash_when_matched_then_for_names_anywhere() {
        check("*.bin filter=lfs diff=lfs merge=lfs -text", &["a.bin", "sub/dir/a.bin"], &["a.bin.txt", "bin"]);
        check("*tfevents* filter=lfs", &["logs/x.tfevents.1"], &["tfevents/x"]);
    }

    #[test]
    fn given_a_pattern_with_slash_when_matched_then_for_whole_paths() {
        check(
            "saved_model/**/* filter=lfs",
            &["saved_model/a", "saved_model/a/b"],
            &["x/saved_model/a", "saved_model"],
        );
        check("/data.csv filter=lfs", &["data.csv"], &["sub/data.csv"]);
        check("data/*.csv filter=lfs", &["data/a.csv"], &["data/sub/a.csv"]);
    }

    #[test]
    fn given_several_lines_when_matched_then_the_last_decides() {
        check("*.json filter=lfs\nconfig.json -filter\n", &["a.json"], &["config.json", "sub/config.json"]);
        check("*.json filter=lfs\nconfig.json !filter\n*.json text", &["a.json"], &["config.json"]);
    }

    #[test]
    fn given_odd_lines_when_parsed_then_they_say_nothing_or_what_git_says() {
        check("# *.bin filter=lfs\n\n*.bin\n[ filter=lfs\n", &[], &["a.bin", "["]);
        check(
            "\"a b.bin\" filter=lfs\nc[[:space:]]d filter=lfs\n{x,y} filter=lfs",
            &["a b.bin", "c d", "{x,y}"],
            &["x", "y"],
        );
    }
}
