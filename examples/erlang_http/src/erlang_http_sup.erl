%% Supervises a fixed number of acceptors. Connections are processes of their own: one that fails closes its socket and
%% hurts nobody else.
-module(erlang_http_sup).
-behaviour(supervisor).

-export([start_link/1, init/1]).

start_link(Socket) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Socket).

init(Socket) ->
    {ok, Acceptors} = application:get_env(erlang_http, acceptors),
    Children = [#{id => {acceptor, N},
                  start => {erlang_http_acceptor, start_link, [Socket]},
                  shutdown => brutal_kill}
                || N <- lists:seq(1, Acceptors)],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 10}, Children}}.
