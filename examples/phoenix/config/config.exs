import Config

config :hello, HelloWeb.Endpoint,
  url: [host: "localhost"],
  adapter: Bandit.PhoenixAdapter,
  render_errors: [formats: [json: HelloWeb.ErrorJSON], layout: false],
  pubsub_server: Hello.PubSub,
  live_view: [signing_salt: "bVbHk6Zr"]

config :logger, :default_formatter, format: "$time $metadata[$level] $message\n", metadata: [:request_id]
config :phoenix, :json_library, Jason

if config_env() == :prod do
  config :logger, level: :info
end
