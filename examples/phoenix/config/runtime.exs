import Config

if System.get_env("PHX_SERVER", "true") == "true" do
  config :hello, HelloWeb.Endpoint, server: true
end

if config_env() == :prod do
  secret_key_base =
    System.get_env("SECRET_KEY_BASE") ||
      raise "the environment variable SECRET_KEY_BASE is missing: mix phx.gen.secret makes one"

  host = System.get_env("PHX_HOST", "localhost")
  port = String.to_integer(System.get_env("PORT", "4000"))

  config :hello, :dns_cluster_query, System.get_env("DNS_CLUSTER_QUERY")

  config :hello, HelloWeb.Endpoint,
    url: [host: host, port: port, scheme: "http"],
    http: [ip: {0, 0, 0, 0, 0, 0, 0, 0}, port: port],
    secret_key_base: secret_key_base
end
