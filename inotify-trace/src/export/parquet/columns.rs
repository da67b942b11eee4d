//! Parquet's columns: their schema, and a row group of them, which is encoded in memory.
//!
//! The columns of a row group lie one after the other in a file, and rows come one after the other.
//! So each column is encoded and compressed into a buffer of its own, and goes to the file when the
//! row group is full.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel},
    column::{
        page::{CompressedPage, Page, PageWriteSpec, PageWriter},
        writer::{ColumnCloseResult, ColumnWriterImpl},
    },
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type},
    errors::Result,
    file::{
        properties::WriterPropertiesPtr,
        writer::{SerializedFileWriter, SerializedPageWriter, TrackedWrite},
    },
    schema::types::{ColumnDescPtr, SchemaDescriptor, Type as Schema, TypePtr},
};

use super::nanoseconds;
use crate::output::{Field, Record, Type, Value};

/// Values of a column that are encoded at once.
const BATCH: usize = 1 << 10;

/// The level of compression.
const LEVEL: i32 = 3;

/// The most bytes of texts that a row group is given, each with what a dictionary adds to it. Processes
/// choose how long texts are, and how many different ones there are.
const TEXTS: usize = 16 << 20;

/// What a dictionary adds to a text: its place in a list and in a table, and two allocations.
const ENTRY: usize = 128;

/// All columns, each of which may be null.
pub(super) fn schema() -> Result<TypePtr> {
    let field = |column: Field| {
        let (physical, logical) = match column.kind() {
            Type::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS))),
            Type::Bool => (Physical::BOOLEAN, None),
            Type::I32 => (Physical::INT32, None),
            Type::U32 => (Physical::INT32, Some(LogicalType::integer(32, false))),
            Type::U64 => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Type::F64 => (Physical::DOUBLE, None),
            // Several names are one text; no column has objects.
            Type::Text | Type::Names | Type::Numbers | Type::Object | Type::Objects => {
                (Physical::BYTE_ARRAY, Some(LogicalType::String))
            }
        };
        Schema::primitive_type_builder(column.name(), physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    };
    let fields = Field::columns().map(field).collect::<Result<_>>()?;
    Schema::group_type_builder("schema").with_fields(fields).build().map(Arc::new)
}

/// A row group that is not written yet.
pub(super) struct RowGroup {
    columns: Vec<Encoder>,
    rows: usize,
    /// At most the bytes of its texts: those that are repeated later count again.
    texts: usize,
}

impl RowGroup {
    /// An empty row group.
    pub(super) fn new(
        schema: &SchemaDescriptor,
        properties: &WriterPropertiesPtr,
        packer: &Packer,
    ) -> Self {
        let encoder = |(column, descriptor): (Field, &ColumnDescPtr)| {
            Encoder::new(column.kind(), descriptor, properties, packer)
        };
        let columns = Field::columns().zip(schema.columns()).map(encoder).collect();
        Self { columns, rows: 0, texts: 0 }
    }

    /// The number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether its texts take as much as they may.
    pub(super) fn is_large(&self) -> bool {
        self.texts >= TEXTS
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: &Record<'_>) -> Result<()> {
        for (column, value) in self.columns.iter_mut().zip(row.columns()) {
            self.texts += column.add(value)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes the row group to a file.
    pub(super) fn write_to(self, file: &mut SerializedFileWriter<impl Write + Send>) -> Result<()> {
        let mut group = file.next_row_group()?;
        for column in self.columns {
            let (chunk, closed) = column.close()?;
            group.append_column(&chunk, closed)?;
        }
        group.close().map(drop)
    }
}

/// Encodes a column.
enum Encoder {
    Bool(Values<BoolType>),
    I32(Values<Int32Type>),
    I64(Values<Int64Type>),
    F64(Values<DoubleType>),
    Text(Values<ByteArrayType>),
}

impl Encoder {
    fn new(
        kind: Type,
        column: &ColumnDescPtr,
        properties: &WriterPropertiesPtr,
        packer: &Packer,
    ) -> Self {
        match kind {
            Type::Bool => Self::Bool(Values::new(column, properties, packer)),
            Type::I32 | Type::U32 => Self::I32(Values::new(column, properties, packer)),
            Type::Time | Type::U64 => Self::I64(Values::new(column, properties, packer)),
            Type::F64 => Self::F64(Values::new(column, properties, packer)),
            Type::Text | Type::Names | Type::Numbers | Type::Object | Type::Objects => {
                Self::Text(Values::new(column, properties, packer))
            }
        }
    }

    /// Adds a value. Returns the bytes of a text, unless it is the one before.
    fn add(&mut self, value: Option<&Value<'_>>) -> Result<usize> {
        match (self, value) {
            (Self::Text(it), Some(Value::Text(value))) => return it.add_text(value),
            (Self::Text(it), Some(Value::Names(names))) if !names.is_empty() => {
                return it.add_text(&names.join(","));
            }
            (Self::Bool(it), Some(Value::Bool(value))) => it.add(*value),
            (Self::I32(it), Some(Value::I32(value))) => it.add(*value),
            // Parquet stores unsigned numbers as signed ones of the same bits.
            (Self::I32(it), Some(Value::U32(value))) => it.add(value.cast_signed()),
            (Self::I64(it), Some(Value::U64(value))) => it.add(value.cast_signed()),
            (Self::I64(it), Some(Value::Time(time))) => it.add(nanoseconds(*time)),
            (Self::F64(it), Some(Value::F64(value))) => it.add(*value),
            (Self::Bool(it), _) => it.add_null(),
            (Self::I32(it), _) => it.add_null(),
            (Self::I64(it), _) => it.add_null(),
            (Self::F64(it), _) => it.add_null(),
            (Self::Text(it), _) => it.add_null(),
        }
        .map(|()| 0)
    }

    /// The encoded column, and its entry in the file's metadata.
    fn close(self) -> Result<(Bytes, ColumnCloseResult)> {
        match self {
            Self::Bool(it) => it.close(),
            Self::I32(it) => it.close(),
            Self::I64(it) => it.close(),
            Self::F64(it) => it.close(),
            Self::Text(it) => it.close(),
        }
    }
}

/// Gathers a column's values until there are enough to be encoded.
struct Values<T: DataType> {
    /// The values that are not null.
    values: Vec<T::T>,
    /// 1 for each row that has a value, 0 for each that is null.
    levels: Vec<i16>,
    writer: ColumnWriterImpl<'static, T>,
    pages: Pages,
}

impl<T: DataType> Values<T> {
    fn new(column: &ColumnDescPtr, properties: &WriterPropertiesPtr, packer: &Packer) -> Self {
        let pages = Pages::new(packer.clone());
        let writer = Box::new(pages.clone());
        Self {
            values: Vec::new(),
            levels: Vec::new(),
            writer: ColumnWriterImpl::new(Arc::clone(column), Arc::clone(properties), writer),
            pages,
        }
    }

    fn add(&mut self, value: T::T) -> Result<()> {
        self.values.push(value);
        self.add_level(1)
    }

    fn add_null(&mut self) -> Result<()> {
        self.add_level(0)
    }

    fn add_level(&mut self, level: i16) -> Result<()> {
        self.levels.push(level);
        if self.levels.len() == BATCH { self.encode() } else { Ok(()) }
    }

    fn encode(&mut self) -> Result<()> {
        self.writer.write_batch(&self.values, Some(&self.levels), None)?;
        self.values.clear();
        self.levels.clear();
        Ok(())
    }

    fn close(mut self) -> Result<(Bytes, ColumnCloseResult)> {
        self.encode()?;
        let mut closed = self.writer.close()?;
        let level = ZstdLevel::try_new(LEVEL)?;
        let metadata = closed.metadata.into_builder().set_compression(Compression::ZSTD(level));
        closed.metadata = metadata.build()?;
        Ok((self.pages.into_bytes(), closed))
    }
}

impl Values<ByteArrayType> {
    /// Adds a text, and returns what it takes. Rows often have the same text as the row before: they share
    /// it.
    fn add_text(&mut self, text: &str) -> Result<usize> {
        let last = self.values.last().filter(|it| it.data() == text.as_bytes()).cloned();
        let taken = if last.is_some() { 0 } else { text.len() + ENTRY };
        self.add(last.unwrap_or_else(|| ByteArray::from(text)))?;
        Ok(taken)
    }
}

/// Packs pages, one after the other: a packer of each column's own would keep its work space, about a
/// megabyte, for as long as the column is open.
#[derive(Clone)]
pub(super) struct Packer(Arc<Mutex<zstd::bulk::Compressor<'static>>>);

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(zstd::bulk::Compressor::new(LEVEL)?))))
    }

    /// The same page, packed. Pages are of version 1, of which all is packed.
    fn pack(&self, plain: &CompressedPage) -> Result<CompressedPage> {
        let packed = lock(&self.0).compress(plain.data())?;
        let mut page = plain.compressed_page().clone();
        let (Page::DataPage { buf, .. }
        | Page::DataPageV2 { buf, .. }
        | Page::DictionaryPage { buf, .. }) = &mut page;
        *buf = packed.into();
        Ok(CompressedPage::new(page, plain.uncompressed_size()))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The packed pages of an encoded column, in memory. Its writer has one of two references.
#[derive(Clone)]
struct Pages {
    bytes: Arc<Mutex<TrackedWrite<Vec<u8>>>>,
    packer: Packer,
}

impl Pages {
    fn new(packer: Packer) -> Self {
        Self { bytes: Arc::new(Mutex::new(TrackedWrite::new(Vec::new()))), packer }
    }

    fn into_bytes(self) -> Bytes {
        mem::take(lock(&self.bytes).inner_mut()).into()
    }
}

impl PageWriter for Pages {
    fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
        let page = self.packer.pack(&page)?;
        SerializedPageWriter::new(&mut lock(&self.bytes)).write_page(page)
    }

    fn close(&mut self) -> Result<()> {
        SerializedPageWriter::new(&mut lock(&self.bytes)).close()
    }
}
