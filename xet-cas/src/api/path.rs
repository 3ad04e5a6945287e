//! Paths of files in a repository: they become paths on disk, on any system.

/// Longest path, bytes: what Linux takes.
const PATH_BYTES_MAX: usize = 4_000;
/// Longest component of a path, bytes: what common file systems take.
const COMPONENT_BYTES_MAX: usize = 255;
/// Folders inside each other at most, the file included.
const COMPONENTS_MAX: usize = 64;
/// How much of a text is shown, characters.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// Checks that a path stays inside its folder on any common system and harms nothing there, or says what
/// is wrong with it. A component `.git` is refused, and whatever lies under `.cache/huggingface`: in a folder
/// of the user's, files of these names are git's configuration and the notes of download tools.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let shown = || shown(path);
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err(format!("a path has {} bytes, allowed are 1 to {PATH_BYTES_MAX}", path.len()));
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Err(format!("`{}` holds a character that no path may hold", shown()));
    }
    for component in path.split('/') {
        if matches!(component, "" | "." | "..") || component.len() > COMPONENT_BYTES_MAX {
            return Err(format!("`{}` leaves the repository or cannot be a path", shown()));
        }
        // Some file systems do not tell these from `.git`.
        if component.trim_end_matches([' ', '.']).eq_ignore_ascii_case(".git") {
            return Err(format!("`{}` would be git's own", shown()));
        }
    }
    if path.split('/').count() > COMPONENTS_MAX {
        return Err(format!("`{}` lies more than {COMPONENTS_MAX} folders deep", shown()));
    }
    let mut components = path.split('/').zip([".cache", "huggingface"]);
    if path.contains('/') && components.all(|(component, reserved)| component.eq_ignore_ascii_case(reserved)) {
        return Err(format!("`{}` is where download tools keep their notes", shown()));
    }
    Ok(())
}

/// A text from elsewhere, as it may stand in a message: without characters that a terminal would obey or
/// that would hide others, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN_CHARACTERS_MAX));
    for c in text.chars().take(SHOWN_CHARACTERS_MAX) {
        match c {
            '\'' | '"' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{check_path, shown};

    #[test]
    fn given_a_path_that_leaves_its_folder_when_checked_then_refused() {
        for path in [
            "",
            "/etc/passwd",
            "a/../../b",
            "..",
            ".",
            "a//b",
            "a/",
            "a\0b",
            "a\\b",
            "a\nb",
            &"x".repeat(256),
            &"x/".repeat(2001),
            &vec!["x"; 65].join("/"),
            ".git",
            "a/.GIT/config",
            ".git./hooks/post-checkout",
            ".cache/huggingface/download/a.metadata",
            ".Cache/HuggingFace",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn given_an_odd_but_harmless_path_when_checked_then_taken() {
        for path in [
            "a",
            "..a/b..",
            "a b/ü – 模型.txt",
            "~",
            ".gitattributes",
            "a:b",
            ".github/workflows/ci.yml",
            ".cache",
            ".cache/other",
            "sub/.cache/huggingface/a",
            &vec!["x"; 64].join("/"),
        ] {
            assert_eq!(Ok(()), check_path(path), "{path:?}");
        }
    }

    #[test]
    fn given_text_that_a_terminal_would_obey_when_shown_then_escaped() {
        assert_eq!("it's \\u{1b}[31m \\u{202e}ü\\n", shown("it's \x1b[31m \u{202e}ü\n"));
        assert_eq!(200, shown(&"x".repeat(1_000)).len());
    }
}
