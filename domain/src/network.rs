//! Addresses on the internet, and networks of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::from_text;

/// A network in CIDR form, `10.0.0.0/8`, or one address of its own.
///
/// Kept in its canonical form: an IPv4 network that is written as an IPv6 one is IPv4, and bits
/// behind the prefix are none. No IPv6 network holds IPv4 addresses: everything is `0.0.0.0/0` and
/// `::/0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(IpNet);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a network: expected CIDR such as 10.0.0.0/8 or 2001:db8::/32, or an address")]
pub struct NotANetwork;

impl Network {
    /// Returns the network of one address alone.
    pub fn of(address: IpAddr) -> Self {
        Self(IpNet::from(address.to_canonical()))
    }

    /// Whether an address is in it, an IPv4 address also when it is written as an IPv6 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().map(Self::of).map_err(|_| NotANetwork);
        };
        // By our own hand: `ipnet` takes 010.0.0.0 for 10.0.0.0, others for 8.0.0.0.
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let network = IpNet::new(address, prefix_length(prefix)?).map_err(|_| NotANetwork)?;
        Ok(Self(canonical(network).trunc()))
    }
}

fn prefix_length(text: &str) -> Result<u8, NotANetwork> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().map_err(|_| NotANetwork) } else { Err(NotANetwork) }
}

/// Returns an IPv4 network that is written as an IPv6 one, `::ffff:10.0.0.0/104`, as what it is.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = |address: Ipv6Addr| address.to_ipv4_mapped();
    let prefix = v6.prefix_len().checked_sub(96);
    let v4 = mapped(v6.addr())
        .zip(prefix)
        .and_then(|(address, prefix): (Ipv4Addr, u8)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

#[cfg(test)]
mod tests;
