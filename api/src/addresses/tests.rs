//! Who the client is, whatever a header says.

use std::net::Ipv4Addr;

use super::*;

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn headers<S: AsRef<[u8]>>(lines: &[S]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(X_FORWARDED_FOR, line.as_ref().try_into().unwrap());
    }
    headers
}

/// Asks behind proxies in `10.0.0.0/8` and `2001:db8:aa::/48`.
fn asked(peer: &str, lines: &[&str]) -> String {
    let trusted_proxies = networks(&["10.0.0.0/8", "2001:db8:aa::/48"]);
    let rules = Rules { trusted_proxies, ..Rules::default() };
    client(peer.parse().unwrap(), &headers(lines), &rules).to_string()
}

#[test]
fn a_stranger_speaks_for_itself_alone() {
    assert_eq!(asked("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    assert_eq!(asked("::ffff:192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    assert_eq!(asked("2001:db8::1", &["198.51.100.7"]), "2001:db8::1");
}

#[test]
fn a_trusted_proxy_says_for_whom_it_asks() {
    for (peer, lines, client) in [
        ("10.0.0.1", vec!["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", vec!["::ffff:198.51.100.7"], "198.51.100.7"),
        ("2001:db8:aa::1", vec!["2001:db8:bb::7"], "2001:db8:bb::7"),
        // What the client says itself stands on the left.
        ("10.0.0.1", vec!["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", vec!["nonsense, 198.51.100.7"], "198.51.100.7"),
        // Through two proxies, in one line and in several.
        ("10.0.0.1", vec!["127.0.0.1,198.51.100.7 ,\t10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", vec!["198.51.100.9, 198.51.100.7", "10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", vec!["198.51.100.9", "198.51.100.7", "10.0.0.2, 10.0.0.3"], "198.51.100.7"),
        // From within: all of them are proxies, and the first one asks.
        ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", vec![], "10.0.0.1"),
        // With ports.
        ("10.0.0.1", vec!["198.51.100.7:4711"], "198.51.100.7"),
        ("10.0.0.1", vec!["[2001:db8:bb::7]:4711"], "2001:db8:bb::7"),
        ("10.0.0.1", vec!["[2001:db8:bb::7]"], "2001:db8:bb::7"),
        ("10.0.0.1", vec!["198.51.100.7, [::ffff:10.0.0.2]:80"], "198.51.100.7"),
    ] {
        assert_eq!(asked(peer, &lines), client, "{peer} {lines:?}");
    }
}

#[test]
fn what_cannot_be_read_is_the_proxys_own_request() {
    for line in [
        "",
        ",",
        "198.51.100.7,",
        "198.51.100.7, ,10.0.0.2",
        "unknown",
        "198.51.100.7 10.0.0.2",
        "198.51.100",
        "198.51.100.256",
        "198.51.100.07",
        "198.51.100.7:",
        "198.51.100.7:65536",
        "2001:db8:bb::7:80]",
        "[198.51.100.7]",
        "[2001:db8:bb::7",
        "[2001:db8:bb::7]x",
        "fe80::1%eth0",
        "[fe80::1%7]:80",
        "\"198.51.100.7\"",
        "for=198.51.100.7",
        "_hidden",
        "198.51.100.7/32",
        "198.51.100.7;10.0.0.2",
        "0x7f.1",
        "3325256711",
    ] {
        assert_eq!(asked("10.0.0.1", &[line]), "10.0.0.1", "{line:?}");
    }
    let rules = Rules { trusted_proxies: networks(&["10.0.0.1"]), ..Rules::default() };
    let latin = headers(&[b"198.51.100.7\xe9".as_slice()]);
    assert_eq!(client([10, 0, 0, 1].into(), &latin, &rules).to_string(), "10.0.0.1");
}

#[test]
fn only_so_many_proxies_are_believed() {
    let chain = |hops: usize| format!("198.51.100.7{}", ", 10.0.0.2".repeat(hops));
    assert_eq!(asked("10.0.0.1", &[&chain(HOPS_MAX - 1)]), "198.51.100.7");
    assert_eq!(asked("10.0.0.1", &[&chain(HOPS_MAX)]), "10.0.0.1");
    assert_eq!(asked("10.0.0.1", &[&chain(100_000)]), "10.0.0.1");
}

#[test]
fn who_is_denied_is_not_let_in_by_being_allowed() {
    let admits = |allow: &[&str], deny: &[&str], address: &str| {
        let rules = Rules { allow: networks(allow), deny: networks(deny), ..Rules::default() };
        rules.admits(address.parse().unwrap())
    };
    assert!(admits(&[], &[], "192.0.2.1"));
    assert!(admits(&["192.0.2.0/24"], &[], "192.0.2.255"));
    assert!(admits(&["192.0.2.0/24"], &[], "::ffff:192.0.2.255"));
    assert!(!admits(&["192.0.2.0/24"], &[], "192.0.3.0"));
    assert!(!admits(&["192.0.2.0/24"], &[], "2001:db8::1"));
    assert!(!admits(&["192.0.2.0/24"], &["192.0.2.7"], "192.0.2.7"));
    assert!(!admits(&["192.0.2.7"], &["192.0.2.0/24"], "192.0.2.7"));
    assert!(!admits(&[], &["::/0"], "2001:db8::1"));
    assert!(admits(&[], &["::/0"], "::ffff:192.0.2.7"), "an IPv4 address is one");
}

/// The same told in another way: numbers of 128 bits, prefixes as masks, and the chain from the left.
mod reference {
    use super::*;

    pub(super) fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(v4) => 0xffff_0000_0000 | u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    /// A network as a number and the bits of it that count.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Masked(pub(super) u128, pub(super) u32);

    impl Masked {
        fn holds(self, number: u128) -> bool {
            let mask = u128::MAX.checked_shl(128 - self.1).unwrap_or(0);
            // A network of IPv6 that is wider than all of IPv4 does not mean it.
            let is_v4 = number >> 32 == 0xffff;
            (self.0 ^ number) & mask == 0 && (!is_v4 || self.1 >= 96)
        }
    }

    pub(super) fn holds(networks: &[Masked], number: u128) -> bool {
        networks.iter().any(|network| network.holds(number))
    }

    /// `chain` is what the lines say, from the left; `None` stands for what cannot be read.
    pub(super) fn client(peer: u128, chain: &[Option<u128>], trusted: &[Masked]) -> u128 {
        if !holds(trusted, peer) {
            return peer;
        }
        let stranger = chain.iter().rposition(|hop| hop.is_none_or(|hop| !holds(trusted, hop)));
        let first = stranger.unwrap_or(0);
        match chain.get(first) {
            Some(Some(hop)) if chain.len() - first <= 64 => *hop,
            _ => peer,
        }
    }
}

/// Chance with a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(u32::try_from(of.len()).unwrap())).unwrap()].clone()
    }

    /// Few networks, and addresses near their edges, so that they meet.
    fn address(&mut self) -> IpAddr {
        let base = self.one(&[
            "10.0.0.0",
            "10.0.1.0",
            "10.127.255.255",
            "10.128.0.0",
            "192.0.2.0",
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "::1",
            "2001:db8::",
            "2001:db8:0:1::",
            "fe80::",
        ]);
        match base.parse().unwrap() {
            IpAddr::V4(v4) => {
                let v4 = Ipv4Addr::from_bits(v4.to_bits() ^ self.flip(32));
                match self.below(3) {
                    0 => v4.to_ipv6_mapped().into(),
                    _ => v4.into(),
                }
            }
            IpAddr::V6(v6) => {
                let flipped = v6.to_bits() ^ u128::from(self.flip(32)) << (32 * self.below(4));
                Ipv6Addr::from_bits(flipped).into()
            }
        }
    }

    /// Returns no bit, or one.
    fn flip(&mut self, bits: u32) -> u32 {
        if self.below(2) == 0 { 0 } else { 1 << self.below(bits) }
    }

    fn network(&mut self) -> (Network, reference::Masked) {
        let address = self.address();
        let (text, bits) = match address {
            IpAddr::V4(_) => {
                let bits = self.one(&[0, 1, 8, 9, 23, 24, 31, 32]);
                (format!("{address}/{bits}"), 96 + bits)
            }
            IpAddr::V6(v6) => {
                let mapped = v6.to_ipv4_mapped().is_some();
                let bits = self.one(if mapped {
                    &[96, 97, 104, 120, 127, 128]
                } else {
                    &[0, 1, 16, 32, 48, 63, 64, 65, 95, 127, 128]
                });
                // The mapped form is what the standard library does not write for us.
                (format!("{v6}/{bits}"), bits)
            }
        };
        (text.parse().unwrap(), reference::Masked(reference::number(address), bits))
    }

    fn networks(&mut self) -> (Vec<Network>, Vec<reference::Masked>) {
        (0..self.below(4)).map(|_| self.network()).unzip()
    }

    /// A hop as a proxy may write it.
    fn hop(&mut self) -> (String, Option<u128>) {
        let address = self.address();
        let known = Some(reference::number(address));
        match (self.below(12), address) {
            (0, _) => (
                self.one(&["", "unknown", "10.0.0", "10.0.0.1:x", "[::1", "::1]", "1 2"])
                    .to_owned(),
                None,
            ),
            (1, IpAddr::V4(_)) => (format!("{address}:80"), known),
            (1, IpAddr::V6(_)) => (format!("[{address}]:80"), known),
            (2, IpAddr::V6(_)) => (format!("[{address}]"), known),
            _ => (address.to_string(), known),
        }
    }
}

#[test]
fn clients_and_rules_are_as_the_arithmetic_of_their_bits_says() {
    const SEED: u64 = 20_240_321;
    let (mut dice, mut named, mut admitted) = (Dice(SEED), 0, 0);
    for case in 0..100_000 {
        let (trusted_proxies, trusted) = dice.networks();
        let (allow, allowed) = dice.networks();
        let (deny, denied) = dice.networks();
        let rules = Rules { allow, deny, trusted_proxies, ..Rules::default() };
        let peer = dice.address();
        let hops = match dice.below(50) {
            0 => 60 + dice.below(10),
            _ => dice.below(6),
        };
        // A long chain is of one address, or it would end early.
        let same = (hops > 6).then(|| dice.hop());
        let chain: Vec<_> = (0..hops).map(|_| same.clone().unwrap_or_else(|| dice.hop())).collect();
        let mut lines: Vec<String> = Vec::new();
        for (text, _) in &chain {
            match lines.last_mut() {
                Some(line) if dice.below(3) > 0 => {
                    line.push_str(dice.one(&[",", ", ", " , "]));
                    line.push_str(text);
                }
                _ => lines.push(text.clone()),
            }
        }
        let known: Vec<_> = chain.iter().map(|(_, number)| *number).collect();

        let found = client(peer, &headers(&lines), &rules);
        let expected = reference::client(reference::number(peer), &known, &trusted);
        let told = || format!("case {case} of seed {SEED}: {peer} {lines:?} {rules:?}");
        assert_eq!(reference::number(found), expected, "{}", told());
        assert_eq!(found, found.to_canonical(), "{}", told());

        let admits = !reference::holds(&denied, expected)
            && (allowed.is_empty() || reference::holds(&allowed, expected));
        assert_eq!(rules.admits(found), admits, "{}", told());
        named += u32::from(expected != reference::number(peer));
        admitted += u32::from(admits);
    }
    assert!(named > 5_000, "only {named} clients were named by a proxy");
    assert!((20_000..80_000).contains(&admitted), "{admitted} were admitted");
}
