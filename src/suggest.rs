//! What somebody may have meant.

/// Names that are told at most.
const MOST_NAMES: usize = 20;

/// The one of these that is close enough to have been meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

/// "; did you mean …", where something is close, and what there is.
pub(crate) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let nearest = nearest(name, known.iter().copied());
    let hint = nearest.map(|nearest| format!("; did you mean \"{nearest}\"?")).unwrap_or_default();
    if known.is_empty() {
        format!("{hint}; there are none")
    } else {
        let more = known.len().saturating_sub(MOST_NAMES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{hint}; there are: {}{more}", known.into_iter().take(MOST_NAMES).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_names_are_told() {
        let names: Vec<String> = (0..23).map(|at| format!("n{at}")).collect();
        let told = |count: usize| suggest("x", names.iter().take(count).map(String::as_str));
        assert!(told(20).ends_with("n18, n19"), "{}", told(20));
        assert!(told(23).ends_with("n18, n19 and 3 more"), "{}", told(23));
    }
}
