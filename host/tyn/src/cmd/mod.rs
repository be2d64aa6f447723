//! The tool's commands, one file each.

pub(crate) mod build;
pub(crate) mod logs;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod shell;
pub(crate) mod stop;
