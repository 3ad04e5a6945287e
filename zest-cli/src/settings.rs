//! What the command line and the environment come to: the one place where both meet.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use xet_cas::client::{self, CaCertificates, Environment, Hub, Network};

use crate::args::HubArgs;
use crate::failure::Failure;

/// The environment, and what follows from it.
pub(crate) struct Settings {
    pub(crate) environment: Environment,
    /// `ZEST_HOME`, else `$XDG_DATA_HOME/zest`, else `~/.local/share/zest`.
    pub(crate) zest_home: PathBuf,
    /// Content in the CAS is kept once for all repositories of the cache. No with `HF_HUB_DISABLE_SHARED_BLOBS` or
    /// `HF_HUB_DISABLE_XET`, as for `huggingface_hub`.
    pub(crate) shared_blobs: bool,
    /// Snapshots link to blobs. No with `HF_HUB_DISABLE_SYMLINKS`.
    pub(crate) symlinks: bool,
}

impl Settings {
    pub(crate) fn read() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let zest_home = path("ZEST_HOME").unwrap_or_else(|| {
            let data = path("XDG_DATA_HOME").or_else(|| path("HOME").map(|home| home.join(".local/share")));
            data.unwrap_or_else(|| PathBuf::from(".")).join("zest")
        });
        let is_set = |name: &str| std::env::var(name).is_ok_and(|value| is_true(&value));
        Self {
            environment: Environment::read(),
            zest_home,
            shared_blobs: !is_set("HF_HUB_DISABLE_SHARED_BLOBS") && !is_set("HF_HUB_DISABLE_XET"),
            symlinks: !is_set("HF_HUB_DISABLE_SYMLINKS"),
        }
    }

    /// Settings of the client, before what a command's own flags change.
    pub(crate) fn client(&self, args: &HubArgs) -> Result<client::Config, Failure> {
        let endpoint = args.endpoint.as_ref().unwrap_or(&self.environment.endpoint);
        let mut config = client::Config::new(endpoint)?;
        config.token = self.environment.token.clone();
        config.network = self.network()?;
        Ok(config)
    }

    /// How hosts are reached, as the environment says.
    pub(crate) fn network(&self) -> Result<Network, Failure> {
        let mut network = Network::default();
        network.proxies = self.environment.proxies.clone();
        if let Some(path) = &self.environment.ca_bundle {
            let unusable = |cause: &dyn Display| {
                let cause = format!("cannot use the certificates in {}: {cause}", path.display());
                Failure::usage(cause)
                    .hint("REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE name a PEM file; unset them if there is none")
            };
            let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
            network.ca_certificates = CaCertificates::from_pem(&pem).map_err(|error| unusable(&error))?;
        }
        Ok(network)
    }

    pub(crate) fn hub(&self, args: &HubArgs) -> Result<Hub, Failure> {
        Ok(Hub::new(&self.client(args)?)?)
    }
}

/// As `huggingface_hub` reads a switch.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Longest wait that can be asked for: whoever waits longer for one source waits for nothing.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Seconds to wait, as they are given on the command line.
pub(crate) fn seconds(flag: &str, value: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(value).ok().filter(|wait| !wait.is_zero() && *wait <= WAIT_MAX).ok_or_else(|| {
        let most = WAIT_MAX.as_secs();
        Failure::usage(format!("{flag} takes a number of seconds above 0, {most} at most, not {value}"))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::seconds;

    #[test]
    fn given_seconds_that_nobody_waits_when_read_then_a_usage_error() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, 3_600.1, 1e19, 1e-12] {
            assert!(seconds("--wait", value).is_err(), "{value}");
        }
        assert_eq!(Duration::from_millis(1_500), seconds("--wait", 1.5).unwrap());
        assert_eq!(Duration::from_secs(3_600), seconds("--wait", 3_600.0).unwrap());
    }
}
