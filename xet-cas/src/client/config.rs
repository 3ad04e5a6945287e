//! How the client behaves, and what it takes from the environment.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{Error, Secret};

/// The public Hub.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// How the client behaves. Start from [`Config::new`] and assign.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Base URL of the Hub, without a trailing slash.
    pub endpoint: Url,
    /// Hub token. `None` asks anonymously.
    pub token: Option<Secret>,
    /// What the client calls itself.
    pub user_agent: String,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count. Default: yes.
    pub system_proxies: bool,
    /// How long it waits.
    pub deadlines: Deadlines,
    /// How often it tries.
    pub retry: RetryPolicy,
}

impl Config {
    /// Asks the Hub at `endpoint` anonymously.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if that is not an `http` or `https` URL.
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        let error = |reason: String| Error::Endpoint { endpoint: endpoint.to_owned(), reason };
        let url = Url::parse(endpoint.trim_end_matches('/')).map_err(|parse| error(parse.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(error("it must begin with http:// or https://".into()));
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(error("it must have no user, query or fragment".into()));
        }
        Ok(Self {
            endpoint: url,
            token: None,
            user_agent: concat!("zest/", env!("CARGO_PKG_VERSION")).to_owned(),
            system_proxies: true,
            deadlines: Deadlines::default(),
            retry: RetryPolicy::default(),
        })
    }
}

/// How long the client waits for what. When a deadline passes the attempt is given up and, if the retry
/// policy has attempts left, made again on a new connection.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Deadlines {
    /// For a connection, TLS included. Default 10 s: two lost SYNs and a slow resolver.
    pub connect: Duration,
    /// For the head of an answer after the request was sent. Default 30 s: the Hub lists large trees slowly.
    pub answer: Duration,
    /// For a body that makes no progress; progress is 1,024 bytes, so a source that
    /// trickles is given up too. Default 15 s.
    pub stall: Duration,
    /// For the whole body of a metadata answer. Default 120 s.
    pub metadata_body: Duration,
    /// For the CAS to check an uploaded xorb or shard and answer. Default 300 s: it is silent meanwhile.
    pub upload_answer: Duration,
}

/// Bytes that a body must bring within [`Deadlines::stall`] to count as alive: about 70 B/s by default,
/// below any link worth having.
pub(super) const PROGRESS_BYTES_MIN: u64 = 1024;

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            stall: Duration::from_secs(15),
            metadata_body: Duration::from_secs(120),
            upload_answer: Duration::from_secs(300),
        }
    }
}

/// How often a request is tried: on transport errors, passed deadlines, 408, 429 and 5xx but 501.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all. Default 5.
    pub attempts: u32,
    /// Longest wait before the second attempt; doubles each time. The wait is a random part of it, so
    /// that many clients do not return at once. Default 500 ms.
    pub delay: Duration,
    /// Longest wait between attempts. Default 10 s.
    pub delay_max: Duration,
    /// Longest `Retry-After` that is obeyed; a longer one fails at once and says so. Default 300 s: the
    /// Hub's rate limits count in windows of five minutes.
    pub retry_after_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            delay: Duration::from_millis(500),
            delay_max: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(300),
        }
    }
}

/// What the environment says, read once, by the rules of `huggingface_hub`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// `HF_ENDPOINT`, or the public Hub.
    pub endpoint: String,
    /// `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH` or `$HF_HOME/token`.
    pub token: Option<Secret>,
    /// `HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
    pub home: PathBuf,
    /// `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` under the home.
    pub hub_cache: PathBuf,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is true.
    pub offline: bool,
    /// `HF_HUB_DISABLE_PROGRESS_BARS` is true.
    pub progress_bars_disabled: bool,
}

impl Environment {
    /// Reads the process's environment. Empty variables count as unset.
    pub fn read() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same rules over any source of variables.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name: &str| var(name).map(|value| expand_home(&value, var("HOME")));
        let truthy =
            |name: &str| var(name).is_some_and(|v| matches!(v.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"));
        let user_home = var("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
        let home = path("HF_HOME")
            .unwrap_or_else(|| path("XDG_CACHE_HOME").unwrap_or_else(|| user_home.join(".cache")).join("huggingface"));
        let token_path = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = var("HF_TOKEN")
            .or_else(|| var("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| std::fs::read_to_string(token_path).ok())
            .and_then(|text| Secret::new(&text));
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
            token,
            hub_cache: path("HF_HUB_CACHE")
                .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| home.join("hub")),
            home,
            offline: truthy("HF_HUB_OFFLINE") || truthy("TRANSFORMERS_OFFLINE"),
            progress_bars_disabled: truthy("HF_HUB_DISABLE_PROGRESS_BARS"),
        }
    }
}

fn expand_home(path: &str, home: Option<String>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => PathBuf::from(home),
        (Some(rest), Some(home)) if rest.starts_with('/') => PathBuf::from(home).join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Environment};

    fn environment(vars: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn given_hf_home_when_read_then_cache_and_token_lie_under_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "hf_file\n").unwrap();

        let read = environment(&[("HF_HOME", directory.path().to_str().unwrap())]);

        assert_eq!(directory.path().join("hub"), read.hub_cache);
        assert_eq!("hf_file", read.token.unwrap().expose());
    }

    #[test]
    fn given_more_specific_variables_when_read_then_they_win() {
        let read = environment(&[("HF_HOME", "/a"), ("HF_HUB_CACHE", "~/b"), ("HOME", "/home/u"), ("HF_TOKEN", " t ")]);

        assert_eq!("/home/u/b", read.hub_cache.to_str().unwrap());
        assert_eq!("t", read.token.unwrap().expose());
    }

    #[test]
    fn given_nothing_when_read_then_the_usual_places() {
        let read = environment(&[("HOME", "/home/u"), ("HF_ENDPOINT", "")]);

        assert_eq!("/home/u/.cache/huggingface/hub", read.hub_cache.to_str().unwrap());
        assert_eq!(super::DEFAULT_ENDPOINT, read.endpoint);
        assert!(read.token.is_none());
    }

    #[test]
    fn given_a_token_when_printed_then_redacted() {
        let mut config = Config::new("http://127.0.0.1:1/").unwrap();
        config.token = super::Secret::new("hf_secret");

        assert!(!format!("{config:?}").contains("hf_secret"));
        assert!(Config::new("ftp://host").is_err());
        assert!(Config::new("127.0.0.1:80").is_err());
    }
}
