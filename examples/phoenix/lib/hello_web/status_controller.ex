defmodule HelloWeb.StatusController do
  use Phoenix.Controller, formats: [:json]

  def show(conn, _params) do
    json(conn, %{
      node: node(),
      cluster: Node.list(),
      otp: System.otp_release(),
      elixir: System.version(),
      phoenix: Application.spec(:phoenix, :vsn) |> to_string()
    })
  end
end

defmodule HelloWeb.ErrorJSON do
  def render(template, _assigns) do
    %{errors: %{detail: Phoenix.Controller.status_message_from_template(template)}}
  end
end
