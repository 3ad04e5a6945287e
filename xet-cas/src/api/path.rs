//! Paths of files in a repository: they become paths on disk, on any system.

/// Longest path, bytes: what Linux takes.
const PATH_BYTES_MAX: usize = 4_000;
/// Longest component of a path, bytes: what common file systems take.
const COMPONENT_BYTES_MAX: usize = 255;

/// Checks that a path stays inside its folder on any common system, or says what is wrong with it.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let shown = || path.escape_debug().take(200).collect::<String>();
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
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_path;

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
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn given_an_odd_but_harmless_path_when_checked_then_taken() {
        for path in ["a", "..a/b..", "a b/ü – 模型.txt", "~", ".gitattributes", "a:b"] {
            assert_eq!(Ok(()), check_path(path), "{path:?}");
        }
    }
}
