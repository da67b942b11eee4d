//! Comma-separated values (RFC 4180), the names of the columns first.

use std::io;

use super::{ExportError, Output, Rows};
use crate::output::{Field, Formulas, Record, Value};

/// Writes CSV.
#[derive(Debug)]
pub struct Csv {
    writer: csv::Writer<Output>,
    field: String,
    formulas: Formulas,
}

impl Csv {
    /// CSV on `output`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(output: Output, formulas: Formulas) -> Result<Self, ExportError> {
        let writer = csv::Writer::from_writer(output);
        let mut csv = Self { writer, field: String::new(), formulas };
        let names = Field::columns().map(Field::name);
        csv.writer.write_record(names).map_err(|error| csv.failed(error))?;
        Ok(csv)
    }

    fn failed(&self, error: csv::Error) -> ExportError {
        let source = match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        };
        self.writer.get_ref().failed(source)
    }

    fn write(&mut self, row: &Record<'_>) -> Result<(), csv::Error> {
        for value in row.columns() {
            match value {
                None => self.writer.write_field("")?,
                Some(Value::Text(text)) => {
                    self.writer.write_field(self.formulas.cell(text.as_ref()).as_ref())?;
                }
                Some(value) => {
                    self.field.clear();
                    write(&mut self.field, value);
                    let is_text = matches!(value, Value::Names(_));
                    let formulas = if is_text { self.formulas } else { Formulas::Kept };
                    self.writer.write_field(formulas.cell(&self.field).as_ref())?;
                }
            }
        }
        self.writer.write_record(None::<&[u8]>)
    }
}

impl Rows for Csv {
    fn row(&mut self, row: &Record<'_>) -> Result<(), ExportError> {
        self.write(row).map_err(|error| self.failed(error))
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let mut csv = *self;
        csv.writer.flush().map_err(|error| csv.writer.get_ref().failed(error))?;
        match csv.writer.into_inner() {
            Ok(output) => output.complete(),
            // Nothing is left that could fail to be written.
            Err(error) => Err(error.into_inner().get_ref().failed(io::ErrorKind::Other.into())),
        }
    }
}

fn write(field: &mut String, value: &Value<'_>) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Time(time) => write!(field, "{time:.9}"),
        Value::Bool(value) => write!(field, "{value}"),
        Value::I32(value) => write!(field, "{value}"),
        Value::U32(value) => write!(field, "{value}"),
        Value::U64(value) => write!(field, "{value}"),
        Value::F64(value) => write!(field, "{value}"),
        Value::Text(text) => write!(field, "{text}"),
        Value::Names(names) => write!(field, "{}", names.join(",")),
        // Columns have none of these types.
        Value::Numbers(_) | Value::Object(_) | Value::Objects(_) => Ok(()),
    };
}
