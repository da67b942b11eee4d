//! Parquet: one file, or one for each node and hour in directories as Hive names them.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{
        BooleanBuilder, Float64Builder, Int32Builder, StringBuilder, TimestampNanosecondBuilder,
        UInt32Builder, UInt64Builder,
    },
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
    schema::types::ColumnPath,
};

use super::{ExportError, Output, Rows, file::Names};
use crate::{
    output::{Field as Column, Record, Type, Value},
    recording::Header,
};

/// Rows handed over at once.
const BATCH: usize = 8 << 10;

/// Rows of a row group: what is gathered in memory, compressed, before it is written. A group this
/// large compresses as well as larger ones, and takes some MiB.
const ROW_GROUP: usize = 256 << 10;

/// Hardly ever the same twice, and mostly a little more than before: differences are small. All
/// others repeat themselves, and are written as references to a dictionary.
const RISING: [Column; 4] = [Column::Time, Column::BootNs, Column::Instance, Column::Since];

/// How many partitions are open at once: events come almost in their order, so the hour before
/// is all that may still be added to.
const OPEN: usize = 2;

/// Nanoseconds of an hour.
const HOUR: i64 = 3_600_000_000_000;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let field = |column: Column| {
        let kind = match column.kind() {
            Type::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Type::Bool => DataType::Boolean,
            Type::I32 => DataType::Int32,
            Type::U32 => DataType::UInt32,
            Type::U64 => DataType::UInt64,
            Type::F64 => DataType::Float64,
            // Several names are one text; objects are in no column.
            Type::Text | Type::Names | Type::Numbers | Type::Object | Type::Objects => {
                DataType::Utf8
            }
        };
        Field::new(column.name(), kind, true)
    };
    Arc::new(Schema::new(Column::columns().map(field).collect::<Vec<_>>()))
});

/// Writes one Parquet file.
pub struct Parquet {
    /// Where it goes, for errors.
    path: PathBuf,
    writer: ArrowWriter<Output>,
    columns: Vec<Builder>,
    rows: usize,
}

impl Parquet {
    /// Begins a file.
    ///
    /// # Errors
    /// If it exists, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        let output = Output::create(path)?;
        let level = ZstdLevel::try_new(3).unwrap_or_default();
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_created_by(concat!("inotify-trace ", env!("CARGO_PKG_VERSION")).to_owned());
        for column in RISING {
            let name = ColumnPath::from(column.name());
            properties = properties
                .set_column_dictionary_enabled(name.clone(), false)
                .set_column_encoding(name, Encoding::DELTA_BINARY_PACKED);
        }
        let writer = ArrowWriter::try_new(output, Arc::clone(&SCHEMA), Some(properties.build()))
            .map_err(|error| failed(path, error))?;
        let columns = Column::columns().map(|column| Builder::new(column.kind())).collect();
        Ok(Self { path: path.to_owned(), writer, columns, rows: 0 })
    }

    fn add(&mut self, row: &Record<'_>) -> Result<(), ExportError> {
        for (builder, value) in self.columns.iter_mut().zip(row.columns()) {
            builder.add(value);
        }
        self.rows += 1;
        if self.rows == BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), ExportError> {
        self.rows = 0;
        let columns = self.columns.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(Arc::clone(&SCHEMA), columns)
            .map_err(ParquetError::from)
            .and_then(|batch| self.writer.write(&batch))
            .map_err(|error| failed(&self.path, error))
    }

    /// All rows were added. It has yet to get its name.
    fn close(mut self) -> Result<Option<Names>, ExportError> {
        if self.rows > 0 {
            self.write()?;
        }
        let output = self.writer.into_inner().map_err(|error| failed(&self.path, error))?;
        output.close()
    }
}

impl Rows for Parquet {
    fn row(&mut self, row: &Record<'_>) -> Result<(), ExportError> {
        self.add(row)
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        self.close()?.map_or(Ok(()), Names::complete)
    }
}

/// What went wrong, without the words that libraries put around it.
fn failed(path: &Path, error: ParquetError) -> ExportError {
    let source = match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    };
    ExportError::Write { path: path.to_owned(), source }
}

/// Writes Parquet files below a directory: `node=NODE/date=YYYY-MM-DD/hour=HH/RUN-SEQUENCE-N.parquet`, in
/// UTC. They get their names together at the end.
pub struct Partitioned {
    directory: PathBuf,
    /// The directory of the run's node.
    node: PathBuf,
    /// How names of the run's files begin.
    prefix: String,
    /// How many files the run has.
    files: u32,
    /// By hours since 1970; the one used last comes last.
    open: VecDeque<(i64, Parquet)>,
    closed: Vec<Names>,
}

impl Partitioned {
    /// Below a directory, which may exist.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(directory: &Path) -> Result<Self, ExportError> {
        make(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            node: PathBuf::new(),
            prefix: String::new(),
            files: 0,
            open: VecDeque::new(),
            closed: Vec::new(),
        })
    }

    /// The file for an hour.
    fn file(&mut self, hour: i64) -> Result<&mut Parquet, ExportError> {
        match self.open.iter().position(|(its, _)| *its == hour) {
            Some(at) => {
                let file = self.open.remove(at);
                self.open.extend(file);
            }
            None => {
                if self.open.len() == OPEN {
                    self.close_oldest()?;
                }
                let file = self.begin_file(hour)?;
                self.open.push_back((hour, file));
            }
        }
        match self.open.back_mut() {
            Some((_, file)) => Ok(file),
            None => Err(ExportError::Exists(self.node.clone())),
        }
    }

    fn begin_file(&mut self, hour: i64) -> Result<Parquet, ExportError> {
        let time = jiff::Timestamp::from_nanosecond(i128::from(hour) * i128::from(HOUR));
        let time = time.unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
        let directory = self.node.join(time.strftime("date=%Y-%m-%d/hour=%H").to_string());
        make(&directory)?;
        let path = directory.join(format!("{}-{}.parquet", self.prefix, self.files));
        self.files += 1;
        Parquet::create(&path)
    }

    fn close_oldest(&mut self) -> Result<(), ExportError> {
        let Some((_, file)) = self.open.pop_front() else { return Ok(()) };
        self.closed.extend(file.close()?);
        Ok(())
    }
}

impl Rows for Partitioned {
    fn begin(&mut self, header: &Header) -> Result<(), ExportError> {
        while !self.open.is_empty() {
            self.close_oldest()?;
        }
        self.node = self.directory.join(format!("node={}", partition(&header.host)));
        // A run's files may be exported one by one, and share an hour.
        self.prefix = format!("{:016x}-{:04}", header.run, header.sequence);
        self.files = 0;
        Ok(())
    }

    fn row(&mut self, row: &Record<'_>) -> Result<(), ExportError> {
        let hour = match row.get(Column::Time) {
            Some(Value::Time(time)) => nanoseconds(*time).div_euclid(HOUR),
            _ => 0,
        };
        self.file(hour)?.add(row)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        while !self.open.is_empty() {
            self.close_oldest()?;
        }
        self.closed.into_iter().try_for_each(Names::complete)
    }
}

/// Since 1970, as far as 64 bits reach.
fn nanoseconds(time: jiff::Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn make(directory: &Path) -> Result<(), ExportError> {
    fs::create_dir_all(directory)
        .map_err(|source| ExportError::Write { path: directory.to_owned(), source })
}

/// A name that can be a directory's, and that readers do not take for anything else.
fn partition(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    if name.is_empty() { "unknown".to_owned() } else { name.chars().map(safe).collect() }
}

/// Gathers a column.
enum Builder {
    Time(TimestampNanosecondBuilder),
    Bool(BooleanBuilder),
    I32(Int32Builder),
    U32(UInt32Builder),
    U64(UInt64Builder),
    F64(Float64Builder),
    Text(StringBuilder),
}

impl Builder {
    fn new(kind: Type) -> Self {
        match kind {
            Type::Time => {
                Self::Time(TimestampNanosecondBuilder::with_capacity(BATCH).with_timezone("UTC"))
            }
            Type::Bool => Self::Bool(BooleanBuilder::with_capacity(BATCH)),
            Type::I32 => Self::I32(Int32Builder::with_capacity(BATCH)),
            Type::U32 => Self::U32(UInt32Builder::with_capacity(BATCH)),
            Type::U64 => Self::U64(UInt64Builder::with_capacity(BATCH)),
            Type::F64 => Self::F64(Float64Builder::with_capacity(BATCH)),
            Type::Text | Type::Names | Type::Numbers | Type::Object | Type::Objects => {
                Self::Text(StringBuilder::with_capacity(BATCH, BATCH))
            }
        }
    }

    fn add(&mut self, value: Option<&Value<'_>>) {
        match (self, value) {
            (Self::Time(it), Some(Value::Time(time))) => it.append_value(nanoseconds(*time)),
            (Self::Bool(it), Some(Value::Bool(value))) => it.append_value(*value),
            (Self::I32(it), Some(Value::I32(value))) => it.append_value(*value),
            (Self::U32(it), Some(Value::U32(value))) => it.append_value(*value),
            (Self::U64(it), Some(Value::U64(value))) => it.append_value(*value),
            (Self::F64(it), Some(Value::F64(value))) => it.append_value(*value),
            (Self::Text(it), Some(Value::Text(value))) => it.append_value(value),
            (Self::Text(it), Some(Value::Names(names))) if !names.is_empty() => {
                it.append_value(names.join(","));
            }
            (Self::Time(it), _) => it.append_null(),
            (Self::Bool(it), _) => it.append_null(),
            (Self::I32(it), _) => it.append_null(),
            (Self::U32(it), _) => it.append_null(),
            (Self::U64(it), _) => it.append_null(),
            (Self::F64(it), _) => it.append_null(),
            (Self::Text(it), _) => it.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Time(it) => Arc::new(it.finish()),
            Self::Bool(it) => Arc::new(it.finish()),
            Self::I32(it) => Arc::new(it.finish()),
            Self::U32(it) => Arc::new(it.finish()),
            Self::U64(it) => Arc::new(it.finish()),
            Self::F64(it) => Arc::new(it.finish()),
            Self::Text(it) => Arc::new(it.finish()),
        }
    }
}
