//! Front matter: what a README says of itself between two lines `---`, a mapping in YAML.
//!
//! Only its shape is checked. What the Hub makes of single values (licenses it knows, tasks, languages) changes with
//! the Hub, and an origin has no use for it.

use saphyr_parser::{Event, Parser};

/// Front matter that is read, bytes. The longest hold the results of hundreds of benchmarks. The parser may keep a hundred
/// bytes for each of them.
const FRONT_MATTER_BYTES_MAX: usize = 512 * 1024;
/// Lists and mappings inside each other. The time that a parser takes may grow with the square of it.
const DEPTH_MAX: usize = 64;
const FENCE: &str = "---";

/// What there is to say of a README's front matter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrontMatter {
    Good,
    /// There is none, or nothing in it.
    Missing,
    /// Why it cannot be taken.
    Bad(String),
}

impl FrontMatter {
    pub(super) fn of(readme: &str) -> Self {
        let Some(text) = between_fences(readme) else { return Self::Missing };
        if text.len() > FRONT_MATTER_BYTES_MAX {
            return Self::Bad(format!("the metadata has more than {FRONT_MATTER_BYTES_MAX} bytes"));
        }
        check(text)
    }
}

/// The text between the first line, if that is a fence, and the next fence.
fn between_fences(readme: &str) -> Option<&str> {
    let readme = readme.trim_start_matches('\u{feff}').trim_start();
    let is_fence = |line: &str| line.trim_end() == FENCE;
    let mut lines = readme.split_inclusive('\n');
    let first = lines.next().filter(|line| is_fence(line))?;
    let mut end = first.len();
    for line in lines {
        if is_fence(line) {
            return readme.get(first.len()..end);
        }
        end += line.len();
    }
    None
}

/// Reads all of it, event by event: nothing is built, so nothing in it can unfold.
fn check(text: &str) -> FrontMatter {
    let (mut root, mut depth) = (None, 0_usize);
    for event in Parser::new_from_str(text) {
        match &event {
            Ok((Event::MappingStart(..) | Event::SequenceStart(..), _)) if depth == DEPTH_MAX => {
                return FrontMatter::Bad(format!("the metadata is nested more than {DEPTH_MAX} levels deep"));
            }
            Ok((Event::MappingStart(..) | Event::SequenceStart(..), _)) => depth += 1,
            Ok((Event::MappingEnd | Event::SequenceEnd, _)) => depth = depth.saturating_sub(1),
            _ => {}
        }
        match event {
            Err(error) => return FrontMatter::Bad(format!("the metadata is no YAML: {error}")),
            Ok((Event::Nothing | Event::StreamStart | Event::DocumentStart(_), _)) => {}
            Ok((event, _)) => {
                root.get_or_insert(match event {
                    Event::MappingStart(..) => FrontMatter::Good,
                    Event::StreamEnd | Event::DocumentEnd => FrontMatter::Missing,
                    Event::Scalar(value, ..) if value.is_empty() || value == "~" || value == "null" => {
                        FrontMatter::Missing
                    }
                    _ => FrontMatter::Bad("the metadata is no mapping of names to values".into()),
                });
            }
        }
    }
    root.unwrap_or(FrontMatter::Missing)
}

#[cfg(test)]
mod tests {
    use super::FrontMatter;

    #[test]
    fn given_front_matter_when_a_mapping_then_good() {
        for readme in [
            "---\nlicense: mit\n---\n# Title\n",
            "\u{feff}\n---\r\nlicense: mit\r\ntags:\r\n- a\r\n---\r\n",
            "---\n{a: 1, b: [2, {c: d}]}\n---",
            "---\na: &x [1]\nb: *x\n---\n---\n- not read\n---\n",
            "---\na: |\n  text: more: [\n---\n",
        ] {
            assert_eq!(FrontMatter::Good, FrontMatter::of(readme), "{readme:?}");
        }
    }

    #[test]
    fn given_no_front_matter_when_read_then_missing() {
        for readme in
            ["", "# Title\n\n---\na: 1\n---\n", "---\na: 1\n", "---\n---\n", "---\n# only\n---\n", "----\na\n---\n"]
        {
            assert_eq!(FrontMatter::Missing, FrontMatter::of(readme), "{readme:?}");
        }
    }

    #[test]
    fn given_front_matter_that_is_no_mapping_when_read_then_bad() {
        let deep = ["[", "{a: ", "- ", "? "].map(|open| format!("---\na:\n  {}\n---\n", open.repeat(500_000)));
        for readme in [
            "---\n- a\n- b\n---\n",
            "---\njust text\n---\n",
            "---\na: [1\n---\n",
            "---\na: b: c\n---\n",
            "---\na: 1\n\tb: 2\n---\n",
            "---\na: *nowhere\n---\n",
            "---\n\"a: 1\n---\n",
        ]
        .into_iter()
        .chain(deep.iter().map(String::as_str))
        {
            assert!(matches!(FrontMatter::of(readme), FrontMatter::Bad(_)), "{:?}", &readme[..readme.len().min(40)]);
        }
    }
}
