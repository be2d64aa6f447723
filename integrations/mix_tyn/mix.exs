defmodule MixTyn.MixProject do
  use Mix.Project

  def project do
    [
      app: :mix_tyn,
      version: "0.1.0",
      elixir: "~> 1.14",
      description: "Mix tasks that put releases into Tyn images and boot them",
      package: package()
    ]
  end

  def application do
    [extra_applications: []]
  end

  defp package do
    [
      licenses: ["MIT", "Apache-2.0"],
      links: %{},
      files: ~w(lib mix.exs README.md .formatter.exs)
    ]
  end
end
