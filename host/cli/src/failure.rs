//! Why a verb didn't do what it was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Each is a sentence for the person at the terminal, a word for a program, and an exit status.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The command makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A file that was named can't be read.
    #[error("{path} can't be read: {error}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// `serve` can't begin, or can't go on.
    #[error("{0}")]
    Serve(String),
    /// A test found what it looks for.
    #[error("{0}")]
    Test(String),
    /// A capsule was refused, or doesn't replay.
    #[error("{0}")]
    Capsule(String),
    /// What is waited for doesn't go on by itself.
    #[error("{0}")]
    Held(String),
    /// Nothing was sent: nobody listens there.
    #[error(
        "there is no host at {url}: {reason}\n(start one with `host serve`, or say where it is with --url or HOST_URL)"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why it wasn't found.
        reason: String,
    },
    /// The connection broke, or the host was on its way out. What was asked may have been done, or not.
    #[error("the connection to {url} was lost: {reason}")]
    Lost {
        /// Where the host was.
        url: String,
        /// How.
        reason: String,
    },
    /// The host said no.
    #[error("{message}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// A word for programs.
        code: String,
        /// A sentence for people.
        message: String,
        /// When it can be asked again.
        retry_after: Option<Duration>,
    },
    /// The host's answer isn't understood.
    #[error("{url} answered with something that isn't understood (is it a host of another version?): {reason}")]
    Misunderstood {
        /// Where the host is.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The output has nowhere to go.
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// See the module's documentation of the exit status.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            // Whoever reads has read enough (`| head`): nothing is wrong.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Output(_) | Failure::Serve(_) | Failure::Test(_) | Failure::Capsule(_) => 1,
            Failure::Usage(_) | Failure::File { .. } => 2,
            Failure::Unreachable { .. }
            | Failure::Lost { .. }
            | Failure::Refused { .. }
            | Failure::Misunderstood { .. } => 3,
            Failure::Held(_) => 4,
        }
    }

    /// For programs: a word that stays the same.
    pub(super) fn code(&self) -> &str {
        match self {
            Failure::Usage(_) => "usage",
            Failure::File { .. } => "file",
            Failure::Serve(_) => "serve",
            Failure::Test(_) => "test",
            Failure::Capsule(_) => "capsule",
            Failure::Held(_) => "held",
            Failure::Unreachable { .. } => "unreachable",
            Failure::Lost { .. } => "connection_lost",
            Failure::Refused { code, .. } => code,
            Failure::Misunderstood { .. } => "misunderstood",
            Failure::Output(_) => "output",
        }
    }
}
