//! How far public content may travel: that of well-known Hubs anywhere, that of any other endpoint only on
//! the local network, because public there means readable there.

use std::net::{IpAddr, Ipv6Addr};

/// Hubs whose public content is public for everybody.
const WELL_KNOWN_AUTHORITIES: [&str; 1] = ["huggingface.co"];

/// Where public content of an endpoint may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Anywhere.
    Wan,
    /// To addresses of the local network, and to peers that were named.
    Site,
}

impl Scope {
    /// By the endpoint's authority. Only HTTPS shows that a well-known name is who it says.
    pub(crate) fn of(endpoint: &str) -> Self {
        match endpoint.strip_prefix("https://") {
            Some(authority) if WELL_KNOWN_AUTHORITIES.contains(&authority.trim_end_matches('/')) => Self::Wan,
            _ => Self::Site,
        }
    }

    /// Whether content may be served to this address.
    pub(crate) fn allows(self, address: IpAddr) -> bool {
        self == Self::Wan || is_local(address)
    }
}

/// Whether an address is of this machine or its local network (RFC 1918, 3927, 4193, 4291).
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_local(IpAddr::V4(v4)),
            None => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn given_an_endpoint_when_judged_then_only_the_well_known_one_over_https_is_wan() {
        assert_eq!(Scope::Wan, Scope::of("https://huggingface.co"));
        for endpoint in
            ["http://huggingface.co", "https://huggingface.co.evil.example", "http://127.0.0.1:80", "https://hub.lab"]
        {
            assert_eq!(Scope::Site, Scope::of(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn given_an_address_when_judged_then_local_ones_get_site_content() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("192.168.1.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("::ffff:10.0.0.1", true),
            ("8.8.8.8", false),
            ("2001:db8::1", false),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(expected, Scope::Site.allows(address.parse().unwrap()), "{address}");
            assert!(Scope::Wan.allows(address.parse().unwrap()));
        }
    }
}
