//! What is said of one thing, and what to do about it.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    /// A house runs like this, and less well than it could.
    Warning,
    /// A house does not start like this, or not for long.
    Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What it is about, in a word or two.
    pub(super) about: String,
    pub(super) said: String,
    /// What to do next.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(about: impl Into<String>, said: impl Into<String>) -> Self {
        Self { level: Level::Ok, about: about.into(), said: said.into(), advice: None }
    }

    pub(super) fn warning(
        about: impl Into<String>,
        said: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { level: Level::Warning, advice, ..Self::ok(about, said) }
    }

    pub(super) fn problem(
        about: impl Into<String>,
        said: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { level: Level::Problem, ..Self::warning(about, said, advice) }
    }
}

/// A line, and a second one with what to do.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        write!(f, "{level:8} {:11} {}", self.about, self.said)?;
        match &self.advice {
            None => Ok(()),
            Some(advice) => write!(f, "\n{:20} → {advice}", ""),
        }
    }
}
