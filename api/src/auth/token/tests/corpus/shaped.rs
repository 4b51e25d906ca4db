//! Good tokens that were cut, bent, put together in another way, or are of another size or kind.

use super::Verdict::{Bad, Good, NotGood};
use super::{Corpus, quoted};
use crate::auth::token::tests::forger::{Forger, Members, Signer, encoded};
use crate::auth::token::{BadToken, TOKEN_BYTES_MAX};

/// The letters of base64url.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The order of the group of Ed25519, the least byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

pub(super) fn add_to(corpus: &mut Corpus) {
    sizes(corpus);
    for kid in ["h1", "e1"] {
        cut_and_bent(corpus, kid);
        put_together(corpus, kid);
        signatures(corpus, kid);
    }
    other_form(corpus);
    encrypted(corpus);
}

fn good(forger: &Forger, kid: &str) -> String {
    forger.signed(kid, &Members::header(kid).text(), &Members::claims().text())
}

fn sizes(corpus: &mut Corpus) {
    for kid in ["h1", "e1"] {
        let token = |forger: &Forger, padding: usize| {
            let claims = Members::claims().and("later", &quoted(&"x".repeat(padding)));
            forger.signed(kid, &Members::header(kid).text(), &claims.text())
        };
        let fits = |padding: &usize| token(&corpus.forger, *padding).len() <= TOKEN_BYTES_MAX;
        let largest = (2_000..4_096).rev().find(fits).unwrap();
        for less in 0..4 {
            let token = token(&corpus.forger, largest - less);
            corpus.add(format!("{kid}: {} bytes", token.len()), token, Good);
        }
        for more in [1, 2, 3, 1_000, 100_000] {
            let token = token(&corpus.forger, largest + more);
            corpus.add(format!("{kid}: {} bytes", token.len()), token, Bad(BadToken::TooLong));
        }
    }
    corpus.add("a megabyte of nothing", "A".repeat(1 << 20), Bad(BadToken::TooLong));
    corpus.add("a page of dots", ".".repeat(TOKEN_BYTES_MAX), Bad(BadToken::Malformed));
}

fn cut_and_bent(corpus: &mut Corpus, kid: &str) {
    let good = good(&corpus.forger, kid);
    corpus.add(format!("{kid}: neither cut nor bent"), good.clone(), Good);
    for length in 0..good.len() {
        corpus.add(format!("{kid}: cut at {length}"), good[..length].to_owned(), NotGood);
    }
    for begin in 1..good.len() {
        corpus.add(format!("{kid}: begun at {begin}"), good[begin..].to_owned(), NotGood);
    }
    // Also the bits behind the last byte of a part, which some readers pass over.
    for (place, letter) in good.char_indices().filter(|(_, letter)| *letter != '.') {
        let value = LETTERS.find(letter).unwrap();
        for bit in 0..6 {
            let other = LETTERS.as_bytes()[value ^ 1 << bit] as char;
            let bent = format!("{}{other}{}", &good[..place], &good[place + 1..]);
            corpus.add(format!("{kid}: bit {bit} of letter {place}"), bent, NotGood);
        }
    }
}

fn put_together(corpus: &mut Corpus, kid: &str) {
    let good = good(&corpus.forger, kid);
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for (name, token) in [
        ("two parts", format!("{header}.{payload}")),
        ("no signature", format!("{header}.{payload}.")),
        ("no payload", format!("{header}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("no message", format!("..{signature}")),
        ("a dot behind", format!("{good}.")),
        ("a dot before", format!(".{good}")),
        ("a dot doubled", format!("{header}..{payload}.{signature}")),
        ("four parts", format!("{good}.{signature}")),
        ("five parts", format!("{header}.{payload}.{payload}.{payload}.{signature}")),
        ("twice", format!("{good}.{good}")),
        ("a comma", format!("{good},{good}")),
        ("parts in another order", format!("{payload}.{header}.{signature}")),
        ("backwards", format!("{signature}.{payload}.{header}")),
        ("padded header", format!("{header}=.{payload}.{signature}")),
        ("padded payload", format!("{header}.{payload}==.{signature}")),
        ("padded signature", format!("{good}=")),
        ("padded more", format!("{good}==")),
        ("a space before", format!(" {good}")),
        ("a space behind", format!("{good} ")),
        ("a line behind", format!("{good}\n")),
        ("a line within", format!("{header}.{payload}\r\n.{signature}")),
        ("a tab within", format!("{header}\t.{payload}.{signature}")),
        ("a zero behind", format!("{good}\0")),
        ("a space without width", format!("{good}\u{200b}")),
        ("an accent", format!("{header}.{payload}é.{signature}")),
        ("full width", good.replace('.', "．")),
        ("in quotes", format!("\"{good}\"")),
        ("with its scheme", format!("Bearer {good}")),
        (
            "as JSON",
            format!(
                "{{\"protected\":\"{header}\",\"payload\":\"{payload}\",\"signature\":\"{signature}\"}}"
            ),
        ),
        ("in small letters", good.to_lowercase()),
        ("in a URL", good.replace('.', "%2E")),
        // A letter too many is no byte, whatever it is.
        ("a letter behind the header", format!("{header}A.{payload}.{signature}")),
        ("a letter behind the payload", format!("{header}.{payload}A.{signature}")),
        ("a letter behind the signature", format!("{good}A")),
    ] {
        corpus.add(format!("{kid}: {name}"), token, NotGood);
    }
    let admin = Members::claims().with("role", "\"admin\"").with("scope", "\"admin\"").text();
    let admin = corpus.forger.signed(kid, &Members::header(kid).text(), &admin);
    let (message, theirs) = admin.rsplit_once('.').unwrap();
    let token = format!("{message}.{signature}");
    corpus.add(format!("{kid}: signature of another"), token, Bad(BadToken::Signature));
    let token = format!("{header}.{payload}.{theirs}");
    corpus.add(format!("{kid}: another's signature"), token, Bad(BadToken::Signature));
    // The other letters of base64 for those of base64url, where there are any to change.
    let other: String = good
        .chars()
        .map(|letter| match letter {
            '-' => '+',
            '_' => '/',
            letter => letter,
        })
        .collect();
    if other != good {
        corpus.add(format!("{kid}: letters of base64"), other, NotGood);
    }
}

fn signatures(corpus: &mut Corpus, kid: &str) {
    let good = good(&corpus.forger, kid);
    let (message, _) = good.rsplit_once('.').unwrap();
    let signature = corpus.forger.signature(Forger::key(kid).1, message);
    let mut add = |name: &str, bytes: &[u8]| {
        let token = format!("{message}.{}", encoded(bytes));
        corpus.add(format!("{kid}: {name}"), token, Bad(BadToken::Signature));
    };
    for length in 0..signature.len() {
        add(&format!("{length} bytes of a signature"), &signature[..length]);
    }
    for length in [16, 31, 32, 33, 63, 64, 65, 128] {
        add(&format!("{length} zeros"), &vec![0; length]);
        add(&format!("{length} ones"), &vec![0xff; length]);
    }
    add("a byte too many", &[signature.as_slice(), &[0]].concat());
    add("twice", &[signature.as_slice(), &signature].concat());
    add("backwards", &signature.iter().rev().copied().collect::<Vec<_>>());
    add("as text", encoded(&signature).as_bytes());
}

/// S + L is as good as S to whoever does not look, and makes two tokens of one.
fn other_form(corpus: &mut Corpus) {
    let good = good(&corpus.forger, "e1");
    let (message, _) = good.rsplit_once('.').unwrap();
    let mut signature = corpus.forger.signature(Signer::House, message);
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0);
    let token = format!("{message}.{}", encoded(signature));
    corpus.add("e1: its signature in another form", token, Bad(BadToken::Signature));
}

/// Tokens that are encrypted, or look so.
fn encrypted(corpus: &mut Corpus) {
    let h1 = Members::header("h1");
    for (header, reason) in [
        (h1.text(), BadToken::Signature),
        (h1.clone().with("enc", "\"A256GCM\"").text(), BadToken::Signature),
        (h1.clone().with("alg", "\"dir\"").text(), BadToken::Algorithm),
        (h1.clone().with("alg", "\"RSA-OAEP\"").text(), BadToken::Algorithm),
        ("{\"alg\":\"dir\",\"enc\":\"A256GCM\"}".to_owned(), BadToken::Malformed),
    ] {
        let parts = [&[1; 32][..], &[2; 12], b"{}", &[3; 16]].map(encoded).join(".");
        let token = format!("{}.{parts}", encoded(&header));
        corpus.add(format!("encrypted {header}"), token, Bad(reason));
        let token = format!("{}....", encoded(&header));
        corpus.add(format!("encrypted and empty {header}"), token, Bad(reason));
    }
    // The dots are signed, too: still it is no payload.
    let parts = [h1.text(), "{}".to_owned(), "{}".to_owned(), "{}".to_owned()].map(encoded);
    let message = parts.join(".");
    let signature = encoded(corpus.forger.signature(Forger::key("h1").1, &message));
    corpus.add("five parts, signed", format!("{message}.{signature}"), Bad(BadToken::Claims));
}
