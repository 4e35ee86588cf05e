//! Answers that come bit by bit: each chunk is shown as it comes.
//!
//! Of server-sent events (HTML standard, section 9.2), only what the server writes is read: `event` and `data`, a line each.

use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use super::{LONGEST, Out, OutputArg};
use crate::cli::Failure;

/// Copies what is no event as it is.
pub(super) fn copy(mut answer: impl Read, out: &mut Out) -> Result<(), String> {
    let mut piece = vec![0; 64 << 10];
    while !out.is_closed() {
        match answer.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => out.put(&piece[..length]).map_err(|failure| said(&failure))?,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// Shows events: a text as it is, anything else as a line of JSON; all of them as lines of JSON, where that is asked for.
///
/// # Errors
/// What an event of an error says; an answer that is cut off.
pub(super) fn events(answer: impl Read, format: Option<OutputArg>, out: &mut Out) -> Result<(), String> {
    let mut reader = BufReader::new(answer);
    let (mut line, mut event, mut data) = (String::new(), String::new(), String::new());
    let mut in_text = false;
    while !out.is_closed() {
        line.clear();
        let read = reader.by_ref().take(LONGEST).read_line(&mut line).map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("the stream was broken off: it has no end".to_owned());
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if let Some(name) = text.strip_prefix("event:") {
            event = name.trim().to_owned();
        } else if let Some(value) = text.strip_prefix("data:") {
            data = value.strip_prefix(' ').unwrap_or(value).to_owned();
        }
        if !text.is_empty() {
            continue;
        }
        match event.as_str() {
            "done" if in_text => return out.end_line().map_err(|failure| said(&failure)),
            "done" => return Ok(()),
            "error" => {
                if in_text {
                    out.end_line().map_err(|failure| said(&failure))?;
                }
                return Err(refusal(&data));
            }
            _ if data.is_empty() => {}
            _ => match serde_json::from_str(&data) {
                Ok(Value::String(text)) if format != Some(OutputArg::Json) => {
                    in_text = true;
                    out.put(text.as_bytes()).map_err(|failure| said(&failure))?;
                }
                _ => out.put(format!("{data}\n").as_bytes()).map_err(|failure| said(&failure))?,
            },
        }
        event.clear();
        data.clear();
    }
    Ok(())
}

fn refusal(data: &str) -> String {
    let error: Value = serde_json::from_str(data).unwrap_or_default();
    let code = error["code"].as_str().unwrap_or("no code");
    format!("broken off, {code}: {}", error["error"].as_str().unwrap_or(data))
}

fn said(failure: &Failure) -> String {
    match failure {
        Failure::Run(message) | Failure::Usage(message) => message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_is_cut_off_is_no_answer() {
        let path = std::env::temp_dir().join(format!("ekiden-call-stream-{}", std::process::id()));
        let mut out = Out::of(Some(&path)).map_err(|failure| said(&failure)).expect("the file is made");
        let whole = "data: \"a\"\n\ndata: [1]\n\nevent: done\ndata: {}\n\n";
        assert_eq!(events(whole.as_bytes(), None, &mut out), Ok(()));
        for at in 0..whole.len() - 1 {
            let answer = events(&whole.as_bytes()[..at], None, &mut out);
            assert_eq!(answer, Err("the stream was broken off: it has no end".to_owned()), "{at}");
        }
        std::fs::remove_file(path).expect("the file is there");
    }
}
