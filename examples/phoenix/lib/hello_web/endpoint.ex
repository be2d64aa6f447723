defmodule HelloWeb.Endpoint do
  use Phoenix.Endpoint, otp_app: :hello

  @session_options [store: :cookie, key: "_hello_key", signing_salt: "q3Nf0bZt", same_site: "Lax"]

  socket "/live", Phoenix.LiveView.Socket, websocket: [connect_info: [session: @session_options]]

  # Phoenix's and LiveView's own scripts, so that nothing has to be bundled.
  plug Plug.Static, at: "/js/phoenix", from: {:phoenix, "priv/static"}
  plug Plug.Static, at: "/js/live_view", from: {:phoenix_live_view, "priv/static"}

  plug Plug.RequestId
  plug Plug.Telemetry, event_prefix: [:phoenix, :endpoint]
  plug Plug.Parsers, parsers: [:urlencoded, :json], pass: ["*/*"], json_decoder: Phoenix.json_library()
  plug Plug.Session, @session_options
  plug HelloWeb.Router
end
