//! How hosts are reached: directly or through proxies, and whose certificates count.

use reqwest::{NoProxy, Proxy};
use url::Url;

use super::error::without_user;
use super::{CaCertificates, Error, Secret};

/// What a proxy may speak.
const PROXY_SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// How hosts are reached. Start from `default()` and assign.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Network {
    /// Through which proxies. Default: none.
    pub proxies: Proxies,
    /// Authorities that are trusted besides the system's. Default: none.
    pub ca_certificates: CaCertificates,
    /// Whether the system's authorities are trusted. Default: yes.
    ///
    /// On Linux they are looked for, when a client is made, where OpenSSL looks for them: that is where the
    /// environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` say, if they are set.
    pub system_certificates: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { proxies: Proxies::default(), ca_certificates: CaCertificates::default(), system_certificates: true }
    }
}

/// Proxies, as URLs with the scheme `http`, `https`, `socks4`, `socks4a` (the proxy resolves names), `socks5` or
/// `socks5h` (likewise); without a scheme `http` is meant. A user and a password in the URL are for the proxy.
///
/// To a proxy goes what is for the proxy alone; what is for an `https` host passes it encrypted. Whatever is asked of an
/// `http` host it can read, the token included, as everybody between can.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<Secret>,
    /// For `https` URLs.
    pub https: Option<Secret>,
    /// Hosts that are reached directly: names, with all names that end in them (`corp.example`, and the same with `.`
    /// or `*.` before it), addresses and networks (`10.0.0.0/8`), with commas between; `*`: all. A port behind one is
    /// passed over.
    pub except: String,
}

impl Proxies {
    /// One for everything.
    pub fn all(url: &str) -> Self {
        let proxy = Secret::new(url);
        Self { http: proxy.clone(), https: proxy, except: String::new() }
    }

    pub(super) fn build(&self) -> Result<Vec<Proxy>, Error> {
        let except = self.except.split(',').map(matched).collect::<Vec<_>>().join(",");
        let build = |proxy: &Option<Secret>, make: fn(Url) -> reqwest::Result<Proxy>| {
            let Some(proxy) = proxy else { return Ok(None) };
            let made = make(parse(proxy)?).map_err(|_| unusable(proxy, "it is no URL of a proxy"))?;
            Ok(Some(made.no_proxy(NoProxy::from_string(&except))))
        };
        // The HTTP library would let addresses through the proxy all the same.
        if self.except.split(',').any(|host| host.trim() == "*") {
            return Ok(Vec::new());
        }
        let proxies = [build(&self.http, Proxy::http)?, build(&self.https, Proxy::https)?];
        Ok(proxies.into_iter().flatten().collect())
    }
}

/// What is excepted, as the HTTP library matches it: it knows neither `*.corp.example` nor `localhost:8080`.
fn matched(host: &str) -> &str {
    let host = host.trim();
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
    match host.split_once(':') {
        // More colons are an IPv6 address.
        Some((name, port)) if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

fn parse(proxy: &Secret) -> Result<Url, Error> {
    let text = proxy.expose();
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    let url = url.map_err(|error| unusable(proxy, &error.to_string()))?;
    if !PROXY_SCHEMES.contains(&url.scheme()) || !url.has_host() {
        return Err(unusable(proxy, &format!("it must be one of {}://host:port", PROXY_SCHEMES.join("://, "))));
    }
    Ok(url)
}

fn unusable(proxy: &Secret, reason: &str) -> Error {
    Error::Proxy { proxy: without_user(proxy.expose()), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Proxies, matched};

    #[test]
    fn given_a_proxy_in_any_form_when_built_then_taken_or_refused_without_its_password() {
        for url in ["http://h:1", "h:1", "me:pw@h:1", "https://h", "socks5://h:1", "socks5h://u:p@h", "socks4a://h"] {
            assert_eq!(2, Proxies::all(url).build().map(|proxies| proxies.len()).unwrap(), "{url}");
        }
        for url in ["ftp://me:hidden@h:1", "socks6://h", "http://", "http://me:hidden@h:x"] {
            let error = Proxies::all(url).build().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
        assert!(Proxies::default().build().unwrap().is_empty());
    }

    #[test]
    fn given_hosts_in_forms_that_others_know_when_excepted_then_matched_by_their_names() {
        for (host, expected) in [
            ("*.corp.example", ".corp.example"),
            (" localhost:8080 ", "localhost"),
            ("*.corp.example:80", ".corp.example"),
            (".corp.example", ".corp.example"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1"),
            ("fe80::1:8080", "fe80::1:8080"),
            ("*example", "*example"),
            ("host:", "host:"),
        ] {
            assert_eq!(expected, matched(host), "{host}");
        }
    }
}
