defmodule ElixirHttp do
  @moduledoc "Answers every HTTP request with a greeting."
  use Application
  require Logger

  @impl true
  def start(_type, _args) do
    port = Application.fetch_env!(:elixir_http, :port)
    {:ok, listener} = :gen_tcp.listen(port, [:binary, packet: :http_bin, active: false, reuseaddr: true])
    Logger.info("listening on port #{port}")
    children = [{Task, fn -> accept(listener) end}]
    Supervisor.start_link(children, strategy: :one_for_one)
  end

  defp accept(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    {:ok, task} = Task.start(fn -> serve(socket) end)
    :gen_tcp.controlling_process(socket, task)
    accept(listener)
  end

  defp serve(socket) do
    case :gen_tcp.recv(socket, 0) do
      {:ok, :http_eoh} -> answer(socket)
      {:ok, _} -> serve(socket)
      {:error, _} -> :gen_tcp.close(socket)
    end
  end

  defp answer(socket) do
    body =
      "#{Application.fetch_env!(:elixir_http, :greeting)} from Elixir #{System.version()} " <>
        "on Erlang/OTP #{System.otp_release()}, #{:file.native_name_encoding()}\n"

    head = "HTTP/1.1 200 OK\r\ncontent-length: #{byte_size(body)}\r\nconnection: close\r\n\r\n"
    :gen_tcp.send(socket, head <> body)
    :gen_tcp.close(socket)
  end
end
