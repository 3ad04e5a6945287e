//! Names and values as a query or the body of a form has them. A name may come several times.

use percent_encoding::percent_decode_str;

use super::Refusal;

/// Pairs of one request. Clients ask for 500 paths at a time.
const PAIRS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Takes apart `a=b&c=d`. Lists of one name are also written with `[]` behind it, which is no part of the name.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PAIRS_MAX {
                return Err(Refusal::bad_request(format!("a request has at most {PAIRS_MAX} parameters")));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            pairs.push((name.strip_suffix("[]").map(str::to_owned).unwrap_or(name), decode(value)?));
        }
        Ok(Self(pairs))
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Whether something is asked for: clients say it in their languages' ways.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| matches!(value, "1" | "true" | "True"))
    }

    /// A number, if there is one.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Refusal> {
        let parsed = self.first(name).map(|value| value.parse()).transpose();
        parsed.map_err(|_| Refusal::bad_request(format!("`{name}` is a number")))
    }
}

fn decode(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| Refusal::bad_request("a parameter is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_pairs_when_parsed_then_decoded_and_kept_in_order() {
        let pairs = Pairs::parse("paths=a%2Fb&paths=c+d&&expand=False&limit=5&expand%5B%5D=x&bare").unwrap();

        assert_eq!(vec!["a/b", "c d"], pairs.all("paths").collect::<Vec<_>>());
        assert_eq!(vec!["False", "x"], pairs.all("expand").collect::<Vec<_>>());
        assert!(!pairs.is_set("expand"));
        assert_eq!((Some(5), None), (pairs.number("limit").unwrap(), pairs.number("none").unwrap()));
        assert_eq!(Some(""), pairs.first("bare"));
    }

    #[test]
    fn given_bad_pairs_when_parsed_then_refused() {
        assert_eq!("BadRequest", Pairs::parse("a=%ff").unwrap_err().code);
        assert_eq!("BadRequest", Pairs::parse(&"a&".repeat(PAIRS_MAX + 1)).unwrap_err().code);
        assert_eq!("BadRequest", Pairs::parse("limit=-1").unwrap().number("limit").unwrap_err().code);
    }
}
