//! Reads anything as an `.npy` body: `cargo fuzz run npy`.
//!
//! Whatever it is, it is refused with a message of bounded length, or read; and what is read and written is read again as the
//! same.

#![no_main]

use bytes::Bytes;
use ekiden::codec::npy;
use ekiden::value::{DType, Signature, TensorSpec};
use libfuzzer_sys::fuzz_target;

/// The longest that a message may be, whatever the body is.
const LONGEST: usize = 2000;

fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let dtype = DType::ALL[usize::from(*first) % DType::ALL.len()];
    let inputs = vec![TensorSpec::any_rank("x", dtype).into()];
    let signature = Signature { outputs: inputs.clone(), inputs, batching: None };
    match npy::decode(&Bytes::copy_from_slice(body), &signature) {
        Err(error) => assert!(error.to_string().len() < LONGEST, "{error}"),
        Ok(values) => {
            let written = npy::encode(&values).expect("what was .npy can be");
            let again = npy::decode(&written.into(), &signature).expect("what was written can be read");
            assert_eq!(again, values);
        }
    }
});
