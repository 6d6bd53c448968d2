//! What COPY, ADD and WORKDIR do, rule by rule: contexts and images as text, the resulting layer as text.

mod archives;
mod bed;
mod contexts;
mod namespaces;
mod rules;
