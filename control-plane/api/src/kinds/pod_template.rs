//! Pod templates, as workloads have them.
