//! What happens to files underneath: deleted, cut, edited, replaced.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use testkit::Dice;

use crate::origin::files_below;

/// Folders that may go as a whole.
const FOLDERS: [&str; 6] =
    ["hf/hub", "hf/hub/MODEL/blobs", "hf/hub/MODEL/snapshots", "hf/hub/MODEL/trees", "hf/hub/MODEL/refs", "zest"];

/// Does one thing to the files of a home, and says what. Nothing where there are none.
pub(crate) fn damage(dice: &mut Dice, home: &Path, model: &str, touched: &mut HashSet<PathBuf>) -> String {
    if dice.percent(15) {
        let folder = dice.pick(&FOLDERS).replace("MODEL", model);
        let gone = std::fs::remove_dir_all(home.join(&folder)).is_ok();
        return format!("deletes {folder}: {gone}");
    }
    let Some(path) = draw_file(dice, home) else { return "finds no file to damage".into() };
    let name = path.strip_prefix(home).unwrap_or(&path).display().to_string();
    let is_link = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
    if is_link || dice.percent(35) {
        let gone = std::fs::remove_file(&path).is_ok();
        return format!("deletes {name}: {gone}");
    }
    let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let at = dice.below(length.max(1));
    touched.insert(path.clone());
    let (what, done) = match dice.below(4) {
        0 => ("cuts", truncate(&path, at)),
        1 => ("lengthens", truncate(&path, length + at + 1)),
        2 => ("edits", edit(&path, at)),
        _ => ("replaces", replace(&path, length)),
    };
    format!("{what} {name} of {length} bytes at {at}: {}", done.is_ok())
}

/// Deletes a file or a folder while a pull is at work. Not edited: what a pull has verified and not yet put in place
/// is its own.
pub(crate) fn take_away(dice: &mut Dice, home: &Path, model: &str) -> String {
    if dice.percent(30) {
        let folder = dice.pick(&FOLDERS).replace("MODEL", model);
        let gone = std::fs::remove_dir_all(home.join(&folder)).is_ok();
        return format!("deletes {folder} meanwhile: {gone}");
    }
    let Some(path) = draw_file(dice, home) else { return "finds no file to delete meanwhile".into() };
    let gone = std::fs::remove_file(&path).is_ok();
    format!("deletes {} meanwhile: {gone}", path.strip_prefix(home).unwrap_or(&path).display())
}

fn draw_file(dice: &mut Dice, home: &Path) -> Option<PathBuf> {
    let files = files_below(home);
    // What a killed pull leaves is rare among the rest, and matters most.
    let is_partial = |path: &&PathBuf| path.to_string_lossy().contains(".zest");
    let partials: Vec<&PathBuf> = files.iter().filter(is_partial).collect();
    let among: Vec<&PathBuf> = if !partials.is_empty() && dice.percent(50) { partials } else { files.iter().collect() };
    (!among.is_empty()).then(|| home.join(dice.pick(&among)))
}

fn truncate(path: &Path, length: u64) -> std::io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(length)
}

fn edit(path: &Path, at: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 0x20], at)
}

fn replace(path: &Path, length: u64) -> std::io::Result<()> {
    let other = path.with_extension("replacement");
    std::fs::write(&other, vec![0x5a; length as usize])?;
    std::fs::rename(other, path)
}
