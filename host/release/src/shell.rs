//! What simple shell scripts do to the environment (`env.sh` of a release, scripts of an overlay), without a shell.
//!
//! Assignments and `export` are followed, with quotes, `$NAME`, `${NAME}`, `${NAME:-WORD}` and their like. Everything else is
//! not run, and said so with file and line: what such a statement would have set is unknown from then on, and so is what
//! is made of it.

use std::collections::{BTreeMap, BTreeSet};

mod expand;
mod statements;

use statements::{Statement, Word};

/// A shell's variables.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    variables: BTreeMap<String, String>,
    exported: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

/// A shell and the words of a command to start by it, or why there are none.
type Prepared = Result<(Shell, Vec<String>), String>;

/// A statement that is not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotRun {
    /// Its first line, from 1.
    pub line: usize,
    /// How it begins.
    pub text: String,
    /// Why.
    pub why: String,
}

impl Shell {
    /// Starts with this environment.
    #[must_use]
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<_, _> = environment.into_iter().collect();
        Self {
            exported: variables.keys().cloned().collect(),
            variables,
            unknown: BTreeSet::new(),
        }
    }

    /// Returns a variable's value when it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets and exports a variable.
    pub fn export(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
        self.exported.insert(name.into());
        self.unknown.remove(name);
    }

    /// Sets and exports a variable as `NAME="${NAME:-VALUE}"` does; returns its value.
    pub fn export_default(&mut self, name: &str, value: impl Into<String>) -> String {
        let value = match self.get(name) {
            Some(own) if !own.is_empty() => own.to_owned(),
            _ => value.into(),
        };
        self.export(name, value.clone());
        value
    }

    /// Returns what programs get, by name.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(|(name, _)| self.exported.contains(*name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Runs a script as far as it can be; returns what can't.
    pub fn run(&mut self, script: &str) -> Vec<NotRun> {
        let statements = statements::split(script);
        let not_run = statements.iter().filter_map(|s| self.run_one(s));
        not_run.collect()
    }

    /// Runs a script that ends by executing a program (`A=B exec ./NAME start`), or with one as its last command; returns
    /// that program's words. Changes of folders are left to the caller, who knows where the script lies.
    pub fn run_to_exec(&mut self, script: &str) -> (Option<Vec<String>>, Vec<NotRun>) {
        let mut not_run = Vec::new();
        // The last program with a `/`, with the shell that it would be started by.
        let mut last: Option<(Statement, Prepared)> = None;
        for statement in statements::split(script) {
            let Ok(words) = statement.words() else {
                not_run.extend(self.run_one(&statement));
                continue;
            };
            let program = words.iter().position(|word| word.assignment().is_none());
            let (assignments, command) = words.split_at(program.unwrap_or(words.len()));
            let first = command.first().map_or("", |word| word.text.as_str());
            match first {
                "cd" => {}
                "exec" => {
                    not_run.extend(last.take().map(|(earlier, _)| earlier.not_started()));
                    last = Some((statement, self.prepare(assignments, &command[1..])));
                    break;
                }
                _ if first.contains('/') => {
                    not_run.extend(last.take().map(|(earlier, _)| earlier.not_started()));
                    last = Some((statement, self.prepare(assignments, command)));
                }
                _ => not_run.extend(self.run_one(&statement)),
            }
        }
        let command = match last {
            Some((_, Ok((shell, command)))) => {
                *self = shell;
                Some(command)
            }
            Some((statement, Err(why))) => {
                not_run.push(statement.not_run(why));
                None
            }
            None => None,
        };
        not_run.sort_by_key(|n| n.line);
        (command, not_run)
    }

    /// Returns the words of a command, and the shell with the variables that are set for it.
    fn prepare(&self, assignments: &[Word], command: &[Word]) -> Prepared {
        let mut shell = self.clone();
        for word in assignments {
            let name = shell.assign(word)?;
            shell.exported.insert(name);
        }
        let words = command.iter().filter(|word| word.text != "\"$@\"");
        let words = words
            .map(|word| shell.expand(word))
            .collect::<Result<_, _>>()?;
        Ok((shell, words))
    }

    /// Runs a statement if it can be; if not, what it would have set is unknown. What a plain assignment would have replaced is
    /// gone, too; a compound command might not have come to it.
    fn run_one(&mut self, statement: &Statement) -> Option<NotRun> {
        let why = self.perform(statement).err()?;
        let assigned = statements::assigned(&statement.text);
        if statement.words().is_ok() {
            for name in &assigned {
                self.variables.remove(name);
            }
        }
        self.unknown.extend(assigned);
        Some(statement.not_run(why))
    }

    fn perform(&mut self, statement: &Statement) -> Result<(), String> {
        let words = statement.words()?;
        let Some(first) = words.first() else {
            return Ok(());
        };
        match first.text.as_str() {
            // They change nothing that outlives the script.
            "set" | ":" | "true" => return Ok(()),
            "export" => {
                for word in &words[1..] {
                    let name = match word.assignment() {
                        Some(_) => self.assign(word)?,
                        None if is_name(&word.text) => word.text.clone(),
                        None => return Err(format!("{} can't be exported", word.text)),
                    };
                    if self.unknown.contains(&name) {
                        return Err(unknown(&name));
                    }
                    self.exported.insert(name);
                }
                return Ok(());
            }
            _ => {}
        }
        if let Some(word) = words.iter().find(|word| word.assignment().is_none()) {
            return Err(format!("there is no {} in an image's start", word.text));
        }
        for word in &words {
            self.assign(word)?;
        }
        Ok(())
    }

    /// Performs one assignment; returns the variable's name.
    fn assign(&mut self, word: &Word) -> Result<String, String> {
        let (name, value) = word.assignment().ok_or("it is no assignment")?;
        let value = self.expand(&Word { text: value.into() })?;
        self.variables.insert(name.into(), value);
        self.unknown.remove(name);
        Ok(name.into())
    }

    fn expand(&mut self, word: &Word) -> Result<String, String> {
        expand::word(&word.text, self)
    }

    fn lookup(&self, name: &str) -> Result<Option<&str>, String> {
        if self.unknown.contains(name) {
            return Err(unknown(name));
        }
        Ok(self.get(name))
    }
}

impl Statement {
    fn not_run(&self, why: String) -> NotRun {
        NotRun {
            line: self.line,
            text: first_line(&self.text),
            why,
        }
    }

    /// Of a program that others follow.
    fn not_started(&self) -> NotRun {
        self.not_run("an image starts only the program that a script ends with".into())
    }
}

fn unknown(name: &str) -> String {
    format!("the value of {name} is not known, for what sets it is not run")
}

fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let short: String = line.chars().take(60).collect();
    if short.len() < text.trim().len() {
        short + " …"
    } else {
        short
    }
}

/// Returns whether this is the name of a shell variable.
fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
