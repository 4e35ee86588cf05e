//! A runnable without tensors: texts in, scores out.

use ekiden::prelude::*;
use serde::{Deserialize, Serialize};
use vader_sentimental::SentimentIntensityAnalyzer;

/// How a text feels: shares of its words, 0 to 1, and a verdict, -1 to 1.
///
/// VADER: C. J. Hutto and E. Gilbert, "VADER: a parsimonious rule-based model for sentiment analysis of social media
/// text", ICWSM 2014.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Scores {
    pub(crate) neg: f64,
    pub(crate) neu: f64,
    pub(crate) pos: f64,
    pub(crate) compound: f64,
}

/// Scores English texts by a lexicon of words that people have rated.
pub(crate) struct Sentiment {
    analyzer: SentimentIntensityAnalyzer<'static>,
}

impl Runnable for Sentiment {
    type Params = ();
    // One text after the other: more work at once takes more executors, and a runner gets one for each CPU.
    const SUPPORTS: &[ResourceKind] = &[ResourceKind::Cpu];
    const SUPPORTS_CPU_MULTI_THREADING: bool = false;

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        let analyzer = SentimentIntensityAnalyzer::new();
        // Builds the rest of its tables, which the executors share, before the first call needs them.
        let _ = analyzer.polarity_scores("It is very good, but NOT the best!");
        Ok(Self { analyzer })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods
            .add("score", Self::score)
            .batchable()
            .input("texts")
            .output("scores")
            .example(vec!["I love it", "Never again."]);
    }
}

impl Sentiment {
    fn score(&self, texts: Vec<String>) -> Result<Vec<Scores>, MethodError> {
        Ok(texts.iter().map(|text| self.score_one(text)).collect())
    }

    fn score_one(&self, text: &str) -> Scores {
        let found = self.analyzer.polarity_scores(text);
        Scores { neg: found.neg, neu: found.neu, pos: found.pos, compound: found.compound }
    }
}
