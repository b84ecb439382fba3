//! How an event becomes a line: one line each, whatever was in it, and no longer than its fields' bounds together.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{self, FormatTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::ids::{self, Belongs};

/// Environment variable with the format.
pub const FORMAT_VARIABLE: &str = "COUNTERSIGN_LOG_FORMAT";

/// Bytes of one value in a line, message included; what is longer is cut, and ends in `…`.
pub const VALUE_BYTES_MAX: usize = 1_024;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: `time LEVEL target: message field=value`.
    Pretty,
    /// For programs: one JSON object.
    Json,
}

impl LogFormat {
    /// What [`FORMAT_VARIABLE`] asks for: `pretty`, `json`, or `auto`, empty and unset: pretty on a terminal, else JSON.
    ///
    /// # Errors
    /// For any other word, with what to set.
    pub fn choose(asked: Option<&str>, terminal: bool) -> Result<Self, String> {
        match asked.unwrap_or_default() {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            "" | "auto" if terminal => Ok(Self::Pretty),
            "" | "auto" => Ok(Self::Json),
            other => Err(format!(
                "{FORMAT_VARIABLE} = {other:?} is no format of the log: set it to pretty, json or auto"
            )),
        }
    }
}

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        self.line(to, event)
    }
}

impl LogFormat {
    fn line(self, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        match self {
            Self::Pretty => {
                time::time().format_time(&mut to)?;
                write!(to, " {:>5} {}:", metadata.level().as_str(), metadata.target())?;
            }
            Self::Json => {
                to.write_str("{\"time\":\"")?;
                time::time().format_time(&mut to)?;
                let (level, target) = (metadata.level().as_str(), metadata.target());
                write!(to, "\",\"level\":\"{level}\",\"target\":\"{target}\"")?;
            }
        }
        let mut fields = Fields {
            format: self,
            to: &mut to,
            done: Ok(()),
        };
        event.record(&mut fields);
        match ids::current() {
            Some(Belongs::Connection(number)) => fields.text("connection", &ids::connection_name(number)),
            Some(Belongs::Request(id)) => fields.text("request", id.as_str()),
            None => {}
        }
        fields.done?;
        to.write_str(match self {
            Self::Pretty => "\n",
            Self::Json => "}\n",
        })
    }
}

/// Writes fields one after the other; after an error no more.
struct Fields<'a, 'w> {
    format: LogFormat,
    to: &'a mut Writer<'w>,
    done: fmt::Result,
}

impl Fields<'_, '_> {
    /// `write` is given what escapes and cuts.
    fn field(&mut self, name: &str, quoted: bool, write: impl FnOnce(&mut Line<'_, '_>) -> fmt::Result) {
        if self.done.is_ok() {
            self.done = self.try_field(name, quoted, write);
        }
    }

    fn try_field(
        &mut self,
        name: &str,
        quoted: bool,
        write: impl FnOnce(&mut Line<'_, '_>) -> fmt::Result,
    ) -> fmt::Result {
        match (self.format, name) {
            (LogFormat::Json, _) => write!(self.to, ",\"{name}\":")?,
            (LogFormat::Pretty, "message") => self.to.write_char(' ')?,
            (LogFormat::Pretty, _) => write!(self.to, " {name}=")?,
        }
        let quote = if quoted { "\"" } else { "" };
        self.to.write_str(quote)?;
        let mut line = Line {
            to: self.to,
            quoted,
            left: VALUE_BYTES_MAX,
        };
        write(&mut line)?;
        self.to.write_str(quote)
    }

    /// A value that is text already and needs no quotes to be told apart where a person reads.
    fn text(&mut self, name: &str, value: &str) {
        self.field(name, self.format == LogFormat::Json, |line| line.write_str(value));
    }

    fn plain(&mut self, name: &str, value: impl fmt::Display) {
        self.field(name, false, |line| write!(line, "{value}"));
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let quoted = self.format == LogFormat::Json || field.name() != "message";
        self.field(field.name(), quoted, |line| line.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let quoted = self.format == LogFormat::Json;
        self.field(field.name(), quoted, |line| write!(line, "{value:?}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field.name(), value);
        } else {
            self.record_debug(field, &value);
        }
    }
}

/// A value on its way into a line.
struct Line<'a, 'w> {
    to: &'a mut Writer<'w>,
    /// Whether it stands in quotes, which it must not end.
    quoted: bool,
    /// Bytes that it may still have.
    left: usize,
}

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.left == 0 {
            return Ok(());
        }
        let kept = text.floor_char_boundary(self.left);
        self.left -= kept;
        let mut from = 0;
        for (at, c) in text[..kept].char_indices() {
            let ends_quote = self.quoted && matches!(c, '"' | '\\');
            if !(is_escaped(c) || ends_quote) {
                continue;
            }
            self.to.write_str(&text[from..at])?;
            from = at + c.len_utf8();
            match c {
                '\n' => self.to.write_str("\\n")?,
                '\r' => self.to.write_str("\\r")?,
                '\t' => self.to.write_str("\\t")?,
                '"' | '\\' => write!(self.to, "\\{c}")?,
                c => write!(self.to, "\\u{:04x}", u32::from(c))?,
            }
        }
        self.to.write_str(&text[from..kept])?;
        if kept < text.len() {
            self.left = 0;
            self.to.write_char('…')?;
        }
        Ok(())
    }
}

/// What would end a line, speak to a terminal, or show a line other than it is. All lie in the basic plane.
fn is_escaped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
#[path = "log_format/tests.rs"]
mod tests;
