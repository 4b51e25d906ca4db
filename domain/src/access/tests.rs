//! The words of rights, and who has which.

use super::*;

#[test]
fn each_word_of_a_right_is_its_word_for_ever() {
    let roles = ["trader", "auditor", "operator", "admin"];
    for (role, word) in Role::ALL.into_iter().zip(roles) {
        assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{word}\""));
        assert_eq!((word.parse(), role.to_string().as_str()), (Ok(role), word));
    }
    let scopes = [
        "market:read",
        "portfolio:read",
        "portfolio:write",
        "analysis:read",
        "events:read",
        "operator",
        "admin",
    ];
    for (scope, word) in Scope::ALL.into_iter().zip(scopes) {
        assert_eq!(serde_json::to_string(&scope).unwrap(), format!("\"{word}\""));
        assert_eq!((word.parse(), scope.to_string().as_str()), (Ok(scope), word));
    }
    let all: Scopes = Scope::ALL.into_iter().rev().collect();
    assert_eq!(serde_json::to_value(&all).unwrap(), serde_json::json!(scopes));
    assert_eq!(serde_json::from_value::<Scopes>(serde_json::json!(scopes)).unwrap(), all);
}

#[test]
fn what_names_no_right_is_refused() {
    for text in ["", "Trader", "trader ", "market", "market:write", "*", "root"] {
        assert_eq!(text.parse::<Role>(), Err(NotARight::Role), "{text}");
        assert_eq!(text.parse::<Scope>(), Err(NotARight::Scope), "{text}");
        assert!(serde_json::from_value::<Scopes>(serde_json::json!([text])).is_err(), "{text}");
    }
}

/// Written again by hand: a line that moves here lets somebody in.
#[test]
fn each_role_may_do_this_and_no_more() {
    for (role, may) in [
        (Role::Trader, "market:read portfolio:read portfolio:write analysis:read events:read"),
        (Role::Auditor, "market:read analysis:read events:read"),
        (Role::Operator, "market:read analysis:read operator"),
        (Role::Admin, "market:read analysis:read admin"),
    ] {
        let words: Vec<&str> = may.split(' ').collect();
        let scopes = role.scopes();
        for scope in Scope::ALL {
            assert_eq!(scopes.contains(scope), words.contains(&scope.as_str()), "{role}: {scope}");
        }
    }
}

#[test]
fn what_two_have_in_common_is_within_both() {
    for one in Role::ALL {
        for other in Role::ALL {
            let common = one.scopes().common(&other.scopes());
            assert!(common.are_within(&one.scopes()) && common.are_within(&other.scopes()));
            assert_eq!(common == one.scopes(), one.scopes().are_within(&other.scopes()));
        }
    }
    assert!(Scopes::default().is_empty() && Scopes::default().are_within(&Role::Admin.scopes()));
}
