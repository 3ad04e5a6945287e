//! A bucket of an S3-compatible store, as a place for an origin's bytes.

use std::fmt;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::{BackoffConfig, RetryConfig};

use super::Error;
use crate::client::{Network, client_builder};

/// How long the store may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the store may be silent.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// How often a request is made again.
const RETRIES: usize = 4;
/// How long a request may be tried. Clients wait for this, and give up after 300 s.
const RETRY_DEADLINE: Duration = Duration::from_secs(60);

/// Where an origin keeps its bytes instead of its folder. Secrets are not printed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Bucket {
    /// Name of the bucket.
    pub name: String,
    /// Before the name of every object. Default: none.
    pub prefix: String,
    /// URL of the store, if it is not Amazon's. `http:` is taken as it is.
    pub endpoint: Option<String>,
    /// Default: `us-east-1`, which other stores take for what they are.
    pub region: String,
    /// Names who asks.
    pub access_key_id: String,
    /// Shows that it is them.
    pub secret_access_key: String,
    /// Proxies and authorities on the way.
    pub network: Network,
}

impl Bucket {
    /// A bucket in the region `us-east-1`.
    pub fn new(
        name: impl Into<String>,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            prefix: String::new(),
            endpoint: None,
            region: "us-east-1".into(),
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            network: Network::default(),
        }
    }

    pub(super) fn open(&self) -> Result<AmazonS3, Error> {
        let unusable = |reason: String| Error::Bucket { name: self.name.clone(), reason };
        let client = client_builder(&self.network)
            .map_err(|error| unusable(error.to_string()))?
            .connect_timeout(CONNECT_DEADLINE)
            .read_timeout(READ_DEADLINE)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_DEADLINE };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.name)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(&self.secret_access_key)
            .with_retry(retry)
            .with_http_connector(Connector(client));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http:"));
        }
        builder.build().map_err(|error| unusable(error.to_string()))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The one client, made like the others here.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
