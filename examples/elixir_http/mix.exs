defmodule ElixirHttp.MixProject do
  use Mix.Project

  def project do
    [
      app: :elixir_http,
      version: "1.0.0",
      elixir: "~> 1.18",
      start_permanent: true,
      prune_code_paths: false
    ]
  end

  def application do
    [extra_applications: [:logger], mod: {ElixirHttp, []}]
  end
end
