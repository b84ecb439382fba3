//! The two ways in which metrics are written down.

/// How `/metrics` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0, for who asks for it.
    OpenMetrics,
    /// The text format of Prometheus, for everybody else.
    Text,
}

impl Format {
    /// What an `Accept` header asks for. OpenMetrics is answered to who names it, as Prometheus does.
    pub fn asked_for(accept: Option<&str>) -> Self {
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// OpenMetrics in this format: the other names a counter's family as its samples, and has no end mark.
    pub(super) fn of(self, openmetrics: String) -> String {
        if self == Format::OpenMetrics {
            return openmetrics;
        }
        let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
        let mut help = None;
        for line in openmetrics.lines() {
            if let Some(family) = line.strip_prefix("# HELP ") {
                help = Some(family);
            } else if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').unwrap_or((typed, "untyped"));
                let suffix = if kind == "counter" { "_total" } else { "" };
                let help = help.take().and_then(|help| help.split_once(' '));
                let help = help.map_or("", |(_, meaning)| meaning);
                text.push_str(&format!(
                    "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"
                ));
            } else if line != "# EOF" {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "# HELP a_things Things.\n# TYPE a_things counter\na_things_total{of=\"x\"} 3\n\
                        # HELP b_now Now and then.\n# TYPE b_now gauge\nb_now 1\n# EOF\n";

    #[test]
    fn a_counter_is_called_as_its_samples_and_nothing_marks_the_end() {
        assert_eq!(
            Format::Text.of(OPEN.to_owned()),
            "# HELP a_things_total Things.\n# TYPE a_things_total counter\na_things_total{of=\"x\"} 3\n\
             # HELP b_now Now and then.\n# TYPE b_now gauge\nb_now 1\n"
        );
        assert_eq!(Format::OpenMetrics.of(OPEN.to_owned()), OPEN);
    }

    #[test]
    fn who_asks_for_openmetrics_has_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::asked_for(Some(prometheus)), Format::OpenMetrics);
        for other in [None, Some("*/*"), Some("text/plain")] {
            assert_eq!(Format::asked_for(other), Format::Text);
        }
    }
}
