//! Why an origin does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an origin does not start. Once it runs, errors are answers to clients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder cannot be read or written.
    #[error("cannot use {path} as the origin's data: {source}")]
    Data {
        /// The folder or a file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder holds something else.
    #[error("{path} is neither empty nor the data of an origin; choose another folder")]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The data folder was written by another version.
    #[error("{path} has format {found}, this version reads {supported}; use the version that wrote it")]
    Format {
        /// The folder.
        path: PathBuf,
        /// What it says about itself.
        found: String,
        /// What is understood.
        supported: u32,
    },
    /// Another origin uses the data folder.
    #[error("{path} is in use by another origin; stop that one or choose another folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// No Hub can be mirrored with these settings.
    #[error("cannot be a mirror: {reason}")]
    Mirror {
        /// Why.
        reason: String,
    },
    /// The bucket cannot be used.
    #[cfg(feature = "s3")]
    #[error("cannot use the bucket {name}: {reason}")]
    Bucket {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The public URL is no base of URLs.
    #[error("the public URL `{url}` is none; it looks like https://hub.example")]
    PublicUrl {
        /// What was configured.
        url: String,
    },
    /// A setting makes no sense.
    #[error("{setting} is {value}, it must be at least 1")]
    Setting {
        /// Name of the field in the configuration.
        setting: &'static str,
        /// Its value.
        value: u64,
    },
}
