//! How the client behaves, and what it takes from the environment.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::error::without_user;
use super::{Error, Network, Proxies, Secret};

/// The public Hub.
pub(super) const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

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
    /// How hosts are reached. Default: directly, whatever the environment says of proxies.
    pub network: Network,
    /// Whether several ranges of a xorb that have one URL are asked for at once, where the CAS names them so. Default: no,
    /// as in the deployed client: not every server gives them.
    pub multi_range: bool,
    /// How long it waits.
    pub deadlines: Deadlines,
    /// How often it tries.
    pub retry: RetryPolicy,
    /// Is told before every wait between attempts. Default: nobody.
    pub on_retry: Option<RetryObserver>,
}

impl Config {
    /// Asks the Hub at `endpoint` anonymously.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if that is not an `http` or `https` URL.
    pub fn new(endpoint: &str) -> Result<Self, Error> {
        let error = |reason: String| Error::Endpoint { endpoint: without_user(endpoint), reason };
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
            network: Network::default(),
            multi_range: false,
            deadlines: Deadlines::default(),
            retry: RetryPolicy::default(),
            on_retry: None,
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
    /// For the head of an answer, a new connection included. Default 30 s: the Hub lists large trees slowly.
    pub answer: Duration,
    /// For a body that makes no progress. Default 15 s.
    ///
    /// Progress is 1,024 bytes, and in bodies of data of more than 1 MiB at least what 1,100 B/s bring in this time
    /// (16 KB by default), so a source that trickles is given up too. The price: over a link so slow that a
    /// fetch gets less than 1,100 B/s, which is 9 KB/s when eight run at once, no large file arrives.
    pub stall: Duration,
    /// For the whole body of a metadata answer. Default 120 s.
    pub metadata_body: Duration,
    /// For the server to take the next piece of an upload and, after the last one, to check everything and
    /// answer. Default 300 s: it is silent while it checks, and what the system has buffered (up to 4 MiB)
    /// leaves a slow uplink in that time.
    pub upload_answer: Duration,
}

/// Bytes that any body must bring within [`Deadlines::stall`] to count as alive: about 70 B/s by default,
/// below any link worth having.
pub(super) const PROGRESS_BYTES_MIN: u64 = 1024;
/// Pace below which a long body counts as stalled, bytes per second: 64 MiB, the largest entry, take 17 hours
/// then.
pub(super) const TRICKLE_BYTES_PER_SECOND_MIN: u64 = 1_100;

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
    /// Longest wait that the server may ask for, with `Retry-After` or `RateLimit`; a longer one fails at once and
    /// says so. Default 300 s: the Hub's rate limits count in windows of five minutes. The wait is up to a tenth
    /// longer than asked, so that many clients do not return at once.
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

/// Who is told before every wait between attempts: a request that is about to be made again, or is waiting
/// out a rate limit, looks like a standstill otherwise. It must return at once; the request waits for it.
#[derive(Clone)]
pub struct RetryObserver(Arc<dyn Fn(&RetryNotice) + Send + Sync>);

impl RetryObserver {
    /// Tells this function.
    pub fn new(tell: impl Fn(&RetryNotice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(super) fn tell(&self, notice: &RetryNotice) {
        (self.0)(notice);
    }
}

impl fmt::Debug for RetryObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryObserver")
    }
}

/// An attempt has failed, and another one will be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryNotice {
    /// What is asked for: "listing of org/model".
    pub what: String,
    /// Why the attempt failed. Begins with `what`.
    pub error: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// How long it will be until the next one.
    pub wait: Duration,
    /// How long the server asked to wait, with `Retry-After` or `RateLimit`.
    pub asked: Option<Duration>,
}

/// What the environment says, read once, by the rules of `huggingface_hub`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// `HF_ENDPOINT`, or the public Hub.
    pub endpoint: String,
    /// `HF_TOKEN`, else `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH` or `$HF_HOME/token`. None of
    /// them if `HF_HUB_DISABLE_IMPLICIT_TOKEN` is true: the user wants to name the token each time.
    pub token: Option<Secret>,
    /// `HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`.
    pub home: PathBuf,
    /// `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` under the home.
    pub hub_cache: PathBuf,
    /// `HF_XET_CACHE`, else `xet` under the home.
    pub xet_cache: PathBuf,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is true.
    pub offline: bool,
    /// `HF_HUB_DISABLE_PROGRESS_BARS` is true.
    pub progress_bars_disabled: bool,
    /// `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`; in lower case they win.
    pub proxies: Proxies,
    /// PEM file with authorities to trust besides the system's: `REQUESTS_CA_BUNDLE`, else `CURL_CA_BUNDLE`.
    /// (`SSL_CERT_FILE` and `SSL_CERT_DIR` say where the system's are: see [`Network::system_certificates`].)
    pub ca_bundle: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's environment. Empty variables count as unset. Paths need not be UTF-8; in an
    /// endpoint or token that is not, what is none is replaced, so that it fails and not the default is used.
    pub fn read() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// The same rules over any source of variables.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let var_os = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let var = |name: &str| var_os(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| var_os(name).map(|value| expand_home(&value, var_os("HOME")));
        let truthy =
            |name: &str| var(name).is_some_and(|v| matches!(v.to_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"));
        let user_home = var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
        let home = path("HF_HOME")
            .unwrap_or_else(|| path("XDG_CACHE_HOME").unwrap_or_else(|| user_home.join(".cache")).join("huggingface"));
        let token_path = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = var("HF_TOKEN")
            .or_else(|| var("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| std::fs::read_to_string(token_path).ok())
            .filter(|_| !truthy("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
            .and_then(|text| Secret::new(&text));
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
            token,
            hub_cache: path("HF_HUB_CACHE")
                .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| home.join("hub")),
            xet_cache: path("HF_XET_CACHE").unwrap_or_else(|| home.join("xet")),
            home,
            offline: truthy("HF_HUB_OFFLINE") || truthy("TRANSFORMERS_OFFLINE"),
            progress_bars_disabled: truthy("HF_HUB_DISABLE_PROGRESS_BARS"),
            proxies: proxies(&var),
            ca_bundle: path("REQUESTS_CA_BUNDLE").or_else(|| path("CURL_CA_BUNDLE")),
        }
    }
}

fn proxies(var: &impl Fn(&str) -> Option<String>) -> Proxies {
    let proxy = |name: &str| var(&name.to_lowercase()).or_else(|| var(name)).and_then(|text| Secret::new(&text));
    // Whoever calls a CGI program sets `HTTP_PROXY` by sending a header `Proxy`.
    let http = if var("REQUEST_METHOD").is_some() {
        var("http_proxy").and_then(|text| Secret::new(&text))
    } else {
        proxy("HTTP_PROXY")
    };
    let all = proxy("ALL_PROXY");
    Proxies {
        http: http.or_else(|| all.clone()),
        https: proxy("HTTPS_PROXY").or(all),
        except: var("no_proxy").or_else(|| var("NO_PROXY")).unwrap_or_default(),
    }
}

fn expand_home(path: &OsStr, home: Option<OsString>) -> PathBuf {
    let path = Path::new(path);
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => PathBuf::from(home),
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{Config, Environment};

    fn environment(vars: &[(&str, &str)]) -> Environment {
        let vars: Vec<_> = vars.iter().map(|(name, value)| (*name, OsStr::new(*value))).collect();
        environment_os(&vars)
    }

    fn environment_os(vars: &[(&str, &OsStr)]) -> Environment {
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

    #[test]
    fn given_an_endpoint_with_a_password_when_refused_then_it_is_not_printed() {
        for endpoint in ["http://me:hidden@host", "http://me:hid/den@host:x", "me:hid://den@host", "ftp://hidden@h"] {
            let error = Config::new(endpoint).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hid") && !said.contains("den"), "{said}");
            assert!(said.contains("@h"), "{said}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn given_paths_that_are_not_utf_8_when_read_then_they_count() {
        use std::os::unix::ffi::OsStrExt as _;
        let odd = |text: &'static [u8]| OsStr::from_bytes(text);

        let read = environment_os(&[("HF_HOME", odd(b"/\xff/home")), ("HF_HUB_CACHE", odd(b"~/\xfe"))]);
        let expanded = environment_os(&[("HF_HUB_CACHE", odd(b"~/\xfe")), ("HOME", odd(b"/\xfd"))]);
        let endpoint = environment_os(&[("HF_ENDPOINT", odd(b"http://h\xff/"))]).endpoint;

        assert_eq!(odd(b"/\xff/home"), read.home);
        assert_eq!(odd(b"~/\xfe"), read.hub_cache);
        assert_eq!(odd(b"/\xfd/\xfe"), expanded.hub_cache);
        assert_ne!(super::DEFAULT_ENDPOINT, endpoint);
    }

    #[test]
    fn given_proxies_when_read_then_lower_case_wins_and_all_stands_in() {
        let read = |vars: &[(&str, &str)]| environment(vars).proxies;
        let shown = |proxy: Option<super::Secret>| proxy.map(|proxy| proxy.expose().to_owned());

        let some = read(&[("HTTP_PROXY", "http://a"), ("http_proxy", "http://b"), ("ALL_PROXY", "socks5://c")]);
        assert_eq!((Some("http://b".into()), Some("socks5://c".into())), (shown(some.http), shown(some.https)));
        let except = read(&[("NO_PROXY", "x"), ("no_proxy", "y")]).except;
        assert_eq!("y", except);
        let cgi = read(&[("HTTP_PROXY", "http://evil"), ("REQUEST_METHOD", "GET")]);
        assert!(cgi.http.is_none() && read(&[]) == super::Proxies::default());
        assert!(!format!("{:?}", read(&[("HTTPS_PROXY", "http://me:hidden@a")])).contains("hidden"));
    }

    #[test]
    fn given_a_bundle_of_authorities_when_read_then_named() {
        let bundle = |vars: &[(&str, &str)]| environment(vars).ca_bundle;

        assert_eq!(Some("/r".into()), bundle(&[("REQUESTS_CA_BUNDLE", "/r"), ("CURL_CA_BUNDLE", "/c")]));
        assert_eq!(Some("/h/c".into()), bundle(&[("CURL_CA_BUNDLE", "~/c"), ("HOME", "/h")]));
        assert_eq!(None, bundle(&[]));
    }

    #[test]
    fn given_implicit_tokens_are_disabled_when_read_then_none() {
        let token = |disabled| environment(&[("HF_TOKEN", "t"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", disabled)]).token;

        assert!(token("1").is_none() && token("true").is_none());
        assert!(token("0").is_some() && token("").is_some());
    }
}
