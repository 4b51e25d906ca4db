//! Tokens that are good, and tokens that are not, each with what is to be said of it.

use std::collections::{BTreeMap, BTreeSet};

use super::forger::Forger;
use crate::auth::token::{BadToken, verify};

mod claimed;
mod headed;
mod shaped;

/// What is to be said of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad(BadToken),
    /// Not good, for whichever reason is found first.
    NotGood,
}

struct Corpus {
    forger: Forger,
    tokens: Vec<(String, String, Verdict)>,
}

impl Corpus {
    fn add(&mut self, name: impl Into<String>, token: String, verdict: Verdict) {
        self.tokens.push((name.into(), token, verdict));
    }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[test]
fn of_each_token_of_the_corpus_the_right_thing_is_said() {
    let mut corpus = Corpus { forger: Forger::new(), tokens: Vec::new() };
    headed::add_to(&mut corpus);
    claimed::add_to(&mut corpus);
    shaped::add_to(&mut corpus);
    let Corpus { forger, tokens } = corpus;

    let mut counts = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, token, verdict) in &tokens {
        let said = verify(&forger.keys, token, Forger::now());
        let (kind, right) = match verdict {
            Verdict::Good => ("good", said.is_ok()),
            Verdict::Bad(reason) => ("bad for one reason", said.as_ref() == Err(reason)),
            Verdict::NotGood => ("cut or bent", said.is_err()),
        };
        if !right {
            wrong.push(format!("{name}: {said:?}, not {verdict:?}"));
        }
        *counts.entry(kind).or_insert(0) += 1;
    }
    let distinct: BTreeSet<_> = tokens.iter().map(|(_, token, _)| token).collect();
    eprintln!("{} tokens, {} of them distinct: {counts:?}", tokens.len(), distinct.len());

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tokens.len(), wrong.join("\n"));
    assert!(counts["good"] >= 100 && counts["bad for one reason"] >= 500, "{counts:?}");
    assert!(distinct.len() >= 500, "{}", distinct.len());
}
