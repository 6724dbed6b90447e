//! Owns the calls of the kernels: names, arguments in the kernels' order, and how many threads. Knows no device.

use candle_core::{DType, Result, bail};

/// Lanes of a warp: a row's threads.
const WARP: u32 = 32;
/// Rows of a block.
const ROWS: u32 = 4;
/// Warps of a block that sums columns, as `COLUMN_WARPS` in norm.cu.
const COLUMN_WARPS: u32 = 8;
/// Parts of the sums over columns, at most: enough blocks for a GPU, few enough to be added up by one thread.
const PARTS: usize = 256;
/// Threads of a block of single values, as `SQUARE_THREADS` in adamw.cu.
const THREADS: u32 = 256;
/// Blocks for single values, at most; their threads take several.
const BLOCKS: usize = 4096;
/// Blocks, and so partial sums, for the squares of one tensor, at most.
const SQUARE_BLOCKS: usize = 64;

/// What a kernel is given; `values` are those it may touch, from the buffer's start on.
#[derive(Debug)]
pub enum Argument<R, W> {
    /// Values to read.
    Read {
        /// Where they lie.
        buffer: R,
        /// How many.
        values: usize,
    },
    /// Values to write, or to change.
    Write {
        /// Where they lie.
        buffer: W,
        /// How many.
        values: usize,
    },
    /// `unsigned`.
    Size(u32),
    /// `unsigned long long`.
    Count(u64),
    /// `float`.
    Number(f32),
}

/// One start of a kernel.
#[derive(Debug)]
pub struct Call<R, W> {
    /// The kernel's name in the source.
    pub kernel: String,
    /// Blocks, in x and y.
    pub grid: [u32; 2],
    /// Threads of a block, in x and y.
    pub block: [u32; 2],
    /// In the order of the kernel's.
    pub arguments: Vec<Argument<R, W>>,
}

/// Rows of a tensor: all dimensions but the last, and the last.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// How many.
    pub count: usize,
    /// Values of each.
    pub width: usize,
}

/// Which keys the queries see.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Queries of a head.
    pub queries: usize,
    /// Keys of a head.
    pub keys: usize,
    /// Keys that the first query sees; each further query sees one more, while there are any.
    pub first: usize,
}

/// The figures of one step of AdamW or Adam: see `trainer`.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Factor of the gradient.
    pub scale: f32,
    /// Decay in the gradient.
    pub pull: f32,
    /// What stays of both moments.
    pub beta: [f32; 2],
    /// What is new in both moments.
    pub rest: [f32; 2],
    /// Factor of the step.
    pub size: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decay of the value after the step.
    pub shrink: f32,
}

/// y = the normalised x * weight + bias: x and y of type `own`, weight and bias of type `weights`.
///
/// # Errors
/// If there is no kernel for the types, or there are too many rows.
pub fn layer_norm<R, W>(
    [own, weights]: [DType; 2],
    rows: Rows,
    eps: f32,
    [x, weight, bias]: [R; 3],
    y: W,
) -> Result<Call<R, W>> {
    let kernel = format!("layer_norm_{}_{}", name(own)?, name(weights)?);
    let arguments = vec![
        read(x, rows.values()),
        read(weight, rows.width),
        read(bias, rows.width),
        write(y, rows.values()),
        size(rows.count)?,
        size(rows.width)?,
        Argument::Number(eps),
    ];
    by_row(kernel, rows.count, arguments)
}

/// dx = the gradient of [`layer_norm`] by x.
///
/// # Errors
/// As [`layer_norm`].
pub fn layer_norm_backward<R, W>(
    [own, weights]: [DType; 2],
    rows: Rows,
    eps: f32,
    [x, weight, gradient]: [R; 3],
    dx: W,
) -> Result<Call<R, W>> {
    let kernel = format!("layer_norm_backward_{}_{}", name(own)?, name(weights)?);
    let arguments = vec![
        read(x, rows.values()),
        read(weight, rows.width),
        read(gradient, rows.values()),
        write(dx, rows.values()),
        size(rows.count)?,
        size(rows.width)?,
        Argument::Number(eps),
    ];
    by_row(kernel, rows.count, arguments)
}

/// Mean and inverse deviation of each row, [rows, 2] in f32.
///
/// # Errors
/// As [`layer_norm`].
pub fn layer_norm_statistics<R, W>(
    own: DType,
    rows: Rows,
    eps: f32,
    x: R,
    found: W,
) -> Result<Call<R, W>> {
    let arguments = vec![
        read(x, rows.values()),
        write(found, 2 * rows.count),
        size(rows.count)?,
        size(rows.width)?,
        Argument::Number(eps),
    ];
    let kernel = format!("layer_norm_statistics_{}", name(own)?);
    by_row(kernel, rows.count, arguments)
}

/// How many parts [`layer_norm_columns`] makes.
pub fn layer_norm_parts(rows: Rows) -> usize {
    rows.count.div_ceil(span(rows)).max(1)
}

/// Parts of the gradients by weight and bias, [parts, 2, width] in f32, each of some rows.
///
/// # Errors
/// As [`layer_norm`].
pub fn layer_norm_columns<R, W>(
    own: DType,
    rows: Rows,
    [x, found, gradient]: [R; 3],
    parts: W,
) -> Result<Call<R, W>> {
    let count = layer_norm_parts(rows);
    Ok(Call {
        kernel: format!("layer_norm_columns_{}", name(own)?),
        grid: [u32_of(rows.width)?.div_ceil(WARP).max(1), u32_of(count)?],
        block: [WARP, COLUMN_WARPS],
        arguments: vec![
            read(x, rows.values()),
            read(found, 2 * rows.count),
            read(gradient, rows.values()),
            write(parts, 2 * count * rows.width),
            size(rows.count)?,
            size(rows.width)?,
            size(span(rows))?,
        ],
    })
}

/// The gradients by weight and bias, [2, width] in f32, from the parts.
///
/// # Errors
/// As [`layer_norm`].
pub fn layer_norm_total<R, W>(rows: Rows, parts: R, total: W) -> Result<Call<R, W>> {
    let count = layer_norm_parts(rows);
    let arguments = vec![
        read(parts, 2 * count * rows.width),
        write(total, 2 * rows.width),
        size(count)?,
        size(rows.width)?,
    ];
    let blocks = blocks(2 * rows.width, BLOCKS);
    Ok(by_value("layer_norm_total".into(), blocks, arguments))
}

/// softmax(scale * scores), in place: `count` scores [.., queries, keys].
///
/// # Errors
/// As [`layer_norm`].
pub fn softmax<R, W>(
    own: DType,
    count: usize,
    sight: Sight,
    scale: f32,
    scores: W,
) -> Result<Call<R, W>> {
    let rows = count / sight.keys.max(1);
    let arguments = vec![
        write(scores, count),
        size(rows)?,
        size(sight.queries)?,
        size(sight.keys)?,
        size(sight.first)?,
        Argument::Number(scale),
    ];
    by_row(format!("softmax_{}", name(own)?), rows, arguments)
}

/// The gradient of [`softmax`] by the scores, in place of that by the weights, which are its result.
///
/// # Errors
/// As [`layer_norm`].
pub fn softmax_backward<R, W>(
    own: DType,
    rows: Rows,
    scale: f32,
    weights: R,
    gradient: W,
) -> Result<Call<R, W>> {
    let arguments = vec![
        read(weights, rows.values()),
        write(gradient, rows.values()),
        size(rows.count)?,
        size(rows.width)?,
        Argument::Number(scale),
    ];
    let kernel = format!("softmax_backward_{}", name(own)?);
    by_row(kernel, rows.count, arguments)
}

/// y = x * sigmoid(1.702 x).
///
/// # Errors
/// As [`layer_norm`].
pub fn quick_gelu<R, W>(own: DType, count: usize, x: R, y: W) -> Result<Call<R, W>> {
    let arguments = vec![
        read(x, count),
        write(y, count),
        Argument::Count(count as u64),
    ];
    let kernel = format!("quick_gelu_{}", name(own)?);
    Ok(by_value(kernel, blocks(count, BLOCKS), arguments))
}

/// dx = the gradient of [`quick_gelu`] by x.
///
/// # Errors
/// As [`layer_norm`].
pub fn quick_gelu_backward<R, W>(
    own: DType,
    count: usize,
    [x, gradient]: [R; 2],
    dx: W,
) -> Result<Call<R, W>> {
    let arguments = vec![
        read(x, count),
        read(gradient, count),
        write(dx, count),
        Argument::Count(count as u64),
    ];
    let kernel = format!("quick_gelu_backward_{}", name(own)?);
    Ok(by_value(kernel, blocks(count, BLOCKS), arguments))
}

/// One step of the optimiser on values and both moments, all in f32.
pub fn adamw<R, W>(
    count: usize,
    step: &Step,
    [values, first, second]: [W; 3],
    gradient: R,
) -> Call<R, W> {
    let mut arguments = vec![
        write(values, count),
        read(gradient, count),
        write(first, count),
        write(second, count),
        Argument::Count(count as u64),
    ];
    let (beta, rest) = (step.beta, step.rest);
    let figures = [
        step.scale,
        step.pull,
        beta[0],
        beta[1],
        rest[0],
        rest[1],
        step.size,
        step.eps,
        step.shrink,
    ];
    arguments.extend(figures.map(Argument::Number));
    by_value("adamw".into(), blocks(count, BLOCKS), arguments)
}

/// How many partial sums [`squares`] makes.
pub fn square_parts(count: usize) -> usize {
    blocks(count, SQUARE_BLOCKS) as usize
}

/// Partial sums, in f64, of the squares of values in f32.
pub fn squares<R, W>(count: usize, x: R, sums: W) -> Call<R, W> {
    let parts = square_parts(count);
    let arguments = vec![
        read(x, count),
        write(sums, parts),
        Argument::Count(count as u64),
    ];
    by_value("squares".into(), parts as u32, arguments)
}

impl Rows {
    fn values(self) -> usize {
        self.count * self.width
    }
}

/// Rows of a part of the sums over columns.
fn span(rows: Rows) -> usize {
    rows.count.div_ceil(PARTS).max(8 * COLUMN_WARPS as usize)
}

fn by_row<R, W>(kernel: String, rows: usize, arguments: Vec<Argument<R, W>>) -> Result<Call<R, W>> {
    Ok(Call {
        kernel,
        grid: [u32_of(rows)?.div_ceil(ROWS).max(1), 1],
        block: [WARP, ROWS],
        arguments,
    })
}

fn by_value<R, W>(kernel: String, blocks: u32, arguments: Vec<Argument<R, W>>) -> Call<R, W> {
    Call {
        kernel,
        grid: [blocks, 1],
        block: [THREADS, 1],
        arguments,
    }
}

fn blocks(count: usize, most: usize) -> u32 {
    count.div_ceil(THREADS as usize).clamp(1, most) as u32
}

fn read<R, W>(buffer: R, values: usize) -> Argument<R, W> {
    Argument::Read { buffer, values }
}

fn write<R, W>(buffer: W, values: usize) -> Argument<R, W> {
    Argument::Write { buffer, values }
}

fn size<R, W>(size: usize) -> Result<Argument<R, W>> {
    Ok(Argument::Size(u32_of(size)?))
}

fn u32_of(size: usize) -> Result<u32> {
    match u32::try_from(size) {
        Ok(small) if size <= i32::MAX as usize => Ok(small),
        _ => bail!("{size} rows are too many for one call of a CUDA kernel; make batches smaller"),
    }
}

/// The type's name in the names of kernels.
fn name(kind: DType) -> Result<&'static str> {
    match kind {
        DType::F32 => Ok("f32"),
        DType::F16 => Ok("f16"),
        DType::BF16 => Ok("bf16"),
        other => bail!("there is no CUDA kernel for {other:?}; it can be f32, f16 or bf16"),
    }
}
