//! That `docs/deadlines.md` is what the source says: every value, every duration, every test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lab::files_below;

/// Crates that wait for anything.
const CRATES: [&str; 5] = ["bep-xet", "bt-wire", "swarm", "xet-cas", "zest-cli"];

/// A row of a table.
struct Row {
    name: String,
    value: String,
    file: String,
    /// Of the tables of waits.
    test: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("docs/deadlines.md")).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    let lines = text.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| match &cells(line)[..] {
        [_, name, value, file, _, _, rest @ .., _] => {
            Row { name: name.clone(), value: value.clone(), file: file.clone(), test: rest.first().cloned() }
        }
        other => panic!("not a row: {other:?}"),
    };
    lines.map(row).collect()
}

/// What the source sets: constants and defaults of fields, as (name, value), where the value is a duration or a
/// number.
fn set_in(source: &str) -> BTreeMap<String, String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let statements = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let mut set = BTreeMap::new();
    for line in statements {
        let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        let constant = line.strip_prefix("const ").and_then(|rest| {
            let (name, rest) = rest.split_once(':')?;
            Some((name, rest.split_once('=')?.1))
        });
        // `Self { peers_max: 100, deadline: Duration::from_secs(10) }`, or a line of its own.
        let fields = line.split(['{', ',']).filter_map(|field| field.split_once(": Duration::from"));
        let fields = fields.map(|(name, rest)| (name.trim(), format!("Duration::from{rest}")));
        let found = constant.map(|(name, value)| (name, value.to_owned())).into_iter().chain(fields);
        set.extend(found.map(|(name, value)| (name.to_owned(), value.trim_matches([' ', ';', '}', ',']).to_owned())));
    }
    set
}

/// `Duration::from_secs(6 * 3_600)`.
fn duration(expression: &str) -> Option<Duration> {
    let (unit, factors) = expression.strip_prefix("Duration::from_")?.split_once('(')?;
    let factors = factors.split(')').next()?.replace('_', "");
    let number = factors.split('*').map(|factor| factor.trim().parse::<u64>()).product::<Result<u64, _>>().ok()?;
    match unit {
        "secs" => Some(Duration::from_secs(number)),
        "millis" => Some(Duration::from_millis(number)),
        _ => None,
    }
}

/// `10 s`, `200 ms`, `6 h`, `7 d`.
fn documented(value: &str) -> Option<Duration> {
    let (number, unit) = value.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "h" => Duration::from_secs(number * 3_600),
        "d" => Duration::from_secs(number * 24 * 3_600),
        _ => return None,
    })
}

#[test]
fn given_the_table_of_deadlines_when_compared_with_the_source_then_every_value_is_the_same() {
    for Row { name, value, file, .. } in rows() {
        let source = std::fs::read_to_string(root().join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let expression = set_in(&source).remove(&name).unwrap_or_else(|| panic!("{file} sets no {name}"));
        match documented(&value) {
            Some(documented) => assert_eq!(Some(documented), duration(&expression), "{name} in {file}: {expression}"),
            None => assert_eq!(value.split(' ').next().unwrap(), expression, "{name} in {file}"),
        }
    }
}

#[test]
fn given_a_duration_in_the_source_when_looked_up_then_it_is_in_the_table() {
    let rows = rows();
    let is_documented = |file: &str, name: &str| rows.iter().any(|row| row.file == file && row.name == name);
    for folder in CRATES {
        let sources = root().join(folder).join("src");
        for path in files_below(&sources) {
            let file = Path::new(folder).join("src").join(&path).display().to_string();
            let is_test = path.with_extension("").iter().any(|part| part == "tests");
            // `YEARS` bounds a sum of times, and is no wait.
            let source = std::fs::read_to_string(sources.join(&path)).unwrap();
            for (name, expression) in set_in(&source) {
                let is_wait = duration(&expression).is_some() || name.contains("_TICKS");
                assert!(
                    is_test || !is_wait || name == "YEARS" || is_documented(&file, &name),
                    "docs/deadlines.md has no `{name}` of {file}: {expression}"
                );
            }
        }
    }
}

#[test]
fn given_a_wait_in_the_table_when_its_test_is_looked_up_then_it_exists() {
    let root = root();
    let mut sources = String::new();
    for folder in CRATES {
        for below in ["src", "tests"] {
            let folder = root.join(folder).join(below);
            let rust = files_below(&folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
            rust.for_each(|path| sources.push_str(&std::fs::read_to_string(folder.join(path)).unwrap()));
        }
    }
    let mut provoked = 0;
    for Row { name, test, .. } in rows() {
        let Some(test) = test else { continue };
        if let Some(reason) = test.strip_prefix("none: ") {
            assert!(!reason.is_empty(), "{name}: why is there no test?");
            continue;
        }
        assert!(sources.contains(&format!("fn {test}(")), "{name}: there is no test {test}");
        provoked += 1;
    }
    assert!(provoked > 30, "only {provoked} waits have a test");
}
