//! What goes wrong on a device, told by what Burn says of it.

use std::sync::Arc;

use burn::tensor::ExecutionError;
use ekiden_actors::{Exit, MethodError};

/// What an error that Burn reports means for the batch.
pub(crate) fn error(error: &ExecutionError) -> MethodError {
    if error.is_device_poisoned() {
        return MethodError::device_lost(summary(error.reason()));
    }
    recognise(MethodError::failed(summary(error.reason())))
}

/// Tells an error of the device by its text, where a runnable has passed on no more than that.
pub(crate) fn recognise(error: MethodError) -> MethodError {
    let text = error.to_string();
    if is_poisoned(&text) {
        MethodError::device_lost(summary(&text))
    } else if is_out_of_memory(&text) {
        MethodError::out_of_memory(summary(&text))
    } else {
        error
    }
}

/// What a panic with this message was the end of.
pub(crate) fn exit_of_panic(message: Arc<str>) -> Exit {
    if is_poisoned(&message) { Exit::DeviceLost(summary(&message).into()) } else { Exit::Panicked(message) }
}

/// As `burn_std::ExecutionError` and `cubecl_runtime::server::IoError` spell it, in Burn 0.22 and CubeCL 0.11.
fn is_poisoned(text: &str) -> bool {
    text.contains("The device is poisoned")
}

/// As `cubecl_runtime::server`'s `IoError` and `LaunchError` spell it, in CubeCL 0.11. They come as text: Burn keeps no
/// more of them.
fn is_out_of_memory(text: &str) -> bool {
    const TEXTS: [&str; 3] =
        ["out of device memory", "An out-of-memory error happened", "can't allocate buffer of size"];
    TEXTS.iter().any(|phrase| text.contains(phrase))
}

/// The lines of an error's text that say something, without the backtrace below them.
fn summary(text: &str) -> String {
    let is_frame = |line: &str| {
        line.starts_with("Backtrace") || line.split_once(':').is_some_and(|(n, _)| n.parse::<u32>().is_ok())
    };
    let lines = text.lines().map(str::trim).take_while(|line| !is_frame(line)).filter(|line| !line.is_empty());
    lines.take(4).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use ekiden_actors::RunError;

    use super::*;

    #[test]
    fn what_burn_reports_of_a_device_is_recognised() {
        let typed = |error: ExecutionError| RunError::from(super::error(&error));
        // A runnable's own `?`, which keeps the text alone.
        let passed_on = |error: ExecutionError| RunError::from(recognise(MethodError::from(error)));

        let poisoned = || ExecutionError::device_poisoned("illegal address\n   0: frame\n   1: frame");
        assert_eq!(typed(poisoned()), RunError::Lost(Exit::DeviceLost("illegal address".into())));
        let message = "The device is poisoned Caused by: illegal address";
        assert_eq!(passed_on(poisoned()), RunError::Lost(Exit::DeviceLost(message.into())));

        for reason in [
            "out of device memory allocating 4096 bytes\n   0: frame",
            "can't allocate buffer of size: 1099511627776\n",
            "An out-of-memory error happened during launch\nCaused by:\n  launching\nBacktrace\n 0: frame",
        ] {
            let full = || ExecutionError::with_context(reason);
            for found in [typed(full()), passed_on(full())] {
                let RunError::OutOfMemory(message) = found else { panic!("{reason}: {found:?}") };
                assert!(!message.contains("frame"), "{message}");
            }
        }

        let other = || ExecutionError::generic("a kernel could not be compiled");
        assert!(matches!(typed(other()), RunError::Method(_)));
        assert!(matches!(passed_on(other()), RunError::Method(_)));
    }

    #[test]
    fn a_panic_over_a_poisoned_device_is_the_end_of_the_device() {
        let read = "Error while reading data: The device is poisoned\nCaused by:\n  illegal address\n   0: frame";
        let lost =
            Exit::DeviceLost("Error while reading data: The device is poisoned Caused by: illegal address".into());
        assert_eq!(exit_of_panic(read.into()), lost);
        assert_eq!(exit_of_panic("index 3 of 2".into()), Exit::Panicked("index 3 of 2".into()));
    }
}
