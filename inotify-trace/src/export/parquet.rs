//! Parquet: one file, or one for each node and hour in directories as Hive names them.

mod columns;

use std::{
    collections::VecDeque,
    fs, io, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::Encoding,
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};

use self::columns::{Packer, RowGroup};
use super::{
    Existing, ExportError, Output, Rows,
    file::{PartialFile, remove_abandoned},
};
use crate::{
    output::{Field, Record, Value},
    recording::Header,
};

/// The most rows of a row group, which is gathered in memory before it is written. It is written earlier
/// if its texts take too much (`columns::TEXTS`).
const ROW_GROUP: usize = 64 << 10;

/// The most row groups of a file: what the file's end says of each stays in memory until then. The same
/// hour goes on in another file.
const GROUPS: usize = 64;

/// The most rows of a page. Each of its values takes eight bytes until the page is packed.
const PAGE: usize = 8 << 10;

/// Bytes of a page, and of a column's dictionary. A column with more different values goes on without a
/// dictionary, which is most of what an open row group takes: repeated values are packed well all the same.
const PAGE_BYTES: usize = 256 << 10;

/// Columns whose values hardly ever repeat, and mostly rise a little: their differences are small.
/// The values of all other columns repeat, and are written as references to a dictionary.
const RISING: [Field; 4] = [Field::Time, Field::BootNs, Field::Instance, Field::Since];

/// The number of partitions that are open at once: events come almost in order, so that only the
/// hour before may still get rows.
const OPEN: usize = 2;

/// Nanoseconds of an hour.
const HOUR: i64 = 3_600_000_000_000;

/// Writes one Parquet file.
pub struct Parquet {
    /// The path of the file, for errors.
    path: PathBuf,
    writer: SerializedFileWriter<Output>,
    packer: Packer,
    group: RowGroup,
    /// How many row groups are written.
    groups: usize,
}

impl Parquet {
    /// Begins a file.
    ///
    /// # Errors
    /// If it exists, or cannot be written.
    pub fn create(path: &Path, existing: Existing) -> Result<Self, ExportError> {
        let output = Output::create(path, existing)?;
        let mut properties = WriterProperties::builder()
            .set_data_page_row_count_limit(PAGE)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_dictionary_page_size_limit(PAGE_BYTES)
            // Those of each page would stay in memory until the file is complete.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("inotify-trace ", env!("CARGO_PKG_VERSION")).to_owned());
        for column in RISING {
            let name = ColumnPath::from(column.name());
            properties = properties
                .set_column_dictionary_enabled(name.clone(), false)
                .set_column_encoding(name, Encoding::DELTA_BINARY_PACKED);
        }
        let properties = Arc::new(properties.build());
        let writer = columns::schema()
            .and_then(|schema| SerializedFileWriter::new(output, schema, properties))
            .map_err(|error| failed(path, error))?;
        let path = path.to_owned();
        let packer =
            Packer::new().map_err(|cause| ExportError::Write { path: path.clone(), cause })?;
        let group = RowGroup::new(writer.schema_descr(), writer.properties(), &packer);
        Ok(Self { path, writer, packer, group, groups: 0 })
    }

    fn add(&mut self, row: &Record<'_>) -> Result<(), ExportError> {
        self.group.add(row).map_err(|error| failed(&self.path, error))?;
        let is_full = self.group.rows() >= ROW_GROUP || self.group.is_large();
        if is_full { self.write_group() } else { Ok(()) }
    }

    /// Whether further rows belong into another file.
    fn is_full(&self) -> bool {
        self.groups >= GROUPS
    }

    fn write_group(&mut self) -> Result<(), ExportError> {
        let (schema, properties) = (self.writer.schema_descr(), self.writer.properties());
        let next = RowGroup::new(schema, properties, &self.packer);
        let full = mem::replace(&mut self.group, next);
        self.groups += 1;
        full.write_to(&mut self.writer).map_err(|error| failed(&self.path, error))
    }

    /// Writes the remaining rows. The file has yet to be renamed.
    fn close(mut self) -> Result<Option<PartialFile>, ExportError> {
        if self.group.rows() > 0 {
            self.write_group()?;
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
        self.close()?.map_or(Ok(()), PartialFile::complete)
    }
}

/// The error, without the words that libraries put around it.
fn failed(path: &Path, error: ParquetError) -> ExportError {
    let cause = match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    };
    ExportError::Write { path: path.to_owned(), cause }
}

/// Writes Parquet files below a directory: `node=NODE/date=YYYY-MM-DD/hour=HH/RUN-SEQUENCE-N.parquet`, in
/// UTC. They get their names together at the end.
pub struct Partitioned {
    directory: PathBuf,
    /// What happens to files of the same names.
    existing: Existing,
    /// The directory of the run's node.
    node: PathBuf,
    /// The beginning of the names of the run's files.
    prefix: String,
    /// The number of the run's files.
    files: u32,
    /// The open files by hours since 1970; the one used last comes last.
    open: VecDeque<(i64, Parquet)>,
    closed: Vec<PartialFile>,
}

impl Partitioned {
    /// Below a directory, which may exist.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(directory: &Path, existing: Existing) -> Result<Self, ExportError> {
        make(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            existing,
            node: PathBuf::new(),
            prefix: String::new(),
            files: 0,
            open: VecDeque::new(),
            closed: Vec::new(),
        })
    }

    /// Removes the incomplete files of a node whose writers were killed.
    pub fn remove_abandoned(directory: &Path, header: &Header) {
        let below = |directory: &Path| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let days = below(&node(directory, &header.host));
        days.iter().flat_map(|day| below(day)).for_each(|hour| remove_abandoned(&hour));
    }

    /// The file for an hour.
    fn file(&mut self, hour: i64) -> Result<&mut Parquet, ExportError> {
        let at = self.open.iter().position(|(its, _)| *its == hour);
        match at.and_then(|at| self.open.remove(at)) {
            Some((_, full)) if full.is_full() => {
                self.closed.extend(full.close()?);
                let file = self.begin_file(hour)?;
                self.open.push_back((hour, file));
            }
            Some(file) => self.open.push_back(file),
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
        Parquet::create(&path, self.existing)
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
        self.node = node(&self.directory, &header.host);
        // A run's files may be exported one by one, and share an hour.
        self.prefix = format!("{:016x}-{:04}", header.run, header.sequence);
        self.files = 0;
        Ok(())
    }

    fn row(&mut self, row: &Record<'_>) -> Result<(), ExportError> {
        let hour = match row.get(Field::Time) {
            Some(Value::Time(time)) => nanoseconds(*time).div_euclid(HOUR),
            _ => 0,
        };
        self.file(hour)?.add(row)
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        while !self.open.is_empty() {
            self.close_oldest()?;
        }
        self.closed.into_iter().try_for_each(PartialFile::complete)
    }
}

/// The directory of a node.
fn node(directory: &Path, host: &str) -> PathBuf {
    directory.join(format!("node={}", partition(host)))
}

/// Since 1970, as far as 64 bits reach.
fn nanoseconds(time: jiff::Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn make(directory: &Path) -> Result<(), ExportError> {
    fs::create_dir_all(directory)
        .map_err(|cause| ExportError::Write { path: directory.to_owned(), cause })
}

/// A name that can be a directory's, and that readers do not take for anything else.
fn partition(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    if name.is_empty() { "unknown".to_owned() } else { name.chars().map(safe).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: String) -> Record<'static> {
        [(Field::Path, Value::Text(path.into()))].into_iter().collect()
    }

    #[test]
    fn a_row_group_of_different_long_texts_is_written_early() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.parquet");
        let mut file = Parquet::create(&path, Existing::Kept).unwrap();
        (0..1000).for_each(|number| file.add(&row(format!("{number:065535}"))).unwrap());
        assert_eq!((file.groups, file.group.rows()), (3, 1000 - 3 * 256));
        // The same text again takes nothing.
        (0..1000).for_each(|_| file.add(&row("x".repeat(1 << 16))).unwrap());
        assert_eq!(file.groups, 3);
    }

    #[test]
    fn what_is_packed_here_is_read_by_others() {
        use parquet::{
            basic::Compression,
            file::reader::{FileReader as _, SerializedFileReader},
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.parquet");
        let mut file = Parquet::create(&path, Existing::Kept).unwrap();
        // Enough for several pages, and for more than a dictionary holds.
        let text =
            |number: usize| format!("/srv/{}", "x".repeat(number % 100) + &number.to_string());
        let rows = 3 * PAGE;
        (0..rows).for_each(|number| file.add(&row(text(number))).unwrap());
        Box::new(file).finish().unwrap();
        let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
        let columns = reader.metadata().row_group(0).columns();
        assert!(columns.iter().all(|it| matches!(it.compression(), Compression::ZSTD(_))));
        let read = reader.get_row_iter(None).unwrap().map(Result::unwrap);
        let paths: Vec<_> = read
            .map(|row| {
                let mut columns = row.get_column_iter();
                let (_, path) = columns.find(|(name, _)| *name == "path").unwrap();
                path.to_string()
            })
            .collect();
        assert_eq!(
            paths,
            (0..rows).map(|number| format!("{:?}", text(number))).collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_hour_with_more_row_groups_than_a_file_may_have_goes_on_in_another() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Partitioned::create(directory.path(), Existing::Kept).unwrap();
        files.begin(&Header { host: "n1".to_owned(), run: 7, ..Header::default() }).unwrap();
        for _ in 0..3 {
            files.row(&row("x".to_owned())).unwrap();
            files.file(0).unwrap().groups = GROUPS;
        }
        Box::new(files).finish().unwrap();
        let hour = directory.path().join("node=n1/date=1970-01-01/hour=00");
        let name = |it: io::Result<fs::DirEntry>| it.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(hour).unwrap().map(name).collect();
        names.sort();
        assert_eq!(names, [0, 1, 2].map(|it| format!("0000000000000007-0000-{it}.parquet")));
    }
}
