//! The text format of Prometheus, version 0.0.4, as far as it is spoken here: counters and gauges.

use std::fmt::{Display, Write};

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What all names begin with.
const PREFIX: &str = "entasis_";

/// What one kind of figure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    Gauge,
}

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    name: &'static str,
}

impl Text {
    /// Begins the figures of one name; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        self.line(format_args!("# HELP {PREFIX}{name} {help}"));
        self.line(format_args!("# TYPE {PREFIX}{name} {kind}"));
    }

    /// Tells one figure of the name that was begun last.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let mut told = String::new();
        for (name, text) in labels {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            let comma = if told.is_empty() { "" } else { "," };
            write!(told, "{comma}{name}=\"{text}\"")
                .expect("a text takes all that is written to it");
        }
        let name = self.name;
        if told.is_empty() {
            self.line(format_args!("{PREFIX}{name} {value}"));
        } else {
            self.line(format_args!("{PREFIX}{name}{{{told}}} {value}"));
        }
    }

    pub(super) fn end(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a text takes all that is written to it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_told_with_its_help_its_kind_and_its_samples() {
        let mut text = Text::default();
        text.family("sockets", Kind::Gauge, "Open ones.\nNow\\then.");
        text.sample(&[], 3);
        text.family("requests_total", Kind::Counter, "All.");
        text.sample(&[("class", "2xx"), ("odd", "a\"b\\c\nd")], 17_u64);

        assert_eq!(
            text.end(),
            "# HELP entasis_sockets Open ones.\\nNow\\\\then.\n\
             # TYPE entasis_sockets gauge\n\
             entasis_sockets 3\n\
             # HELP entasis_requests_total All.\n\
             # TYPE entasis_requests_total counter\n\
             entasis_requests_total{class=\"2xx\",odd=\"a\\\"b\\\\c\\nd\"} 17\n"
        );
    }
}
