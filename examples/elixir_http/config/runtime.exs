import Config

# Read when the release starts, not when it is built.
config :elixir_http,
  port: String.to_integer(System.get_env("PORT", "8080")),
  greeting: System.get_env("GREETING", "Hello")
