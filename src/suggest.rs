//! What somebody may have meant.

/// "; did you mean …", where something is close, and what there is.
pub(crate) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = nearest.map(|(_, candidate)| format!("; did you mean \"{candidate}\"?")).unwrap_or_default();
    if known.is_empty() {
        format!("{hint}; there are none")
    } else {
        format!("{hint}; there are: {}", known.join(", "))
    }
}
