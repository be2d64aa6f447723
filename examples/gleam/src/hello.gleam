//// Answers every HTTP request with what was asked for.

/// Serves on the port that the environment variable `PORT` names, else 8080; never returns.
@external(erlang, "hello_ffi", "serve")
fn serve(answer: fn(String) -> String) -> Nil

pub fn main() -> Nil {
  serve(answer)
}

pub fn answer(path: String) -> String {
  case path {
    "/" -> "Hello from Gleam\n"
    "/" <> name -> "Hello, " <> name <> ", from Gleam\n"
    _ -> "that is no path\n"
  }
}
