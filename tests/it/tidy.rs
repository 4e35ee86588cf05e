//! What the compiler does not check: who may name whom, where `cfg` stands, and how long a file is.
//!
//! The rules read source code as text, without its comments and its tests.

use std::fs;
use std::path::Path;

/// In files under these paths, these words do not occur.
struct Rule {
    paths: &'static [&'static str],
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        paths: &["actors/src/"],
        except: &[],
        words: &["burn", "actix_web", "ekiden::"],
        why: "the actors know neither tensors nor HTTP, so that they build in seconds and run under simulation",
    },
    Rule {
        paths: &["src/http/"],
        except: &[],
        words: &["burn", "crate::runner", "crate::app", "crate::device"],
        why: "HTTP sees values and actors; only the app sees both HTTP's side and the runnables'",
    },
    Rule {
        paths: &["src/service/", "src/dataframe/"],
        except: &[],
        words: &["burn", "crate::app", "crate::device", "crate::onnx"],
        why: "services stand on what HTTP stands on, and on the handles of methods",
    },
    Rule {
        paths: &["src/value/", "src/codec/", "src/config/", "src/serving/", "src/metrics.rs", "src/models/"],
        except: &[],
        words: &["burn", "actix", "crate::app", "crate::http", "crate::runner"],
        why: "what both sides stand on knows neither",
    },
    Rule {
        paths: &["src/value/", "src/codec/", "src/serving/", "src/metrics.rs", "src/models/"],
        except: &[],
        words: &["crate::device"],
        why: "only configuration names devices, by the names that people write",
    },
    Rule {
        paths: &["src/value/", "src/codec/", "src/config/"],
        except: &[],
        words: &["crate::serving", "crate::metrics"],
        why: "values, formats and configuration come before anything is served",
    },
    Rule {
        paths: &["src/models/"],
        except: &[],
        words: &["crate::serving", "crate::config", "crate::isolation", "ekiden_actors"],
        why: "models are saved by programs that serve nothing",
    },
    Rule {
        paths: &["src/value/"],
        except: &[],
        words: &["crate::codec", "crate::config", "ekiden_actors"],
        why: "values stand on nothing",
    },
    Rule {
        paths: &["src/oip/"],
        except: &[],
        words: &["burn", "actix", "tonic", "prost", "crate::app", "crate::http", "crate::grpc", "crate::runner"],
        why: "the protocol is the same over HTTP and gRPC, and knows neither",
    },
    Rule {
        paths: &["src/runner/", "src/device/"],
        except: &[],
        words: &["crate::http", "crate::app"],
        why: "runnables do not know how calls come in",
    },
    Rule {
        paths: &["src/app/", "src/runner/"],
        except: &[],
        words: &["actix"],
        why: "the embedding API has no actix types: it works in any program",
    },
    Rule {
        paths: &["src/isolation/"],
        except: &[],
        words: &["burn", "actix", "crate::app", "crate::http", "crate::runner"],
        why: "a child process runs a `Model`, and what that is made of is the app's affair",
    },
    Rule {
        paths: &["src/onnx/"],
        except: &[],
        words: &[
            "actix",
            "crate::app",
            "crate::http",
            "crate::runner",
            "crate::serving",
            "crate::config",
            "ekiden_actors",
        ],
        why: "a graph runs without knowing who asks",
    },
    Rule {
        paths: &["src/", "actors/src/"],
        except: &["src/isolation/memory.rs"],
        words: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe_code"],
        why: "mapping shared memory is the one thing that cannot be done without, and it is explained there",
    },
    Rule {
        paths: &["src/", "actors/src/"],
        except: &["src/device/backend.rs", "src/lib.rs"],
        words: &["feature =", "feature=", "cfg_attr"],
        why: "which backends were built in is asked in one file, and which modules are in lib.rs",
    },
    Rule {
        paths: &["src/", "actors/src/"],
        // Of which the rule on the protocol speaks.
        except: &["src/grpc/", "src/oip/"],
        words: &["tonic", "prost"],
        why: "gRPC is a feature, and a module",
    },
    Rule {
        paths: &["src/grpc/"],
        except: &[],
        words: &["burn", "actix", "crate::app", "crate::http", "crate::runner", "crate::device"],
        why: "gRPC sees values and actors, as HTTP does, and knows nothing of HTTP",
    },
    Rule {
        paths: &["src/", "actors/src/"],
        except: &[],
        words: &[".unwrap()", ".expect(\"", "panic!(", "todo!(", "unimplemented!(", "unreachable!(", "dbg!("],
        why: "nothing on a request's path may panic",
    },
];

/// The most lines of code in a file, its tests not counted.
const LINES: usize = 400;

/// Files that are longer, and why.
const LONGER: &[(&str, &str)] = &[
    ("actors/src/board.rs", "one state machine, whose every transition keeps the same two invariants"),
    ("src/grpc/generated.rs", "nobody reads what is generated"),
];

/// The code of a file: no comments, and nothing from the inline tests on.
fn code(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    let code = lines.into_iter().enumerate().take(tests.unwrap_or(usize::MAX));
    code.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or(line))).collect()
}

fn violations(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut found = Vec::new();
    for rule in RULES {
        let under = |paths: &[&str]| paths.iter().any(|part| path.starts_with(part));
        if !under(rule.paths) || under(rule.except) {
            continue;
        }
        for (line, code) in &code {
            for word in rule.words.iter().filter(|word| code.contains(*word)) {
                found.push(format!("{path}:{line}: `{word}`: {}", rule.why));
            }
        }
    }
    let allowed = LONGER.iter().any(|(longer, _)| *longer == path);
    if code.len() > LINES && !allowed {
        found.push(format!("{path}: {} lines: split it, or say in tests/it/tidy.rs why not", code.len()));
    }
    if code.len() <= LINES && allowed {
        found.push(format!("{path}: {} lines: it is no longer too long, and needs no reason", code.len()));
    }
    found
}

/// Every source file that is not a test, with its path from the root of the project.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("actors/src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let path = entry.strip_prefix(root).expect("under the root").to_string_lossy().replace('\\', "/");
            let test = path.ends_with("/tests") || path.ends_with("/tests.rs") || path.ends_with("/simulation");
            if test {
                continue;
            } else if entry.is_dir() {
                folders.push(entry);
            } else if path.ends_with(".rs") {
                sources.push((path, fs::read_to_string(&entry).expect("source code")));
            }
        }
    }
    sources
}

#[test]
fn the_rules_hold() {
    let sources = sources();
    assert!(sources.len() > 80, "only {} files were found", sources.len());
    for rule in RULES {
        for path in rule.paths.iter().chain(rule.except) {
            assert!(sources.iter().any(|(source, _)| source.starts_with(path)), "a rule names {path}, which is gone");
        }
    }
    let found: Vec<String> = sources.iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// Where a feature gates something other than a whole module.
fn gated(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let gates = lines.iter().enumerate().filter(|(_, line)| line.contains("feature"));
    let gates = gates.filter(|(_, line)| !line.starts_with("//"));
    let whole = |at: usize| lines[at].starts_with("#[cfg(feature = ") && lines.get(at + 1).is_some_and(is_module);
    gates.filter(|(at, _)| !whole(*at)).map(|(at, line)| format!("src/lib.rs:{}: {line}", at + 1)).collect()
}

fn is_module(line: &&str) -> bool {
    line.starts_with("pub mod ") && line.ends_with(';')
}

#[test]
fn features_gate_whole_modules() {
    let (_, text) = sources().into_iter().find(|(path, _)| path == "src/lib.rs").expect("there is one");
    let found = gated(&text);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert_eq!(gated("#[cfg(feature = \"a\")]\npub mod a;\n"), Vec::<String>::new());
    assert_eq!(gated("#[cfg(feature = \"a\")]\npub use a::A;\n"), ["src/lib.rs:1: #[cfg(feature = \"a\")]"]);
    assert_eq!(gated("pub use a::A; // as a feature\nif cfg!(feature = \"a\") {}\n").len(), 2);
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let check = |path: &str, line: &str, finds: bool| {
        let text = format!(
            "//! burn, actix_web, panic!()\nfn f() {{\n    {line}\n}}\n\n#[cfg(test)]\nmod tests {{\n    x.unwrap();\n}}\n"
        );
        let found = violations(path, &text);
        assert_eq!(found.len(), usize::from(finds), "{path}: {line}: {found:?}");
        assert!(found.iter().all(|violation| violation.starts_with(&format!("{path}:3: "))), "{found:?}");
    };
    check("actors/src/desk.rs", "use actix::Actor;", false);
    check("actors/src/desk.rs", "use burn::tensor::Tensor;", true);
    check("actors/src/desk.rs", "use actix_web::web;", true);
    check("src/http/call.rs", "use actix_web::web;", false);
    check("src/http/call.rs", "use burn::tensor::Device;", true);
    check("src/http/call.rs", "use crate::runner::Data;", true);
    check("src/service/array.rs", "use crate::runner::Data;", false);
    check("src/service/array.rs", "use burn::tensor::Tensor;", true);
    check("src/http/server.rs", "app: &crate::app::App,", true);
    check("src/codec/json.rs", "use burn::tensor::TensorData;", true);
    check("src/config/mod.rs", "use crate::http::ServeOptions;", true);
    check("src/metrics.rs", "use actix_web::web;", true);
    check("src/oip/json.rs", "use crate::codec::json;", false);
    check("src/oip/json.rs", "use actix_web::web;", true);
    check("src/oip/model.rs", "use tonic::Status;", true);
    check("src/codec/mod.rs", "use crate::serving::MethodHandle;", true);
    check("src/value/spec.rs", "use crate::codec::DecodeError;", true);
    check("src/models/store.rs", "use crate::serving::Serving;", true);
    check("src/models/model.rs", "use burn::module::Module;", true);
    check("src/runner/data.rs", "use burn::tensor::Tensor;", false);
    check("src/runner/data.rs", "use crate::app::App;", true);
    check("src/isolation/child.rs", "use crate::runner::Opener;", true);
    check("src/isolation/child.rs", "let map = unsafe { map_mut(file)? };", true);
    check("src/isolation/memory.rs", "let map = unsafe { map_mut(file)? };", false);
    check("src/serving/mod.rs", "use actix::Addr;", true);
    check("src/app/mod.rs", "pub fn configure(self, config: &mut actix_web::web::ServiceConfig)", true);
    check("src/onnx/graph.rs", "use crate::runner::Runnable;", true);
    check("src/onnx/graph.rs", "use burn::backend::Dispatch;", false);
    check("src/device/backend.rs", "#[cfg(feature = \"wgpu\")]", false);
    check("src/device/presence.rs", "#[cfg(feature = \"wgpu\")]", true);
    check("src/http/mod.rs", "use tonic::Status;", true);
    check("src/grpc/status.rs", "use tonic::Status;", false);
    check("src/grpc/server.rs", "use crate::http::ServeOptions;", true);
    check("src/serving/mod.rs", "use crate::device::DeviceName;", true);
    check("src/runner/strategy.rs", "#[cfg(feature = \"wgpu\")]", true);
    check("src/cli/serve.rs", "let address = listener.local_addr().unwrap();", true);
    check("actors/src/call.rs", "let answer = slot.answer.take().expect(\"bug\");", true);
    check("src/cli/mod.rs", "todo!()", true);
    check("src/cli/mod.rs", "// panic!()", false);
    check("src/cli/mod.rs", "let text = answer.unwrap_or_default();", false);

    let long = violations("src/cli/mod.rs", &"fn f() {}\n".repeat(LINES + 1));
    assert!(long.len() == 1 && long[0].starts_with("src/cli/mod.rs: 401 lines"), "{long:?}");
    let short = violations(LONGER[0].0, "");
    assert!(short.len() == 1 && short[0].contains("no longer too long"), "{short:?}");
}
