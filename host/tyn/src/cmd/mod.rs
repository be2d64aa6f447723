//! The tool's commands, one file each.

pub(crate) mod build;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod logs;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod shell;
pub(crate) mod stop;
