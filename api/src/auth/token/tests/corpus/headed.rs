//! What stands in the header: algorithms, keys, and what asks to be understood.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Verdict::{Bad, Good};
use super::{Corpus, Verdict, quoted};
use crate::auth::token::BadToken;
use crate::auth::token::tests::forger::{Forger, Members, Signer, encoded};

pub(super) fn add_to(corpus: &mut Corpus) {
    none(corpus);
    algorithms(corpus);
    public_for_secret(corpus);
    one_key_for_another(corpus);
    kids(corpus);
    understood(corpus);
    found_elsewhere(corpus);
    malformed(corpus);
}

/// Adds a token of each key that has this header, rightly signed.
fn add(corpus: &mut Corpus, name: &str, header: impl Fn(Members) -> String, verdict: Verdict) {
    for kid in ["h1", "e1"] {
        let header = header(Members::header(kid));
        let token = corpus.forger.signed(kid, &header, &Members::claims().text());
        corpus.add(format!("{kid}: {name}"), token, verdict);
    }
}

fn with(corpus: &mut Corpus, name: &str, value: &str, verdict: Verdict) {
    let header = |header: Members| header.with(name, value).text();
    add(corpus, &format!("{name} {value}"), header, verdict);
}

/// All spellings of it, signed and unsigned.
fn none(corpus: &mut Corpus) {
    for kid in ["h1", "e1"] {
        for bits in 0..16_u32 {
            let spelled: String = ("none".chars().zip(0..))
                .map(|(letter, place)| match bits >> place & 1 {
                    1 => letter.to_ascii_uppercase(),
                    _ => letter,
                })
                .collect();
            let header = Members::header(kid).with("alg", &quoted(&spelled)).text();
            let signed = corpus.forger.signed(kid, &header, &Members::claims().text());
            let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
            corpus.add(format!("{kid}: {spelled}, signed"), signed, Bad(BadToken::Algorithm));
            corpus.add(format!("{kid}: {spelled}"), unsigned, Bad(BadToken::Algorithm));
        }
    }
}

fn algorithms(corpus: &mut Corpus) {
    for alg in [
        "",
        " ",
        "HS256 ",
        " HS256",
        "hs256",
        "Hs256",
        "HS-256",
        "HS384",
        "HS512",
        "RS256",
        "RS384",
        "RS512",
        "ES256",
        "ES384",
        "ES512",
        "ES256K",
        "PS256",
        "PS384",
        "PS512",
        "EDDSA",
        "eddsa",
        "Ed25519",
        "Ed448",
        "dir",
        "RSA-OAEP",
        "A256KW",
        "HMAC",
        "null",
        "none ",
        "no\\u006ee",
        "HS256\\u0000",
        "EdDSA\\u0000",
    ] {
        with(corpus, "alg", &quoted(alg), Bad(BadToken::Algorithm));
    }
    for alg in ["null", "0", "256", "true", "[]", "[\"HS256\"]", "{}", "{\"HS256\":null}"] {
        with(corpus, "alg", alg, Bad(BadToken::Malformed));
    }
    add(corpus, "no alg", |header| header.without("alg").text(), Bad(BadToken::Malformed));
    // Written in another way, it is the same.
    let escaped = |header: Members| {
        let alg = header.get("alg").replace('S', "\\u0053");
        header.with("alg", &alg).text()
    };
    add(corpus, "alg in another way", escaped, Good);
}

/// What is public is taken for a secret.
fn public_for_secret(corpus: &mut Corpus) {
    let claims = Members::claims().text();
    let public = corpus.forger.public().to_vec();
    let der = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &public].concat();
    let pem = STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n");
    let hexadecimal: Vec<String> = public.iter().map(|byte| format!("{byte:02x}")).collect();
    for (form, secret) in [
        ("raw", public.as_slice()),
        ("DER", &der),
        ("PEM", pem.as_bytes()),
        ("PEM without its end of line", pem.trim_end().as_bytes()),
        ("base64url", encoded(&public).as_bytes()),
        ("base64", STANDARD.encode(&public).as_bytes()),
        ("hexadecimal", hexadecimal.concat().as_bytes()),
        ("nothing", b""),
        ("a zero", b"\0"),
        ("the kid", b"e1"),
    ] {
        for (algorithm, alg) in
            [(HMAC_SHA256, "HS256"), (HMAC_SHA384, "HS384"), (HMAC_SHA512, "HS512")]
        {
            let signer = Signer::Hmac(algorithm, secret);
            let header = Members::header("e1").with("alg", &quoted(alg)).text();
            let token = corpus.forger.signed_by(signer, &header, &claims);
            corpus.add(format!("e1 for a secret: {form}, {alg}"), token, Bad(BadToken::Algorithm));
            let header = Members::header("h1").with("alg", &quoted(alg)).text();
            let token = corpus.forger.signed_by(signer, &header, &claims);
            let reason = if alg == "HS256" { BadToken::Signature } else { BadToken::Algorithm };
            corpus.add(format!("h1 by e1 for a secret: {form}, {alg}"), token, Bad(reason));
        }
        let signer = Signer::Hmac(HMAC_SHA256, secret);
        let token = corpus.forger.signed_by(signer, &Members::header("e1").text(), &claims);
        corpus.add(format!("e1, a code for a signature: {form}"), token, Bad(BadToken::Signature));
    }
}

fn one_key_for_another(corpus: &mut Corpus) {
    let claims = Members::claims().text();
    for kid in ["h1", "old", "e1"] {
        for other in ["h1", "old", "gone", "e1"].into_iter().filter(|other| *other != kid) {
            let token = corpus.forger.signed(other, &Members::header(kid).text(), &claims);
            corpus.add(format!("{kid}, signed with {other}"), token, Bad(BadToken::Signature));
            let same_way = Members::header(kid).get("alg") == Members::header(other).get("alg");
            let reason = if same_way { BadToken::Signature } else { BadToken::Algorithm };
            let header = Members::header(other).with("kid", &quoted(kid)).text();
            let token = corpus.forger.signed(other, &header, &claims);
            corpus.add(format!("{kid}, all else of {other}"), token, Bad(reason));
        }
    }
    let token = corpus.forger.signed("gone", &Members::header("gone").text(), &claims);
    corpus.add("a key that was retired", token, Bad(BadToken::KeyUnknown));
    for kid in ["h1", "e1"] {
        let header = Members::header(kid).text();
        let token = corpus.forger.signed_by(Signer::Foreign, &header, &claims);
        corpus.add(format!("{kid}, signed with nobody's"), token, Bad(BadToken::Signature));
    }
}

fn kids(corpus: &mut Corpus) {
    for kid in [
        "",
        " ",
        "H1",
        "h1 ",
        " h1",
        "h1\\u0000",
        "h1\\n",
        "h1.json",
        "../h1",
        "../../dev/null",
        "/dev/null",
        "/etc/passwd",
        "file:///dev/null",
        "http://127.0.0.1/jwks.json",
        "https://evil.example/h1",
        "h1'--",
        "' OR '1'='1",
        "x' UNION SELECT 'h1",
        "h1;ls",
        "$(h1)",
        "`h1`",
        "${h1}",
        "{{h1}}",
        "%68%31",
        "h%31",
        "0",
        "null",
        "undefined",
        "*",
        "h*",
        "h_",
        "[0]",
        "h2",
        "e2",
        "gone",
        "h1h1",
        "h",
        "1",
        "ｈ１",
        "h\\u0131",
        "\\u202eh1",
        "\\ud83d\\ude00",
    ] {
        with(corpus, "kid", &quoted(kid), Bad(BadToken::KeyUnknown));
    }
    with(corpus, "kid", &quoted(&"h1".repeat(500)), Bad(BadToken::KeyUnknown));
    for kid in ["null", "0", "1.5", "-1", "true", "[]", "[\"h1\"]", "{}", "{\"h1\":1}"] {
        with(corpus, "kid", kid, Bad(BadToken::Malformed));
    }
    with(corpus, "kid", "\"\\ud800\"", Bad(BadToken::Malformed));
    add(corpus, "no kid", |header| header.without("kid").text(), Bad(BadToken::Malformed));
}

fn understood(corpus: &mut Corpus) {
    for crit in ["[]", "[\"exp\"]", "[\"b64\"]", "[\"unknown\"]", "null", "\"exp\"", "{}", "false"]
    {
        with(corpus, "crit", crit, Bad(BadToken::NotUnderstood));
    }
    for b64 in ["false", "true", "null", "0"] {
        with(corpus, "b64", b64, Bad(BadToken::NotUnderstood));
    }
    for typ in ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "at+JWT"] {
        with(corpus, "typ", &quoted(typ), Good);
    }
    add(corpus, "no typ", |header| header.without("typ").text(), Good);
    for typ in [
        "",
        "JWE",
        "JWS",
        "JOSE",
        "JOSE+JSON",
        "application/jwt",
        "application/at+jwt",
        "JWT ",
        " JWT",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "id_token",
        "refresh",
        "at jwt",
    ] {
        with(corpus, "typ", &quoted(typ), Bad(BadToken::NotUnderstood));
    }
    for typ in ["null", "1", "true", "[\"JWT\"]", "{}"] {
        with(corpus, "typ", typ, Bad(BadToken::Malformed));
    }
}

/// Where a key could be found is nobody's concern: the one of the table is taken, or none.
fn found_elsewhere(corpus: &mut Corpus) {
    let x = encoded([9; 32]);
    let jwk = format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}");
    for (name, value) in [
        ("jku", "\"https://evil.example/jwks.json\""),
        ("x5u", "\"file:///etc/passwd\""),
        ("x5c", "[\"MIIB\"]"),
        ("x5t", "\"AAAA\""),
        ("jwk", jwk.as_str()),
        ("cty", "\"JWT\""),
        ("zip", "\"DEF\""),
        ("enc", "\"A256GCM\""),
        ("nonce", "\"n\""),
        ("later", "[[{\"a\":[null]}]]"),
    ] {
        with(corpus, name, value, Good);
        for (kid, reason) in [("e1", BadToken::Signature), ("other", BadToken::KeyUnknown)] {
            let header = Members::header("e1").with("kid", &quoted(kid)).with(name, value).text();
            let claims = Members::claims().text();
            let token = corpus.forger.signed_by(Signer::Foreign, &header, &claims);
            corpus.add(format!("{kid}, signed by whom {name} names"), token, Bad(reason));
        }
    }
}

fn malformed(corpus: &mut Corpus) {
    for text in ["", "{", "{}", "[]", "null", "1", "\"h1\"", "{'alg':'HS256'}", "\u{feff}{}"] {
        let name = format!("header {text:?}");
        add(corpus, &name, |_| text.to_owned(), Bad(BadToken::Malformed));
    }
    add(corpus, "a list", |header| header.values(), Bad(BadToken::Malformed));
    for behind in ["x", "{}", "\0", ","] {
        let name = format!("{behind:?} behind");
        add(corpus, &name, |header| header.text() + behind, Bad(BadToken::Malformed));
    }
    for (name, of) in [("alg", "alg"), ("kid", "kid"), ("typ", "typ"), ("\\u0061lg", "alg")] {
        let twice = |header: Members| {
            let value = header.get(of);
            header.and(name, &value).text()
        };
        add(corpus, &format!("{name} twice"), twice, Bad(BadToken::Malformed));
    }
    let none = |header: Members| header.and("alg", "\"none\"").text();
    add(corpus, "alg and none", none, Bad(BadToken::Malformed));
    let twice = |header: Members| header.and("later", "1").and("later", "1").text();
    add(corpus, "what is not known, twice", twice, Bad(BadToken::Malformed));
    // The whole header in two tokens of one message.
    let (h1, e1) = (Members::header("h1").text(), Members::header("e1").text());
    let token =
        corpus.forger.signed_by(Forger::key("h1").1, &(h1 + &e1), &Members::claims().text());
    corpus.add("two headers", token, Bad(BadToken::Malformed));
}
