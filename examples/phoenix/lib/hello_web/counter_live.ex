defmodule HelloWeb.CounterLive do
  @moduledoc "One counter for all who look, on whichever node of the cluster."
  use Phoenix.LiveView

  @topic "clicks"

  @impl true
  def mount(_params, _session, socket) do
    if connected?(socket) do
      Phoenix.PubSub.subscribe(Hello.PubSub, @topic)
      :net_kernel.monitor_nodes(true)
    end

    {:ok, assign(socket, clicks: 0, nodes: [node() | Node.list()])}
  end

  @impl true
  def render(assigns) do
    ~H"""
    <h1>Hello from Phoenix on {node()}</h1>
    <p><button phx-click="click">click</button> {@clicks} clicks</p>
    <p>Nodes: {Enum.join(@nodes, ", ")}</p>
    """
  end

  @impl true
  def handle_event("click", _params, socket) do
    Phoenix.PubSub.broadcast(Hello.PubSub, @topic, :click)
    {:noreply, socket}
  end

  @impl true
  def handle_info(:click, socket), do: {:noreply, update(socket, :clicks, &(&1 + 1))}

  def handle_info({event, _node}, socket) when event in [:nodeup, :nodedown] do
    {:noreply, assign(socket, nodes: [node() | Node.list()])}
  end
end
