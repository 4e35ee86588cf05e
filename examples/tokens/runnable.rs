//! A runnable that answers with a stream: a text, word by word.

use std::collections::HashMap;

use ekiden::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// What the text begins with; its last two words decide how it goes on.
    pub(crate) prompt: String,
    /// The same seed has the same text.
    #[serde(default)]
    pub(crate) seed: u64,
    /// The most words; the text may end before.
    #[serde(default = "most_words")]
    pub(crate) words: usize,
}

pub(crate) fn most_words() -> usize {
    60
}

/// A Markov chain over the words of a text: after two words comes one that has come after them there.
///
/// C. E. Shannon, "A Mathematical Theory of Communication", 1948, section 3, has the idea.
pub(crate) struct Chain {
    words: Vec<&'static str>,
    /// Where each pair of words stands in the text, by its second word.
    pairs: HashMap<[&'static str; 2], Vec<usize>>,
    /// Where sentences begin.
    starts: Vec<usize>,
}

/// What it has learned from.
const TEXT: &str = include_str!("text.txt");

impl Runnable for Chain {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self::learn(TEXT))
    }

    fn methods(methods: &mut Methods<Self>) {
        let example = json!({"prompt": "The runner", "seed": 7, "words": 4});
        methods.add_stream("generate", Self::generate).input("ask").output("word").example(example);
    }
}

impl Chain {
    fn learn(text: &'static str) -> Self {
        let words: Vec<&str> = text.split_whitespace().collect();
        let mut pairs: HashMap<[&str; 2], Vec<usize>> = HashMap::new();
        for (at, pair) in words.windows(2).enumerate() {
            pairs.entry([pair[0], pair[1]]).or_default().push(at + 1);
        }
        let after_end = words.windows(2).enumerate().filter(|(_, pair)| pair[0].ends_with(['.', '?', '!']));
        let starts = std::iter::once(0).chain(after_end.map(|(at, _)| at + 1)).collect();
        Self { words, pairs, starts }
    }

    /// Each word comes with the space before it, so that the chunks are the text.
    fn generate(&self, Json(ask): Json<Ask>) -> Result<Chunks<'_, String>, MethodError> {
        if ask.words > 10_000 {
            return Err(MethodError::invalid_input(format!("words: at most 10000, found {}", ask.words)));
        }
        let mut random = fastrand::Rng::with_seed(ask.seed);
        let mut given = ask.prompt.split_whitespace().rev();
        let [last, before] = [given.next(), given.next()].map(Option::unwrap_or_default);
        let mut place = self.pairs.get([before, last].as_slice()).and_then(|places| random.choice(places)).copied();
        let next = move || {
            let at = match place {
                Some(place) => place + 1,
                // Nothing is known of what comes next: a sentence begins.
                None => random.choice(&self.starts).copied()?,
            };
            let word = *self.words.get(at)?;
            let pair = [*self.words.get(at.wrapping_sub(1)).unwrap_or(&""), word];
            place = self.pairs.get(&pair).and_then(|places| random.choice(places)).copied().or(Some(at));
            Some(Ok(format!(" {word}")))
        };
        Ok(Box::new(std::iter::from_fn(next).take(ask.words)))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn text(prompt: &str, seed: u64, words: usize) -> Result<String, CallError> {
        let chain = Runner::<Chain>::new(()).init_local().expect("it opens");
        let mut text = String::new();
        let ask = Ask { prompt: prompt.to_owned(), seed, words };
        chain.method("generate")?.stream(Json(ask), |word: String| {
            text.push_str(&word);
            ControlFlow::Continue(())
        })?;
        Ok(text)
    }

    #[test]
    fn the_same_seed_has_the_same_text() {
        let once = text("The runner", 7, 40).expect("a text");
        assert!(!once.is_empty());
        assert_eq!(text("The runner", 7, 40).as_ref(), Ok(&once));
        assert!((0..20).any(|seed| text("The runner", seed, 40).as_ref() != Ok(&once)));
    }

    #[test]
    fn each_three_words_stand_in_the_text() {
        let known: Vec<&str> = TEXT.split_whitespace().collect();
        let text = text("", 3, 200).expect("a text");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.len() > 3);
        for three in words.windows(3) {
            assert!(known.windows(3).any(|known| known == three), "{three:?}");
        }
    }

    #[test]
    fn it_has_an_end() {
        assert_eq!(text("", 1, 5).map(|text| text.split_whitespace().count()), Ok(5));
        let error = text("", 1, 10_001).expect_err("too many");
        assert_eq!(error.to_string(), "words: at most 10000, found 10001");
    }
}
