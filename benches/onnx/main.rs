//! The interpreter of ONNX graphs against ONNX Runtime, on the CPU: time per batch, load time, peak memory.
//!
//! ```text
//! python tests/onnx/export.py --bench MODELS
//! EKIDEN_PYTHON=venv/bin/python cargo bench --bench onnx -- MODELS [--markdown FILE] [--quick]
//! ```
//! Each case runs in processes of its own, one after the other, Ekiden's and ONNX Runtime's by turns: what else the machine
//! does meets both. The figures are the least of three processes, each the median of its runs.

#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot be run says so and ends")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ekiden::Runner;
use ekiden::runner::{Onnx, OnnxParams};
use ekiden::value::{Array, DType, Shape};
use serde::{Deserialize, Serialize};

const ROWS: [usize; 3] = [1, 8, 64];
const THREADS: [usize; 2] = [1, 2];
const TURNS: usize = 3;

/// What one process has measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Figures {
    load_ms: f64,
    batch_ms: f64,
    peak_mb: f64,
}

impl Figures {
    fn least(self, other: Self) -> Self {
        Self {
            load_ms: self.load_ms.min(other.load_ms),
            batch_ms: self.batch_ms.min(other.batch_ms),
            peak_mb: self.peak_mb.min(other.peak_mb),
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--one", model, rows, threads, seconds] => {
            let number = |text: &str| text.parse::<f64>().expect("a number");
            one(Path::new(model), number(rows) as usize, number(threads) as usize, number(seconds));
        }
        [] => {
            println!("give it the folder that `tests/onnx/export.py --bench FOLDER` has written");
        }
        [models, options @ ..] => {
            let markdown = options.iter().position(|option| *option == "--markdown").and_then(|at| options.get(at + 1));
            compare(Path::new(models), markdown.map(Path::new), options.contains(&"--quick"));
        }
    }
}

/// Runs Ekiden's side of one case, and prints what it has measured.
fn one(model: &Path, rows: usize, threads: usize, seconds: f64) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let figures = pool.install(|| {
        let started = Instant::now();
        let runner = Runner::<Onnx>::new(OnnxParams::default()).model(model.to_string_lossy()).init_local();
        let runner = runner.expect("the model");
        let load_ms = started.elapsed().as_secs_f64() * 1e3;
        let predict = runner.method("predict").expect("there is a method");
        let inputs = inputs(model, rows);
        let run = || -> Duration {
            let started = Instant::now();
            let inputs = inputs.clone();
            let outcome = match <[Array; 1]>::try_from(inputs) {
                Ok([only]) => predict.run::<_, Array>(only).map(drop),
                Err(inputs) => match <[Array; 2]>::try_from(inputs) {
                    Ok([a, b]) => predict.run::<_, Array>((a, b)).map(drop),
                    Err(_) => panic!("models of one or two inputs"),
                },
            };
            outcome.expect("an answer");
            started.elapsed()
        };
        Figures { load_ms, batch_ms: median(run, seconds), peak_mb: peak_mb() }
    });
    println!("{}", serde_json::to_string(&figures).expect("JSON"));
}

/// The median of as many runs as fit into the time, five at least, after one that warms up.
fn median(run: impl Fn() -> Duration, seconds: f64) -> f64 {
    run();
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || started.elapsed().as_secs_f64() < seconds {
        times.push(run().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The most memory that this process has had, in MB.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e3
}

/// The same inputs as the other side's: what their values are does not matter for the time.
fn inputs(model: &Path, rows: usize) -> Vec<Array> {
    let about = model.with_file_name("inputs.json");
    let about: Vec<(String, Vec<usize>)> =
        serde_json::from_slice(&std::fs::read(about).expect("inputs.json")).expect("a list of dtypes and shapes");
    let array = |(dtype, row): (String, Vec<usize>)| {
        let dims: Vec<usize> = std::iter::once(rows).chain(row).collect();
        let count: usize = dims.iter().product();
        let dtype = DType::ALL.into_iter().find(|known| known.name() == dtype).expect("a dtype");
        match dtype {
            DType::F32 => {
                let wave = (0..count).map(|at| ((at as f32) * 0.37).sin()).collect();
                Array::new::<f32>(wave, Shape::new(&dims))
            }
            _ => Array::new::<i64>(vec![1; count], Shape::new(&dims)),
        }
    };
    about.into_iter().map(array).map(|array| array.expect("it fits")).collect()
}

fn compare(models: &Path, markdown: Option<&Path>, quick: bool) {
    let python = std::env::var("EKIDEN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/onnx/onnx_runtime.py");
    let own = std::env::current_exe().expect("this program");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(models).expect("the folder of models").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    let mut table = String::from(
        "| model | rows | threads | Ekiden ms | ONNX Runtime ms | ratio | load ms, Ekiden | ONNX Runtime | peak MB, Ekiden | ONNX Runtime |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    print!("{table}");
    let seconds = if quick { "0.3" } else { "2" };
    for folder in folders {
        let model = folder.join("model.onnx");
        for (rows, threads) in ROWS.into_iter().flat_map(|rows| THREADS.map(|threads| (rows, threads))) {
            let [rows, threads] = [rows.to_string(), threads.to_string()];
            let mut best: [Option<Figures>; 2] = [None; 2];
            for _ in 0..if quick { 1 } else { TURNS } {
                for (side, best) in best.iter_mut().enumerate() {
                    let mut command = if side == 0 { Command::new(&own) } else { Command::new(&python) };
                    if side == 0 {
                        command.arg("--one");
                    } else {
                        command.arg(&script);
                    }
                    let output = command.arg(&model).args([&rows, &threads, seconds]).output().expect("a process");
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    let figures = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
                    let problem = || panic!("{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
                    let figures: Figures = figures.unwrap_or_else(problem);
                    *best = Some(best.map_or(figures, |best| best.least(figures)));
                }
            }
            let [Some(ekiden), Some(other)] = best else { continue };
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut row = String::new();
            let _ = writeln!(
                row,
                "| {name} | {rows} | {threads} | {:.3} | {:.3} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} |",
                ekiden.batch_ms,
                other.batch_ms,
                ekiden.batch_ms / other.batch_ms,
                ekiden.load_ms,
                other.load_ms,
                ekiden.peak_mb,
                other.peak_mb
            );
            print!("{row}");
            table.push_str(&row);
        }
    }
    if let Some(file) = markdown {
        std::fs::write(file, table).expect("the table is written");
    }
}
