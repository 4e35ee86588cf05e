//! What `ekiden check` prints.

use super::super::report::render;
use super::{Case, file};

#[test]
fn a_table_with_origins() {
    let text = "[server]\nworkers = 2\n[[runners]]\nname = \"iris_clf\"\ncpu = 4\nmax_batch_size = 20\nmodels = ['iris:latest']\n\
        [runners.params]\nweights = 'x'\n";
    let env =
        &[("EKIDEN__RUNNERS__IRIS_CLF__TIMEOUT_MS", "0.5"), ("EKIDEN__RUNNERS__IRIS_CLF__CUSTOM_RESOURCES__TPU", "2")];
    let config = Case { file: text, env, set: &["runners.iris_clf.retry=false"] }.load();
    let expected = r#"server
  bind            127.0.0.1:3000  default
  admin_bind      127.0.0.1:3001  default
  grpc_bind       off             default
  grpc_orders     false           default
  workers         2               runners.toml:2
  max_body_bytes  67108864        default
  grace_s         30              default
  log_format      text            default
  access_log      false           default

runner iris_clf (runnable iris_clf)
  required                  true             default
  cpu                       4                runners.toml:5
  nvidia_gpu                not set          default
  gpu                       not set          default
  device                    not set          default
  strategy                  not set          default
  workers_per_resource      1                default
  pin                       false            default
  pipeline_depth            2                default
  golden_check              true             default
  weight                    1                default
  custom_resources.tpu      2                EKIDEN__RUNNERS__IRIS_CLF__CUSTOM_RESOURCES__TPU
  model                     not set          default
  models                    [iris:latest]    runners.toml:7
  isolation                 thread           default
  memory_limit              not set          default
  nice                      not set          default
  params                    {"weights":"x"}  runners.toml:9
  max_restarts              5                default
  restart_window_s          60               default
  restart_backoff_ms        100              default
  max_restart_backoff_ms    10000            default
  max_abandoned             1                default
  predict.batching          adaptive         default
  predict.max_batch_size    20               runners.toml:6
  predict.batch_buckets     auto             default
  predict.max_latency_ms    10               default
  predict.max_queue_size    10000            default
  predict.timeout_ms        0.5              EKIDEN__RUNNERS__IRIS_CLF__TIMEOUT_MS
  predict.batch_timeout_ms  0                default
  predict.retry             false            --set runners.iris_clf.retry
"#;
    assert_eq!(render(&config, |_| vec!["predict".to_owned()]), expected);
}

#[test]
fn without_known_methods_the_configured_ones_or_the_defaults_show() {
    let text = "[[runners]]\nname = 'a'\nrunnable = 'b'\n[[runners.runnable_method_configs]]\nname = 'p'\n[[runners]]\nname = 'c'\n";
    let report = render(&file(text).load(), |_| Vec::new());
    assert!(report.contains("runner a (runnable b)\n"), "{report}");
    assert!(report.contains("\n  p.max_batch_size        100       default\n"), "{report}");
    assert!(report.contains("\n  max_batch_size          100       default\n"), "{report}");
}
