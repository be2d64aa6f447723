defmodule HelloWeb.Layouts do
  use Phoenix.Component
  import Phoenix.Controller, only: [get_csrf_token: 0]

  def root(assigns) do
    ~H"""
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="csrf-token" content={get_csrf_token()} />
        <title>Phoenix on Tyn</title>
        <script defer src="/js/phoenix/phoenix.min.js">
        </script>
        <script defer src="/js/live_view/phoenix_live_view.min.js">
        </script>
        <script type="module">
          const token = document.querySelector("meta[name='csrf-token']").content
          new LiveView.LiveSocket("/live", Phoenix.Socket, {params: {_csrf_token: token}}).connect()
        </script>
      </head>
      <body>{@inner_content}</body>
    </html>
    """
  end
end
