//! From where somebody comes: their own address, behind proxies that are trusted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use domain::network::Network;
use poem::http::HeaderMap;
use poem::http::header::HeaderName;
use poem::{FromRequest, Request, RequestBody, Result};

use crate::problem::{Code, Problem};
use crate::rules::Rules;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Proxies that a request may have come through. Of one that says it came through more, the peer is
/// the client.
const HOPS_MAX: usize = 64;

/// From where a request comes. The door puts it into the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(pub IpAddr);

/// Returns the client's address in canonical form: the peer's, or, when the peer is a trusted proxy,
/// the one that `X-Forwarded-For` names, read from the right past trusted proxies.
///
/// Each proxy adds to the right from whom it was asked, so what is read was said by one that is
/// trusted; what stands further left was not, and is not looked at.
pub fn client(peer: IpAddr, headers: &HeaderMap, rules: &Rules) -> IpAddr {
    let peer = peer.to_canonical();
    if !rules.trusts(peer) {
        return peer;
    }
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer;
    for (place, hop) in hops.enumerate() {
        // What cannot be read may stand for anybody: only the peer is certain then.
        let Some(address) = read(hop).filter(|_| place < HOPS_MAX) else { return peer };
        client = address;
        if !rules.trusts(client) {
            break;
        }
    }
    client
}

/// Returns what an address is counted as: a client of IPv6 has a whole /64 to itself, so that is one.
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Rules {
    /// Whether one may come from there.
    pub fn admits(&self, address: IpAddr) -> bool {
        let stands_in = |networks: &[Network]| holds(networks, address);
        !stands_in(&self.deny) && (self.allow.is_empty() || stands_in(&self.allow))
    }

    /// Whether what is said from there of others is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        holds(&self.trusted_proxies, address)
    }
}

fn holds(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// Reads an address as proxies write it: `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]`, and the first
/// and the last with a port.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let bare = || text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    // A zone is of the proxy's own house: it says nothing here.
    let with_port = || match text.parse::<SocketAddr>().ok()? {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => None,
        address => Some(address.ip()),
    };
    bare().or_else(|| bracketed().map(IpAddr::V6)).or_else(with_port).map(|ip| ip.to_canonical())
}

impl<'a> FromRequest<'a> for Client {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        let none = || Problem::new(Code::Internal, "");
        Ok(*request.data::<Self>().ok_or_else(none)?)
    }
}

#[cfg(test)]
mod tests;
