//! Owns the CUDA kernels as a C++ program of this processor: its building, its buffers, its calls.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use candle_core::{DType, Tensor};
use half::{bf16, f16};
use shared::nn::cuda::SOURCE;
use shared::nn::cuda::call::{Argument, Call};

/// Values as the kernels see them: in order, little-endian.
#[derive(Clone)]
pub(super) struct Values {
    kind: DType,
    bytes: Vec<u8>,
}

impl Values {
    pub(super) fn of(tensor: &Tensor, kind: DType) -> Self {
        let tensor = tensor.flatten_all().unwrap().to_dtype(kind).unwrap();
        let bytes = match kind {
            DType::F16 => flat(&tensor.to_vec1::<f16>().unwrap(), |x| x.to_le_bytes()),
            DType::BF16 => flat(&tensor.to_vec1::<bf16>().unwrap(), |x| x.to_le_bytes()),
            _ => flat(&tensor.to_vec1::<f32>().unwrap(), |x| x.to_le_bytes()),
        };
        Self { kind, bytes }
    }

    /// Room for results, filled with what is no number.
    pub(super) fn room(kind: DType, values: usize) -> Self {
        let bytes = vec![0xff; values * kind.size_in_bytes()];
        Self { kind, bytes }
    }

    pub(super) fn read(&self) -> Vec<f32> {
        let bytes = self.bytes.chunks(self.kind.size_in_bytes());
        let one = |x: &[u8]| match self.kind {
            DType::F16 => f16::from_le_bytes(x.try_into().unwrap()).to_f32(),
            DType::BF16 => bf16::from_le_bytes(x.try_into().unwrap()).to_f32(),
            DType::F64 => f64::from_le_bytes(x.try_into().unwrap()) as f32,
            _ => f32::from_le_bytes(x.try_into().unwrap()),
        };
        bytes.map(one).collect()
    }

    fn code(&self) -> u8 {
        match self.kind {
            DType::F16 => b'h',
            DType::BF16 => b'b',
            DType::F64 => b'd',
            _ => b'f',
        }
    }
}

fn flat<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|value| bytes(*value)).collect()
}

/// The kernels as a program.
pub(super) struct Kernels {
    folder: tempfile::TempDir,
}

impl Kernels {
    /// None where there is no C++ compiler.
    pub(super) fn build() -> Option<Self> {
        let compilers = ["c++", "g++", "clang++"];
        let works = |name: &&&str| {
            let asked = Command::new(name).arg("--version").output();
            asked.is_ok_and(|output| output.status.success())
        };
        let Some(compiler) = compilers.iter().find(works) else {
            // Past the test's captured output, so that it is seen.
            let why = format!("CUDA kernels not tested for want of a C++ compiler: {compilers:?}");
            let mut terminal = std::io::stderr();
            writeln!(terminal, "{why}").unwrap();
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("kernels.cpp");
        let entries: Vec<String> = names()
            .iter()
            .map(|name| format!("    {{\"{name}\", [] {{ call({name}); }}}},\n"))
            .collect();
        let text = [
            include_str!("shim.h"),
            SOURCE,
            include_str!("driver.h"),
            &format!("const Entry TABLE[] = {{\n{}}};\n", entries.concat()),
            &format!("const unsigned ENTRIES = {};\n", entries.len()),
        ];
        std::fs::write(&source, text.concat()).unwrap();
        let kernels = Self { folder };
        let compiled = Command::new(compiler)
            .args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&kernels.program(), &source])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{compiler}: {said}");
        Some(kernels)
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("kernels")
    }

    /// Makes a call; what it writes is in its arguments after that. The error is what the program says.
    pub(super) fn try_run(&self, mut call: Call<&Values, &mut Values>) -> Result<(), String> {
        let mut program = Command::new(self.program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = program.stdin.take().unwrap();
        // A program that gives up does not read on; what it says is below.
        let _ = input.write_all(&encoded(&call));
        drop(input);
        let output = program.wait_with_output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut written = output.stdout.as_slice();
        for argument in &mut call.arguments {
            if let Argument::Write { buffer, .. } = argument {
                let (own, rest) = written.split_at(buffer.bytes.len());
                buffer.bytes.copy_from_slice(own);
                written = rest;
            }
        }
        assert!(written.is_empty());
        Ok(())
    }

    pub(super) fn run(&self, call: Call<&Values, &mut Values>) {
        self.try_run(call).unwrap();
    }
}

/// A call as the program reads it.
fn encoded(call: &Call<&Values, &mut Values>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |value: usize| bytes.extend((value as u32).to_le_bytes());
    put(call.kernel.len());
    bytes.extend(call.kernel.as_bytes());
    let mut put = |value: u32| bytes.extend(value.to_le_bytes());
    call.grid.into_iter().chain(call.block).for_each(&mut put);
    put(call.arguments.len() as u32);
    for argument in &call.arguments {
        let mut buffer = |access: u8, buffer: &Values, values: usize| {
            assert_eq!(
                values * buffer.kind.size_in_bytes(),
                buffer.bytes.len(),
                "{}",
                call.kernel
            );
            bytes.extend([access, buffer.code()]);
            bytes.extend((values as u64).to_le_bytes());
            bytes.extend(&buffer.bytes);
        };
        match argument {
            Argument::Read { buffer: b, values } => buffer(b'r', b, *values),
            Argument::Write { buffer: b, values } => buffer(b'w', b, *values),
            Argument::Size(size) => {
                bytes.push(b'u');
                bytes.extend(size.to_le_bytes());
            }
            Argument::Count(count) => {
                bytes.push(b'q');
                bytes.extend(count.to_le_bytes());
            }
            Argument::Number(number) => {
                bytes.push(b'n');
                bytes.extend(number.to_le_bytes());
            }
        }
    }
    bytes
}

/// All kernels that calls name.
pub(super) fn names() -> Vec<String> {
    let mut names: Vec<String> = ["layer_norm_total", "adamw", "squares"]
        .map(String::from)
        .into();
    for kind in ["f32", "f16", "bf16"] {
        for root in [
            "layer_norm_statistics",
            "layer_norm_columns",
            "softmax",
            "softmax_backward",
            "quick_gelu",
            "quick_gelu_backward",
        ] {
            names.push(format!("{root}_{kind}"));
        }
        for root in ["layer_norm", "layer_norm_backward"] {
            names.push(format!("{root}_{kind}_f32"));
            if kind != "f32" {
                names.push(format!("{root}_{kind}_{kind}"));
            }
        }
    }
    names
}
