//! Networks as they are written, and what is in them.

use proptest::prelude::*;

use super::*;

fn network(text: &str) -> Network {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_network_has_one_form_however_it_is_written() {
    for (text, canonical) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("10.1.2.3/32", "10.1.2.3/32"),
        ("10.1.2.3/31", "10.1.2.2/31"),
        ("1.2.3.4/0", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:DB8:0::7/32", "2001:db8::/32"),
        ("2001:db8::/0", "::/0"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.1.2.3/128", "10.1.2.3/32"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        // One bit more than all of IPv4, and so IPv6.
        ("::ffff:0:0/95", "::fffe:0:0/95"),
    ] {
        assert_eq!(network(text).to_string(), canonical, "{text}");
        assert_eq!(network(canonical), network(text), "{text}");
        let written = serde_json::to_string(&network(text)).unwrap();
        assert_eq!(written, format!("\"{canonical}\""));
        assert_eq!(serde_json::from_str::<Network>(&written).unwrap(), network(text));
    }
}

#[test]
fn what_is_no_network_is_refused() {
    for text in [
        "",
        "/",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/08",
        "10.0.0.0/00",
        "10.0.0.0/8/8",
        "10.0.0.0/8 ",
        " 10.0.0.0/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0/8",
        "010.0.0.0/8",
        "0x0a.0.0.0/8",
        "167772160",
        "10.0.0.256",
        "2001:db8::/129",
        "2001:db8::/1000",
        "2001:db8:::/32",
        "fe80::1%eth0",
        "[::1]",
        "10.0.0.1:80",
        "*",
        "localhost",
    ] {
        assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
    }
}

#[test]
fn an_address_is_in_a_network_up_to_its_edges() {
    for (network, inside, outside) in [
        ("10.0.0.0/8", "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3", "9.255.255.255 11.0.0.0"),
        ("10.1.2.2/31", "10.1.2.2 10.1.2.3", "10.1.2.1 10.1.2.4"),
        ("10.1.2.3", "10.1.2.3 ::ffff:10.1.2.3", "10.1.2.2 10.1.2.4 ::10.1.2.3 2002:a01:203::"),
        ("0.0.0.0/0", "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4", ":: ::1 ::1.2.3.4"),
        ("2001:db8::/32", "2001:db8:: 2001:db8:ffff::1", "2001:db7:ffff:: 2001:db9:: 32.1.13.184"),
        ("::1", "::1", ":: ::2 127.0.0.1"),
        ("::/0", ":: ffff::", "1.2.3.4 ::ffff:1.2.3.4"),
        ("::ffff:0:0/95", "::fffe:0:1", "::fffd:0:1 1.2.3.4 ::ffff:1.2.3.4"),
    ] {
        let network = self::network(network);
        for text in inside.split(' ') {
            assert!(network.contains(address(text)), "{text} in {network}");
        }
        for text in outside.split(' ') {
            assert!(!network.contains(address(text)), "{text} not in {network}");
        }
    }
}

/// An address as it is sent, also one of IPv4 in the form of IPv6, often near another one.
fn any_address() -> impl Strategy<Value = IpAddr> {
    let near = prop_oneof![Just(0_u32), any::<u32>(), 0x0a00_0000_u32..0x0a00_0100];
    prop_oneof![
        near.clone().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        near.prop_map(|bits| IpAddr::V6(Ipv4Addr::from_bits(bits).to_ipv6_mapped())),
        prop_oneof![any::<u128>(), 0_u128..1 << 48, (0xfffe_u128 << 32)..0x1_0000_u128 << 32]
            .prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

/// The first bits of an address, and which kind it is of.
fn first_bits(address: IpAddr, count: u8) -> (bool, u128) {
    let (is_v4, bits, width) = match address.to_canonical() {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (false, address.to_bits(), 128),
    };
    (is_v4, bits.checked_shr(u32::from(width - count)).unwrap_or(0))
}

proptest! {
    #[test]
    fn an_address_is_in_a_network_whose_first_bits_it_has(
        base in any_address(),
        tried in any_address(),
        flipped in 0_u8..128,
        prefix in 0_u8..=128,
    ) {
        let width = if base.to_canonical().is_ipv4() { 32 } else { 128 };
        let prefix = prefix % (width + 1);
        let network = network(&format!("{}/{prefix}", base.to_canonical()));
        // One that differs in one bit, and so is in or out by that bit alone.
        let neighbour = match base.to_canonical() {
            IpAddr::V4(address) => {
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() ^ (1 << (flipped % 32))))
            }
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() ^ (1 << flipped)))
            }
        };
        for address in [base, tried, neighbour] {
            // A prefix that is longer than the other kind's addresses is a word on its own kind.
            let is_same_kind = address.to_canonical().is_ipv4() == (width == 32);
            let expected =
                is_same_kind && first_bits(address, prefix) == first_bits(base, prefix);
            prop_assert_eq!(network.contains(address), expected, "{} in {}", address, network);
        }
        let mapped = base.to_canonical();
        if let IpAddr::V4(v4) = mapped {
            let text = format!("{}/{}", v4.to_ipv6_mapped(), prefix + 96);
            prop_assert_eq!(self::network(&text), network);
        }
    }

    #[test]
    fn any_text_is_a_network_with_one_form_or_none(text in "[0-9a-f:./]{0,20}") {
        if let Ok(network) = text.parse::<Network>() {
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }
    }
}
